import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import MissingPartError
from tamis.formulas.ranking import tie_key
from tamis.retrievers.dense import exact_scores, search_dense
from tamis.retrievers.hnsw import Hnsw
from tamis.retrievers.vectors import Rows, VectorFile


def unit(rng, rows, width):
    vectors = rng.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def with_copies(seed, rows, width, kinds):
    """Vectors of which many are the same, each kind anywhere."""
    rng = np.random.default_rng(seed)
    return unit(rng, kinds, width)[rng.integers(0, kinds, rows)]


def keys_of(query, ids):
    return lambda places: np.array([tie_key(query, ids[i]) for i in places.tolist()], np.int64)


def naive(queries, documents, depth, ids):
    """Every score in float64, every document sorted."""
    found = []
    for number, query in enumerate(queries.astype(np.float64)):
        scores = (documents.astype(np.float64) * query).sum(axis=1)
        keys = [tie_key(f"q{number}", doc_id) for doc_id in ids]
        order = sorted(range(len(ids)), key=lambda i: (-scores[i], keys[i]))[:depth]
        found.append([(ids[i], float(scores[i])) for i in order])
    return found


def searched(queries, documents, depth, ids, block):
    keys = [keys_of(f"q{number}", ids) for number in range(len(queries))]
    heads = search_dense(queries, documents, depth, keys, block)
    return [[(ids[i], float(s)) for i, s in zip(h.places.tolist(), h.scores, strict=True)] for h in heads]


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 300),
    kinds=st.integers(1, 300),
    width=st.sampled_from([1, 3, 32, 384]),
    depth=st.integers(1, 320),
    block=st.integers(1, 320),
)
@settings(max_examples=120)
def test_the_head_is_that_of_a_full_sort_whatever_the_block_and_however_many_tie(
    seed, rows, kinds, width, depth, block
):
    documents = with_copies(seed, rows, width, kinds)
    queries = unit(np.random.default_rng(seed + 1), 3, width)
    ids = [f"d{number}" for number in range(rows)]
    assert searched(queries, documents, depth, ids, block) == naive(queries, documents, depth, ids)


@given(seed=st.integers(0, 1000), block=st.integers(1, 200))
@settings(max_examples=30)
def test_the_place_of_a_document_changes_no_bit(seed, block):
    documents = with_copies(seed, 150, 64, 60)
    rng = np.random.default_rng(seed)
    queries, order = unit(rng, 2, 64), rng.permutation(150)
    ids = [f"d{number}" for number in range(150)]
    straight = searched(queries, documents, 40, ids, 64)
    assert searched(queries, documents[order], 40, [ids[i] for i in order], block) == straight


def test_near_ties_that_float32_products_cannot_tell_apart_are_told_apart():
    # A thousand documents within a millionth of each other, as a collapsed encoder gives them.
    rng = np.random.default_rng(0)
    documents = (unit(rng, 1, 384) + 1e-7 * rng.normal(size=(1000, 384))).astype(np.float32)
    ids = [f"d{number}" for number in range(1000)]
    queries = unit(rng, 2, 384)
    assert searched(queries, documents, 10, ids, 128) == naive(queries, documents, 10, ids)


@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_of_a_file_are_searched_as_an_array_is(tmp_path, shuffled):
    rng = np.random.default_rng(0)
    documents = unit(rng, 500, 48)
    file = VectorFile(tmp_path / "vectors" / "v.f32", 48)
    order = rng.permutation(500) if shuffled else np.arange(500)
    rows = np.argsort(order)  # document i lies in row rows[i]
    for start in range(0, 500, 128):
        file.write(start, documents[order][start : start + 128])
    ids = [f"d{number}" for number in range(500)]
    queries = unit(rng, 3, 48)
    assert searched(queries, Rows(file, rows), 20, ids, 77) == searched(queries, documents, 20, ids, 500)


def test_exact_scores_are_inner_products_in_float64():
    rng = np.random.default_rng(0)
    queries, documents = unit(rng, 3, 20), unit(rng, 90, 20)
    places = [np.sort(rng.choice(90, size, replace=False)) for size in (0, 1, 60)]
    for query, some, scores in zip(queries, places, exact_scores(queries, documents, places, 16), strict=True):
        np.testing.assert_allclose(scores, documents[some].astype(float) @ query.astype(float), rtol=1e-14)


faiss_only = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is an extra")


@faiss_only
def test_the_graph_finds_nearly_all_with_the_same_scores_and_twice_the_same():
    rng = np.random.default_rng(0)
    documents, queries = unit(rng, 3000, 32), unit(rng, 20, 32)
    ids = [f"d{number}" for number in range(3000)]
    keys = [keys_of(f"q{number}", ids) for number in range(20)]
    exact = search_dense(queries, documents, 50, keys)
    found, again = (Hnsw(documents).search(queries, documents, 50, keys) for _ in range(2))
    shared = [len(np.intersect1d(a.places, b.places)) / 50 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) > 0.95
    for one, other, third in zip(exact, found, again, strict=True):
        scores = dict(zip(one.places.tolist(), one.scores.tolist(), strict=True))
        assert all(scores.get(p, s) == s for p, s in zip(other.places.tolist(), other.scores.tolist(), strict=True))
        assert other.places.tolist() == third.places.tolist()


def test_a_missing_faiss_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingPartError, match=r"candidates\.index: faiss .*pip install 'tamis\[faiss\]', or set it"):
        Hnsw(np.eye(3, dtype=np.float32))
