import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.records import Candidates, Document, Dropped, Query
from tamis.retrievers.shelf import fill_shelves
from tamis.stages.candidates import find_candidates, rank_candidates
from tests.conftest import TOPICS

DOCUMENTS = [
    Document(f"{origin}/{language}/{number}", answer, language, origin)
    for origin in ("target", "general")
    for language, topics in TOPICS.items()
    for number, (_, answer) in enumerate(topics)
]
DOCUMENTS.append(Document("target/fr/0", "Un paquet.", "fr"))
QUERIES = [
    Query(f"q/{origin}/{language}/{number}", question, language, origin, f"{origin}/{language}/{number}", "given")
    for origin in ("target", "general")
    for language, topics in TOPICS.items()
    for number, (question, _) in enumerate(topics)
]


def unit_vectors(seed, ids):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 8)).astype(np.float32)
    return dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


DOCUMENT_VECTORS = unit_vectors(0, [document.doc_id for document in DOCUMENTS])
QUERY_VECTORS = unit_vectors(1, [query.query_id for query in QUERIES])
SHELVES = fill_shelves(DOCUMENTS, DOCUMENT_VECTORS, 0.9, 0.4)


def search(queries=QUERIES, shelves=SHELVES, depth=6):
    return list(find_candidates(queries, QUERY_VECTORS, shelves, depth))


def test_every_query_gets_the_best_of_its_own_origin_and_language_best_first():
    for query, found in zip(QUERIES, search(), strict=True):
        shelf = SHELVES[query.origin, query.language]
        hybrid = shelf.search(query.text, QUERY_VECTORS[query.query_id])["hybrid"]
        scores = dict(zip(shelf.doc_ids, hybrid.tolist(), strict=True))
        assert found.query_id == query.query_id
        assert list(found.scores) == sorted(scores.values(), reverse=True)[:6]
        assert [scores[doc_id] for doc_id in found.doc_ids] == list(found.scores)
        assert len(set(found.doc_ids)) == 6


@pytest.mark.parametrize("depth", [2, 10, 1000])
def test_there_are_never_more_candidates_than_the_depth_or_the_shelf(depth):
    assert {len(found.doc_ids) for found in search(depth=depth)} == {min(depth, 10)}


@pytest.mark.parametrize("language", ["fr", "ja"])
def test_a_query_with_fewer_than_two_documents_to_rank_is_dropped_with_a_reason(language):
    lonely = Query("q/lonely", "paquet?", language, "target", "target/fr/0", "given")
    results = search([QUERIES[0], lonely, QUERIES[1]])
    assert [type(result) for result in results] == [Candidates, Dropped, Candidates]
    assert results[1] == Dropped("q/lonely", "fewer than two documents in its language", language, "paquet?")


def test_kept_and_dropped_are_as_many_as_came_in():
    lonely = [Query(f"l{n}", "paquet", "fr", "target", "target/fr/0", "given") for n in range(3)]
    assert len(search([*QUERIES, *lonely])) == len(QUERIES) + 3


@given(order=st.permutations(range(len(DOCUMENTS))))
@settings(max_examples=5)
def test_the_order_of_the_corpus_changes_nothing(order):
    assert search(shelves=fill_shelves([DOCUMENTS[i] for i in order], DOCUMENT_VECTORS, 0.9, 0.4)) == search()


@given(scores=st.lists(st.integers(0, 2), min_size=2, max_size=12), order=st.randoms(use_true_random=False))
def test_tied_documents_come_in_an_order_that_the_input_does_not_decide(scores, order):
    ids = [f"d{number}" for number in range(len(scores))]
    shuffled = order.sample(range(len(ids)), len(ids))
    straight = rank_candidates("q", tuple(ids), np.array(scores, float), 5)
    again = rank_candidates("q", tuple(ids[i] for i in shuffled), np.array([float(scores[i]) for i in shuffled]), 5)
    assert straight == again
    assert list(straight.scores) == sorted(straight.scores, reverse=True)


def test_no_document_wins_its_ties_in_all_queries():
    ids = tuple(f"d{number}" for number in range(5))
    winners = {rank_candidates(f"q{number}", ids, np.zeros(5), 1).doc_ids[0] for number in range(100)}
    assert winners == set(ids)
