import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, zscore

from tamis.formulas.ranking import tie_key
from tamis.records import Document
from tamis.retrievers import index as shelf_module
from tamis.retrievers.bm25 import Bm25
from tamis.retrievers.index import FIRST_STAGES, QueryBatch, Searching, build_indexes
from tamis.stages.candidates.settings import FusionWeights

TEXTS = ["install a package", "remove the package", "print a document", "the clock", "package package", "print"]
QUERIES = ["package", "print a clock", "unknown", "the document"]
SEEDS = st.integers(0, 1000)


def unit_vectors(seed, ids):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 8)).astype(np.float32)
    return dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


def english(texts=TEXTS):
    return [Document(f"d{number}", text, "en") for number, text in enumerate(texts)]


def ask(seed=1, texts=QUERIES):
    ids = [f"q{number}" for number in range(len(texts))]
    return QueryBatch(ids, texts, np.stack(list(unit_vectors(seed, ids).values())))


def ranked(query_id, scores):
    """Ids and scores, best first, ties by hash."""
    return sorted(scores.items(), key=lambda pair: (-pair[1], tie_key(query_id, pair[0])))


def check(candidates, expected, rtol=1e-9):
    assert list(candidates.doc_ids) == [doc_id for doc_id, _ in expected]
    np.testing.assert_allclose(candidates.scores, [score for _, score in expected], rtol=rtol, atol=1e-12)


@given(seed=SEEDS, depth=st.integers(2, 9))
@settings(max_examples=40)
def test_the_hybrid_is_the_reciprocal_rank_fusion_of_bm25_and_dense(seed, depth):
    documents, asked = english(), ask(seed + 1)
    vectors = unit_vectors(seed, [document.doc_id for document in documents])
    index = build_indexes(documents, vectors, Searching(weights=None)).get("target", "en")
    for query_id, text, vector, found in zip(
        asked.query_ids, asked.texts, asked.vectors, index.search(asked, depth), strict=True
    ):
        assert tuple(found) == FIRST_STAGES
        bm25 = dict(zip([d.doc_id for d in documents], Bm25(TEXTS, 0.9, 0.4).scores(text), strict=True))
        dense = {d: float(v.astype(float) @ vector.astype(float)) for d, v in vectors.items()}
        # Documents that share a score, as the many that BM25 does not find, share their mean rank.
        ranks = [rankdata([-scores[d] for d in vectors], method="average") for scores in (bm25, dense)]
        hybrid = dict(zip(vectors, sum(1 / (60 + rank) for rank in ranks), strict=True))
        for name, scores in (("bm25", bm25), ("dense", dense), ("hybrid", hybrid)):
            check(found[name], ranked(query_id, scores)[:depth])


def test_recipes_and_everything_else_weigh_the_hybrid_alike():
    recipes = FusionWeights()
    assert Searching().weights == (recipes.bm25, recipes.dense)


@given(seed=SEEDS, weights=st.sampled_from([(0.5, 1.0), (1.0, 0.0), (0.0, 1.0), (2.0, 0.3)]))
@settings(max_examples=40)
def test_the_weighted_hybrid_is_the_sum_of_z_scores(seed, weights):
    documents, asked = english(), ask(seed + 1)
    vectors = unit_vectors(seed, [document.doc_id for document in documents])
    index = build_indexes(documents, vectors, Searching(weights=weights)).get("target", "en")
    results = index.search(asked, 6, ("hybrid",))
    for text, vector, found in zip(asked.texts, asked.vectors, results, strict=True):
        bm25 = Bm25(TEXTS, 0.9, 0.4).scores(text)
        dense = np.stack(list(vectors.values())).astype(float) @ vector.astype(float)
        lexical = zscore(bm25) if np.ptp(bm25) else np.zeros(6)
        fused = weights[0] * lexical + weights[1] * zscore(dense)
        assert found.keys() == {"hybrid"}
        scores = dict(zip(vectors, fused, strict=True))
        assert set(found["hybrid"].doc_ids) == set(scores)
        np.testing.assert_allclose(found["hybrid"].scores, [scores[d] for d in found["hybrid"].doc_ids], atol=1e-9)


@given(seed=SEEDS, looked=st.integers(2, 30))
@settings(max_examples=40)
def test_where_heads_are_cut_the_hybrid_gives_the_rest_the_mean_of_the_ranks_that_are_left(seed, looked):
    rng = np.random.default_rng(seed)
    words = ["package", "print", "clock", "the", "document"]
    documents = english([" ".join(rng.choice(words, rng.integers(1, 6))) for _ in range(30)])
    ids = [document.doc_id for document in documents]
    vectors, asked = unit_vectors(seed, ids), ask(seed + 1, ["print the document"])
    before, shelf_module.FUSED = shelf_module.FUSED, looked
    try:
        index = build_indexes(documents, vectors, Searching(weights=None)).get("target", "en")
        (found,) = index.search(asked, 2, ("hybrid",))
    finally:
        shelf_module.FUSED = before
    bm25 = dict(zip(ids, Bm25([d.text for d in documents], 0.9, 0.4).scores("print the document"), strict=True))
    dense = {d: float(vectors[d].astype(float) @ asked.vectors[0].astype(float)) for d in ids}
    fused = dict.fromkeys(ids, 0.0)
    for scores in ({d: s for d, s in bm25.items() if s > 0}, dense):
        head = ranked("q0", scores)[:looked]
        ranks = dict(zip([d for d, _ in head], rankdata([-s for _, s in head], method="average"), strict=True))
        for doc_id in ids:
            fused[doc_id] += 1 / (60 + ranks.get(doc_id, (len(head) + 1 + 30) / 2))
    check(found["hybrid"], ranked("q0", fused)[:2])


@given(seed=SEEDS, order=st.permutations(range(len(TEXTS))))
@settings(max_examples=30)
def test_the_order_of_the_corpus_and_the_company_of_a_query_change_no_bit(seed, order):
    documents = english()
    vectors = unit_vectors(seed, [document.doc_id for document in documents])
    straight = build_indexes(documents, vectors).get("target", "en")
    shuffled = build_indexes([documents[i] for i in order], vectors).get("target", "en")
    together = list(straight.search(ask(), 6))
    assert list(shuffled.search(ask(), 6)) == together
    assert [found for n in range(len(QUERIES)) for found in straight.search(ask().part(n, n + 1), 6)] == together


def test_only_what_is_wanted_is_worked_out():
    documents = english()
    vectors = unit_vectors(0, [document.doc_id for document in documents])
    index = build_indexes(documents, vectors).get("target", "en")
    whole = list(index.search(ask(), 4))
    for name in FIRST_STAGES:
        assert list(index.search(ask(), 4, (name,))) == [{name: found[name]} for found in whole]


MIXED = [
    Document("a", "install a package", "en"),
    Document("b", "ein Paket", "de"),
    Document("c", "the clock", "en"),
    Document("d", "the package", "en", "general"),
    Document("e", "le paquet", "fr"),
]


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        ("same", {"en": "ac", "de": "b", "ja": None}),
        ("any", {"en": "abce", "de": "abce", "ja": "abce"}),
        ("cross", {"en": "be", "de": "ace", "ja": "abce"}),
    ],
)
def test_a_query_searches_the_documents_of_its_origin_in_the_languages_that_are_wanted(languages, expected):
    indexes = build_indexes(MIXED, unit_vectors(0, "abcde"), Searching(languages=languages))
    for language, ids in expected.items():
        index = indexes.get("target", language)
        if ids is None:
            assert index is None
            continue
        assert "".join(sorted(index.doc_ids)) == ids
        assert index.bm25.size == len(index.vectors) == len(ids)
        for found in index.search(ask(), 9):
            assert all("".join(sorted(candidates.doc_ids)) == ids for candidates in found.values())
    assert indexes.whole("target", "de").place.keys() >= {"b"}
    assert indexes.get("nowhere", "en") is None


def test_the_general_documents_of_one_language_have_nothing_in_other_languages():
    indexes = build_indexes(MIXED, unit_vectors(0, "abcde"), Searching(languages="cross"))
    assert indexes.get("general", "en") is None
    assert indexes.get("general", "de").doc_ids == ("d",)


def test_crossing_languages_only_leaves_documents_out():
    documents = [*english(), Document("x", "package print", "de"), Document("y", "das Paket", "de")]
    vectors = unit_vectors(0, [document.doc_id for document in documents])
    everyone = build_indexes(documents, vectors, Searching(languages="any")).get("target", "de")
    others = build_indexes(documents, vectors, Searching(languages="cross")).get("target", "de")
    for whole, part in zip(everyone.search(ask(), 9), others.search(ask(), 9), strict=True):
        for name in ("bm25", "dense"):
            pairs = zip(whole[name].doc_ids, whole[name].scores, strict=True)
            left = [pair for pair in pairs if pair[0] not in "xy"]
            assert left == list(zip(part[name].doc_ids, part[name].scores, strict=True))


def test_a_shelf_is_not_changed_by_what_stands_on_the_others():
    own = english()
    vectors = unit_vectors(0, [d.doc_id for d in own] + ["x", "y"])
    others = [Document("x", "package " * 9, "de"), Document("y", "package", "en", "general")]
    alone = build_indexes(own, vectors).get("target", "en")
    among = build_indexes([others[0], *own, others[1]], vectors).get("target", "en")
    assert list(alone.search(ask(), 6)) == list(among.search(ask(), 6))


def test_a_document_without_a_vector_is_a_bug_and_not_passed_over():
    with pytest.raises(KeyError, match="d"):
        build_indexes(english(), {})
