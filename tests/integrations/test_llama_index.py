"""LlamaIndex's postprocessor, with llama-index-core."""

import asyncio
from importlib.util import find_spec

import pytest

from tamis.errors import InputError
from tests.integrations.found import QUERY, SCORES, TEXTS, ranked, run_the_page

pytestmark = [
    pytest.mark.skipif(find_spec("llama_index") is None, reason="llama-index-core is not installed"),
    pytest.mark.filterwarnings("ignore"),
]


def nodes(scores=SCORES, metadata=None):
    from llama_index.core.schema import NodeWithScore, TextNode

    texts = enumerate(TEXTS)
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(place), metadata=metadata or {}), score=scores[place])
        for place, text in texts
    ]


def shown(found):
    return [(int(one.node.node_id), one.score) for one in found]


def test_nodes_are_ranked_beside_the_scores_of_the_retriever(weighed_folder):
    from tamis.integrations.llama_index import TamisRerank

    given = nodes()
    found = TamisRerank(weighed_folder, top_n=4).postprocess_nodes(given, query_str=QUERY)
    assert shown(found) == ranked(weighed_folder, ("other", SCORES))[:4]
    assert [one.score for one in given] == SCORES  # nothing is written into what was given
    named = TamisRerank(weighed_folder, first_stage="bm25")
    asked = asyncio.run(named.apostprocess_nodes(nodes(), query_str=QUERY))
    assert shown(asked) == ranked(weighed_folder, ("bm25", SCORES))


def test_nodes_without_scores_count_in_their_order(weighed_folder):
    from tamis.integrations.llama_index import TamisRerank

    found = TamisRerank(weighed_folder).postprocess_nodes(nodes([None] * len(TEXTS)), query_str=QUERY)
    assert shown(found) == ranked(weighed_folder, "order")


def test_metadata_is_kept_and_read_as_far_as_it_is_embedded(warm_folder):
    from tamis.integrations.llama_index import TamisRerank

    found = TamisRerank(warm_folder).postprocess_nodes(nodes(metadata={"about": "kernel modules"}), query_str=QUERY)
    read = [f"about: kernel modules\n\n{text}" for text in TEXTS]
    assert shown(found) == ranked(warm_folder, ("other", SCORES), read)
    assert all(one.node.metadata == {"about": "kernel modules"} for one in found)


def test_without_a_query_nothing_is_ranked(warm_folder):
    from tamis.integrations.llama_index import TamisRerank

    with pytest.raises(InputError, match=r"^TamisRerank: got no query; pass query_str or query_bundle$"):
        TamisRerank(warm_folder).postprocess_nodes(nodes())


def test_what_the_page_shows_prints_both_documents_best_first(warm_folder, tmp_path, monkeypatch, capsys):
    run_the_page("tamis.integrations.llama_index", warm_folder, monkeypatch, tmp_path)
    scores = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
