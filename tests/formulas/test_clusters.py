"""Clusters of vectors: properties, and made-up translations that must come together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.formulas.clusters import clusters, directions


def made_up(rng, count, hidden=64):
    found = rng.normal(size=(count, hidden)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def group_means(vectors, groups):
    return {group: vectors[[one == group for one in groups]].mean(axis=0) for group in set(groups)}


def centred(vectors, groups):
    return directions(vectors, groups, group_means(vectors, groups))


def test_translations_come_together_although_each_language_has_a_direction_of_its_own():
    rng = np.random.default_rng(3)
    topics, languages = made_up(rng, 30), 4 * made_up(rng, 5)
    vectors = np.concatenate([topics + language + 0.3 * made_up(rng, 30) for language in languages])
    spoken = [tag for tag in "abcde" for _ in range(30)]
    labels = clusters(centred(vectors, spoken), 0.5).reshape(5, 30)
    assert (labels == labels[0]).mean() > 0.95
    assert len(set(labels[0])) == 30
    uncentred = clusters(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 0.5).reshape(5, 30)
    assert len(set(uncentred[0])) < 30


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0.05, 1))
def test_every_vector_is_in_one_cluster_and_clusters_are_counted_from_0(count, seed, similarity):
    labels = clusters(made_up(np.random.default_rng(seed), count, 4), similarity)
    assert len(labels) == count
    assert list(dict.fromkeys(labels.tolist())) == list(range(labels.max() + 1))


@given(st.integers(0, 2**32 - 1))
def test_copies_share_a_cluster_and_opposites_do_not(seed):
    vectors = made_up(np.random.default_rng(seed), 6)
    labels = clusters(np.concatenate([vectors, vectors, -vectors]), 0.9)
    assert (labels[:6] == labels[6:12]).all()
    assert not set(labels[:6]) & set(labels[12:])


def test_what_is_alone_in_its_language_is_alone():
    found = centred(np.eye(3, dtype=np.float32), ["de", "de", "fr"])
    assert found[2].tolist() == [0, 0, 0]
    assert len(set(clusters(found, 0.5).tolist())) == 3


@given(st.integers(0, 2**32 - 1))
def test_centred_vectors_have_norm_1_and_no_mean_direction_of_a_group(seed):
    rng = np.random.default_rng(seed)
    vectors = made_up(rng, 12, 8) + 3
    found = centred(vectors, ["a", "b"] * 6)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    shifted = centred(vectors + np.float32(5), ["a", "b"] * 6)
    assert np.allclose(found, shifted, atol=1e-3)


def test_a_group_without_a_mean_says_nothing():
    vectors = made_up(np.random.default_rng(0), 3)
    found = directions(vectors, ["a", "a", "b"], group_means(vectors[:2], ["a", "a"]))
    assert not found[2].any()
