"""LangChain's compressor, with langchain-core."""

import asyncio
from importlib.util import find_spec

import pytest

from tamis import Reranker
from tamis.errors import InputError
from tests.integrations.found import QUERY, SCORES, TEXTS, ranked, run_the_page

pytestmark = [
    pytest.mark.skipif(find_spec("langchain_core") is None, reason="langchain-core is not installed"),
    pytest.mark.filterwarnings("ignore"),
]


def documents():
    from langchain_core.documents import Document

    return [
        Document(text, id=f"d{place}", metadata={"place": place, "bm25": SCORES[place]})
        for place, text in enumerate(TEXTS)
    ]


def shown(found):
    return [(one.metadata["place"], one.metadata["relevance_score"]) for one in found]


def test_documents_come_back_best_first_with_their_metadata(weighed_folder):
    from tamis.integrations.langchain import TamisRerank

    given = documents()
    found = TamisRerank(model=weighed_folder, top_n=3).compress_documents(given, QUERY)
    assert shown(found) == ranked(weighed_folder, "order")[:3]
    place = found[0].metadata["place"]
    assert (found[0].id, found[0].page_content) == (f"d{place}", TEXTS[place])
    assert given == documents()  # nothing is written into what was given


def test_the_score_of_the_search_counts_where_its_key_is_named(weighed_folder):
    from tamis.integrations.langchain import TamisRerank

    other = TamisRerank(model=weighed_folder, score_key="bm25")
    named = TamisRerank(model=Reranker(weighed_folder), score_key="bm25", first_stage="bm25")
    assert shown(other.compress_documents(documents(), QUERY)) == ranked(weighed_folder, ("other", SCORES))
    assert shown(asyncio.run(named.acompress_documents(documents(), QUERY))) == ranked(weighed_folder, ("bm25", SCORES))
    with pytest.raises(InputError, match="no document has a score of it"):
        TamisRerank(model=weighed_folder, score_key="scor").compress_documents(documents(), QUERY)


def test_it_stands_behind_a_retriever_of_a_vector_store(warm_folder):
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.vectorstores import InMemoryVectorStore

    from tamis.integrations.langchain import TamisRerank

    store = InMemoryVectorStore.from_documents(documents(), DeterministicFakeEmbedding(size=8))
    compressor = TamisRerank(model=warm_folder, score_key="similarity")
    scored = store.similarity_search_with_score(QUERY, k=6)
    found = [one.model_copy(update={"metadata": one.metadata | {"similarity": score}}) for one, score in scored]
    first = ("other", [score for _, score in scored])
    expected = ranked(warm_folder, first, [one.page_content for one in found])
    assert shown(compressor.compress_documents(found, QUERY)) == [
        (found[place].metadata["place"], score) for place, score in expected
    ]


def test_what_is_no_setting_is_refused(warm_folder):
    from tamis.integrations.langchain import TamisRerank

    with pytest.raises(ValueError, match="topn"):
        TamisRerank(model=warm_folder, topn=3)


def test_what_the_page_shows_prints_both_documents_best_first(warm_folder, tmp_path, monkeypatch, capsys):
    run_the_page("tamis.integrations.langchain", warm_folder, monkeypatch, tmp_path)
    scores = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
