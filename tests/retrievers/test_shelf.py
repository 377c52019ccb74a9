import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from tamis.records import Document
from tamis.retrievers.bm25 import Bm25
from tamis.retrievers.shelf import FIRST_STAGES, fill_shelves

TEXTS = ["install a package", "remove the package", "print a document", "the clock", "package package", "print"]


def unit_vectors(seed, ids):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 8)).astype(np.float32)
    return dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


def english(texts=TEXTS):
    return [Document(f"d{number}", text, "en") for number, text in enumerate(texts)]


@given(seed=st.integers(0, 1000), query=st.sampled_from(["package", "print a clock", "unknown", "the document"]))
@settings(max_examples=40)
def test_the_hybrid_is_the_reciprocal_rank_fusion_of_bm25_and_dense(seed, query):
    documents = english()
    vectors = unit_vectors(seed, [document.doc_id for document in documents])
    vector = next(iter(unit_vectors(seed + 1, ["q"]).values()))
    found = fill_shelves(documents, vectors, 0.9, 0.4)["target", "en"].search(query, vector)
    assert tuple(found) == FIRST_STAGES
    assert found["bm25"].tolist() == Bm25(TEXTS, 0.9, 0.4).scores(query).tolist()
    cosines = [float(vectors[document.doc_id] @ vector) for document in documents]
    np.testing.assert_allclose(found["dense"], cosines, atol=1e-6)
    # Documents that share a score, as the many that BM25 does not find, share their mean rank.
    ranks = [rankdata(-found[name], method="average") for name in ("bm25", "dense")]
    np.testing.assert_allclose(found["hybrid"], sum(1 / (60 + rank) for rank in ranks), rtol=1e-12)


def test_documents_are_shelved_by_origin_and_language_in_their_order():
    documents = [
        Document("a", "install a package", "en"),
        Document("b", "ein Paket", "de"),
        Document("c", "the clock", "en"),
        Document("d", "the package", "en", "general"),
    ]
    shelves = fill_shelves(documents, unit_vectors(0, "abcd"), 0.9, 0.4)
    assert {key: shelf.doc_ids for key, shelf in shelves.items()} == {
        ("target", "en"): ("a", "c"),
        ("target", "de"): ("b",),
        ("general", "en"): ("d",),
    }
    assert all(shelf.bm25.size == len(shelf.vectors) == len(shelf.doc_ids) for shelf in shelves.values())


def test_a_shelf_is_not_changed_by_what_stands_on_the_others():
    own = english()
    vectors = unit_vectors(0, [d.doc_id for d in own] + ["x", "y"])
    others = [Document("x", "package " * 9, "de"), Document("y", "package", "en", "general")]
    vector = next(iter(unit_vectors(1, ["q"]).values()))
    alone = fill_shelves(own, vectors, 0.9, 0.4)["target", "en"].search("package", vector)
    among = fill_shelves([others[0], *own, others[1]], vectors, 0.9, 0.4)["target", "en"].search("package", vector)
    assert all(alone[name].tolist() == among[name].tolist() for name in FIRST_STAGES)


def test_a_document_without_a_vector_is_a_bug_and_not_passed_over():
    with pytest.raises(KeyError, match="d0"):
        fill_shelves(english(), {}, 0.9, 0.4)
