"""Haystack's ranker, with haystack-ai: alone, and in a pipeline that is written down and read again."""

import os
from importlib.util import find_spec

import pytest

from tests.integrations.found import QUERY, SCORES, TEXTS, ranked, run_the_page

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when it is imported
pytestmark = [
    pytest.mark.skipif(find_spec("haystack") is None, reason="haystack-ai is not installed"),
    pytest.mark.filterwarnings("ignore"),
]


def documents(scores=SCORES):
    from haystack import Document

    texts = enumerate(TEXTS)
    return [Document(id=f"d{place}", content=text, meta={"place": place}, score=scores[place]) for place, text in texts]


def shown(found):
    return [(one.meta["place"], one.score) for one in found["documents"]]


def test_documents_are_ranked_beside_the_scores_of_the_retriever(weighed_folder):
    from tamis.integrations.haystack import TamisRanker

    given = documents()
    ranker = TamisRanker(str(weighed_folder), top_k=4)
    expected = ranked(weighed_folder, ("other", SCORES))
    assert shown(ranker.run(QUERY, given)) == expected[:4]
    assert shown(ranker.run(QUERY, given, top_k=2)) == expected[:2]
    assert ranker.run(QUERY, [])["documents"] == []
    assert [one.score for one in given] == SCORES  # nothing is written into what was given
    named = TamisRanker(str(weighed_folder), first_stage="bm25")
    assert shown(named.run(QUERY, documents())) == ranked(weighed_folder, ("bm25", SCORES))


def test_documents_without_scores_count_in_their_order(weighed_folder):
    from tamis.integrations.haystack import TamisRanker

    found = TamisRanker(str(weighed_folder)).run(QUERY, documents([None] * len(TEXTS)))
    assert shown(found) == ranked(weighed_folder, "order")


def test_a_pipeline_with_it_is_written_down_and_read_again(warm_folder):
    from haystack import Pipeline
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from tamis.integrations.haystack import TamisRanker

    store = InMemoryDocumentStore()
    store.write_documents(documents([None] * len(TEXTS)))
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=6))
    pipeline.add_component("ranker", TamisRanker(str(warm_folder), top_k=3, first_stage="bm25"))
    pipeline.connect("retriever.documents", "ranker.documents")
    asked = {"retriever": {"query": QUERY}, "ranker": {"query": QUERY}}
    answer = pipeline.run(asked, include_outputs_from={"retriever"})
    found = answer["retriever"]["documents"]
    first = ("bm25", [one.score for one in found])
    expected = ranked(warm_folder, first, [one.content for one in found])
    assert shown(answer["ranker"]) == [(found[place].meta["place"], score) for place, score in expected][:3]
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["tamis.integrations.haystack"]).get_component("ranker")
    assert (again.model, again.top_k, again.first_stage) == (str(warm_folder), 3, "bm25")


def test_what_the_page_shows_prints_both_documents_best_first(warm_folder, tmp_path, monkeypatch, capsys):
    run_the_page("tamis.integrations.haystack", warm_folder, monkeypatch, tmp_path)
    scores = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
