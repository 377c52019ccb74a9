import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.records import Candidates, Document, Dropped, Query
from tamis.retrievers.index import QueryBatch, Searching, build_indexes
from tamis.retrievers.search import rank_candidates, search_indexes
from tamis.stages.candidates.search import find_candidates
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
SHELVES = build_indexes(DOCUMENTS, DOCUMENT_VECTORS)


def search(queries=QUERIES, indexes=SHELVES, depth=6, given=None):
    lonely = [query.query_id for query in queries if query.query_id not in QUERY_VECTORS]
    return list(find_candidates(queries, QUERY_VECTORS | unit_vectors(2, lonely), indexes, depth, given))


def test_every_query_gets_the_best_of_its_own_origin_and_language_best_first():
    for query, found in zip(QUERIES, search(), strict=True):
        index = SHELVES.get(query.origin, query.language)
        asked = QueryBatch([query.query_id], [query.text], QUERY_VECTORS[query.query_id][None])
        (whole,) = index.search(asked, 10, ("hybrid",))
        assert found.query_id == query.query_id
        assert found.doc_ids == whole["hybrid"].doc_ids[:6]
        assert found.scores == whole["hybrid"].scores[:6]
        assert list(found.scores) == sorted(found.scores, reverse=True)
        assert len(set(found.doc_ids)) == 6


@pytest.mark.parametrize("depth", [2, 10, 1000])
def test_there_are_never_more_candidates_than_the_depth_or_the_shelf(depth):
    assert {len(found.doc_ids) for found in search(depth=depth)} == {min(depth, 10)}


@pytest.mark.parametrize("language", ["fr", "ja"])
def test_a_query_with_fewer_than_two_documents_to_rank_is_dropped_with_a_reason(language):
    lonely = Query("q/lonely", "paquet?", language, "target", "target/fr/0", "given")
    results = search([QUERIES[0], lonely, QUERIES[1]])
    assert [type(result) for result in results] == [Dropped, Candidates, Candidates]
    assert results[0] == Dropped("q/lonely", "fewer than two documents in its language", language, "paquet?")


def test_kept_and_dropped_are_as_many_as_came_in():
    lonely = [Query(f"l{n}", "paquet", "fr", "target", "target/fr/0", "given") for n in range(3)]
    assert len(search([*QUERIES, *lonely])) == len(QUERIES) + 3


@given(order=st.permutations(range(len(DOCUMENTS))))
@settings(max_examples=5)
def test_the_order_of_the_corpus_changes_nothing(order):
    assert search(indexes=build_indexes([DOCUMENTS[i] for i in order], DOCUMENT_VECTORS)) == search()


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


def test_queries_find_the_same_however_their_languages_alternate_and_come_shelf_by_shelf():
    mixed = QUERIES[::3] + QUERIES[1::3] + QUERIES[2::3]
    shelf_of = {query.query_id: (query.origin, query.language) for query in QUERIES}
    order = [shelf_of[found.query_id] for found in search(mixed)]
    assert sum(one != other for one, other in itertools.pairwise(order)) == len(set(order)) - 1
    one_by_one = {found.query_id: found for query in QUERIES for found in search([query])}
    assert {found.query_id: found for found in search(mixed)} == one_by_one


def test_crossed_languages_find_other_languages_and_the_seed_document_comes_last():
    indexes = build_indexes(DOCUMENTS, DOCUMENT_VECTORS, Searching(languages="cross"))
    language_of = {document.doc_id: document.language for document in DOCUMENTS}
    for query, found in zip(QUERIES, search(indexes=indexes), strict=True):
        assert len(found.doc_ids) == 7
        assert all(language_of[doc_id] != query.language for doc_id in found.doc_ids[:-1])
        assert found.doc_ids[-1] == query.document_id
        assert list(found.scores) == sorted(found.scores, reverse=True)


def test_any_language_is_found_where_all_are_searched():
    indexes = build_indexes(DOCUMENTS, DOCUMENT_VECTORS, Searching(languages="any"))
    found = search(indexes=indexes, depth=1000)
    assert {len(one.doc_ids) for one in found} == {21, 20}  # the French document is a target one


def test_a_given_run_stands_for_the_search_of_its_queries():
    query, other = QUERIES[0], QUERIES[1]
    index = SHELVES.get(query.origin, query.language)
    first, second, third = index.doc_ids[:3]
    scores = {first: 1.5, "target/fr/0": 9.0, "unknown": 8.0, second: 2.5, third: 1.5}
    given_one, searched = search([query, other], given={query.query_id: scores})
    tied = rank_candidates(query.query_id, (first, third), np.ones(2), 2).doc_ids
    assert given_one == Candidates(query.query_id, (second, *tied), (2.5, 1.5, 1.5))
    assert [searched] == search([other])
    assert search([query], given={query.query_id: scores}, depth=2)[0].doc_ids == (second, tied[0])


@pytest.mark.parametrize("scores", [{}, {"target/fr/0": 1.0}])
def test_a_query_that_its_run_does_not_answer_is_dropped_with_a_reason(scores):
    (dropped,) = search(QUERIES[:1], given={QUERIES[0].query_id: scores})
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "fewer than two documents in the given run"


def test_finished_queries_are_told_and_those_without_a_shelf_passed_over():
    told = []
    lonely = Query("q/lonely", "???", "ja", "target", "", "given")
    found = search_indexes([lonely, *QUERIES], QUERY_VECTORS, SHELVES, 3, ("bm25", "dense"), told.append)
    results = {query.query_id: ranked for query, ranked in found}
    assert results.keys() == {query.query_id for query in QUERIES}
    assert sum(told) == len(QUERIES)
    assert all(ranked.keys() == {"bm25", "dense"} for ranked in results.values())


def among_themselves():
    """The general documents as queries about the next one, each with the id of the document that it is."""
    return [
        Query(f"given/{language}/{n}/general:{language}/{(n + 1) % 10}", answer, language, "general",
              f"general:{language}/{(n + 1) % 10}", "given")
        for language, topics in TOPICS.items()
        for n, (_, answer) in enumerate(topics)
    ]  # fmt: skip


GENERAL = [
    Document(f"general:{language}/{n}", answer, language, "general")
    for language, topics in TOPICS.items()
    for n, (_, answer) in enumerate(topics)
]


@pytest.mark.parametrize("depth", [3, 9, 50])
def test_a_given_query_does_not_find_the_document_that_it_is(depth):
    queries = among_themselves()
    vectors = unit_vectors(3, [query.query_id for query in queries])
    indexes = build_indexes(GENERAL, unit_vectors(4, [document.doc_id for document in GENERAL]))
    for query, found in zip(queries, find_candidates(queries, vectors, indexes, depth), strict=True):
        itself = f"general:{query.query_id.split('/')[1]}/{query.query_id.split('/')[2]}"
        asked = QueryBatch([query.query_id], [query.text], vectors[query.query_id][None])
        (whole,) = indexes.get("general", query.language).search(asked, 10, ("hybrid",))
        assert itself in whole["hybrid"].doc_ids
        assert found.doc_ids == tuple(d for d in whole["hybrid"].doc_ids if d != itself)[:depth]
    given = {query.query_id: {document.doc_id: 1.0 for document in GENERAL} for query in queries}
    for query, found in zip(queries, find_candidates(queries, vectors, indexes, depth, given), strict=True):
        assert f"general:{query.query_id.split('/')[1]}/{query.query_id.split('/')[2]}" not in found.doc_ids
        assert len(found.doc_ids) == min(depth, 9)


def test_queries_of_a_corpus_that_are_numbered_as_its_documents_keep_all_candidates():
    queries = [*among_themselves(), Query("given/en/0/general:en/0", "x", "en", "general", "general:en/0", "given")]
    indexes = build_indexes(GENERAL, unit_vectors(4, [document.doc_id for document in GENERAL]))
    vectors = unit_vectors(3, [query.query_id for query in queries])
    assert {len(found.doc_ids) for found in find_candidates(queries, vectors, indexes, 50)} == {10}
