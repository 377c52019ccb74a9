"""LanceDB's reranker, with lancedb, on a table that it searches by vectors, by words and by both."""

from importlib.util import find_spec

import numpy as np
import pytest

from tests.integrations.found import QUERY, TEXTS, ranked, run_the_page

pytestmark = [
    pytest.mark.skipif(find_spec("lancedb") is None, reason="lancedb is not installed"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    import lancedb
    from lancedb.index import FTS

    vectors = np.random.default_rng(0).normal(size=(len(TEXTS), 8)).astype(np.float32)
    rows = [
        {"id": f"d{place}", "text": text, "vector": vectors[place], "lang": "en"} for place, text in enumerate(TEXTS)
    ]
    made = lancedb.connect(tmp_path_factory.mktemp("lance")).create_table("documents", rows)
    made.create_index("text", config=FTS())
    return made


def shown(rows):
    return [(row["id"], pytest.approx(row["_relevance_score"], abs=1e-6)) for row in rows]


def expected(folder, rows, scores):
    """(id, score) of rows beside these scores, best first."""
    found = ranked(folder, ("other", scores), [row["text"] for row in rows])
    return [(rows[place]["id"], score) for place, score in found]


def test_a_search_by_words_is_ranked_beside_its_scores(weighed_folder, table):
    from tamis.integrations.lancedb import TamisReranker

    search = table.search("the package manager folder", query_type="fts").limit(6)
    rows = search.to_list()
    assert len(rows) == 3
    found = search.rerank(TamisReranker(weighed_folder, top_n=2)).to_list()
    by_tamis = ranked(
        weighed_folder,
        ("other", [row["_score"] for row in rows]),
        [row["text"] for row in rows],
        "the package manager folder",
    )
    assert shown(found) == [(rows[place]["id"], score) for place, score in by_tamis][:2]
    assert all(row["lang"] == "en" for row in found)


def test_of_a_search_by_vectors_the_nearest_counts_most(weighed_folder, table):
    from tamis.integrations.lancedb import TamisReranker

    search = table.search(np.ones(8, np.float32)).limit(6)
    rows = search.to_list()
    found = search.rerank(TamisReranker(weighed_folder), QUERY).to_list()
    assert shown(found) == expected(weighed_folder, rows, [-row["_distance"] for row in rows])


def test_a_hybrid_search_is_ranked_beside_the_fusion_of_both(weighed_folder, table):
    from lancedb.rerankers import RRFReranker

    from tamis.integrations.lancedb import TamisReranker

    def search():
        return table.search(query_type="hybrid").vector(np.ones(8, np.float32)).text(QUERY).limit(6)

    rows = search().rerank(RRFReranker()).limit(100).to_list()
    found = search().rerank(TamisReranker(weighed_folder)).limit(100).to_list()
    fused = expected(weighed_folder, rows, [row["_relevance_score"] for row in rows])
    assert sorted(shown(found), key=str) == sorted(fused, key=str)
    scores = [row["_relevance_score"] for row in found]
    assert scores == sorted(scores, reverse=True)


def test_nothing_found_is_nothing_ranked(weighed_folder, table):
    from tamis.integrations.lancedb import TamisReranker

    search = table.search("zebra", query_type="fts").limit(6)
    assert search.rerank(TamisReranker(weighed_folder)).to_list() == []


def test_what_the_page_shows_prints_both_documents_best_first(warm_folder, tmp_path, monkeypatch, capsys):
    run_the_page("tamis.integrations.lancedb", warm_folder, monkeypatch, tmp_path)
    scores = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
