import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore

from tamis.records import Document, Query
from tamis.retrievers.index import build_indexes
from tamis.stages.scores.teachers.fusion import FusionTeacher, bm25_scores, cosines

TEXTS = ["install a package", "remove the package", "print a document", "the clock", "package package", "print"]
DOCUMENTS = [Document(f"d{number}", text, "en") for number, text in enumerate(TEXTS)]
DOCUMENTS += [Document("g0", "package package package", "de"), Document("g1", "die Uhr", "de")]
IDS = [document.doc_id for document in DOCUMENTS if document.language == "en"]
QUERY = Query("q", "print the package", "en", "target", "d0", "test")


def unit_vectors(seed, ids):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 8)).astype(np.float32)
    return dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


ALL_IDS = [document.doc_id for document in DOCUMENTS]
DENSE = (unit_vectors(0, ["q"]), unit_vectors(1, ALL_IDS))
USE = (unit_vectors(2, ["q"]), unit_vectors(3, ALL_IDS))
SHELVES = build_indexes(DOCUMENTS, DENSE[1])
ENGLISH = SHELVES.get("target", "en")
BM25 = dict(zip(ENGLISH.doc_ids, ENGLISH.bm25.scores(QUERY.text), strict=True))


def teacher(bm25=0.5, dense=1.0, use=0.25, rerankers=()):
    """Scores of documents for one query."""
    parts = [(bm25, bm25_scores(SHELVES)), (dense, cosines(*DENSE)), (use, cosines(*USE)), *rerankers]
    return of_one(FusionTeacher(parts))


def of_one(teach):
    return lambda query, ids: teach([(query, ids)])[0]


@given(ids=st.lists(st.sampled_from(IDS), min_size=4, unique=True), weights=st.tuples(*[st.floats(0, 4)] * 3))
@settings(max_examples=50)
def test_a_score_is_the_weighted_sum_of_z_scores_over_the_candidates(ids, weights):
    bm25, dense, use = weights
    lexical = np.array([BM25[i] for i in ids])
    parts = [zscore(lexical) if np.ptp(lexical) else np.zeros(len(ids))]
    parts += [zscore([float(docs[i] @ queries["q"]) for i in ids]) for queries, docs in (DENSE, USE)]
    expected = sum(weight * part for weight, part in zip((bm25, dense, use), parts, strict=True))
    scores = teacher(bm25, dense, use)(QUERY, ids)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.mean() == pytest.approx(0, abs=1e-9)


@given(order=st.permutations(range(len(IDS))))
@settings(max_examples=30)
def test_the_order_of_the_candidates_only_reorders_the_scores(order):
    scores = teacher()(QUERY, [IDS[i] for i in order])
    np.testing.assert_allclose(scores, teacher()(QUERY, IDS)[order], atol=1e-6)


def test_a_weight_of_0_leaves_a_scorer_out():
    only = of_one(FusionTeacher([(0.5, bm25_scores(SHELVES)), (1.0, cosines(*DENSE))]))
    np.testing.assert_allclose(teacher(use=0.0)(QUERY, IDS), only(QUERY, IDS), atol=1e-12)


def test_bm25_alone_ranks_as_bm25():
    scores = of_one(FusionTeacher([(1.0, bm25_scores(SHELVES))]))(QUERY, IDS)
    assert np.argsort(-scores, kind="stable").tolist() == np.argsort([-BM25[i] for i in IDS], kind="stable").tolist()


def test_a_single_candidate_scores_0():
    assert teacher()(QUERY, IDS[:1]).tolist() == [0.0]


def test_a_query_without_known_words_is_judged_by_the_embeddings():
    silent = Query("q", "???", "en", "target", "d0", "test")
    np.testing.assert_allclose(teacher()(silent, IDS), teacher(bm25=0.0)(QUERY, IDS), atol=1e-12)


def test_a_reranker_is_asked_about_all_queries_at_once_and_joins_by_its_z_scores():
    asked = []

    def rerank(block):
        asked.append([query.query_id for query, _ in block])
        return [np.array([float(len(query.text) * place**2) for place in range(len(ids))]) for query, ids in block]

    other = Query("q", "clock", "en", "target", "d0", "test")
    fused = FusionTeacher([(0.0, bm25_scores(SHELVES)), (2.0, rerank)])([(QUERY, IDS), (other, IDS[:3])])
    assert asked == [["q", "q"]]
    for scores, count in zip(fused, (len(IDS), 3), strict=True):
        np.testing.assert_allclose(scores, 2 * zscore([place**2 for place in range(count)]), atol=1e-9)


def test_a_query_with_a_missing_score_has_none():
    def rerank(block):
        return [np.array([1.0, np.nan, 2.0]), np.array([1.0, 2.0])]

    missing, whole = FusionTeacher([(1.0, bm25_scores(SHELVES)), (1.0, rerank)])([(QUERY, IDS[:3]), (QUERY, IDS[:2])])
    assert np.isnan(missing).all()
    assert np.isfinite(whole).all()
