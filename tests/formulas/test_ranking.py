import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import kendalltau, rankdata, spearmanr, zscore
from sklearn.metrics import ndcg_score

from tamis.formulas.ranking import (
    agreement,
    fuse,
    kendall_tau,
    logistic,
    mean_ranks,
    rank_correlation,
    rank_order,
    reciprocal_rank_fusion,
    tie_key,
    tied_at_top,
    z_scores,
)

# Few distinct values, so that ties are common.
SCORES = st.lists(st.integers(-4, 4).map(lambda i: i / 4), min_size=1, max_size=25).map(np.array)
SEEDS = st.integers(0, 1000)


def scores_and_grades(smallest: int = 1):
    pairs = st.lists(st.tuples(st.integers(-4, 4), st.integers(-10, 10)), min_size=smallest, max_size=25)
    return pairs.map(lambda x: (np.array([a for a, _ in x]) / 4, np.array([b for _, b in x]) / 7))


@given(x=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40).map(np.array).filter(lambda x: x.std() > 1e-3))
def test_z_scores_are_those_of_scipy(x):
    np.testing.assert_allclose(z_scores(x), zscore(x), atol=1e-7)


@pytest.mark.parametrize("x", [[], [3.0], [0.1] * 7, [0.0, 1e-200]])
def test_z_scores_without_spread_are_zeros(x):
    assert z_scores(np.array(x)).tolist() == [0.0] * len(x)


@given(x=SCORES)
def test_mean_ranks_are_those_of_scipy(x):
    assert mean_ranks(x).tolist() == rankdata(x).tolist()


@given(x=SCORES.filter(lambda x: len(set(x)) > 1), seed=SEEDS)
def test_rank_correlation_is_spearmans_as_scipy_has_it(x, seed):
    y = np.random.default_rng(seed).normal(size=len(x))
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert rank_correlation(x, 3 * x - 1) == pytest.approx(1)
    assert rank_correlation(x, -x) == pytest.approx(-1)


@given(pairs=scores_and_grades(smallest=2))
def test_kendalls_tau_is_scipys(pairs):
    assert kendall_tau(*pairs) == pytest.approx(kendalltau(*pairs).statistic, abs=1e-12, nan_ok=True)


@given(logit=st.floats(-1e3, 1e3))
def test_the_logistic_function_is_scipys_however_small_it_is(logit):
    smallest = np.finfo(np.float64).tiny  # below it a processor may be set to take zero
    assert logistic(logit) == pytest.approx(float(expit(logit)), rel=1e-12, abs=smallest)


def test_what_has_no_order_is_correlated_with_nothing():
    assert [rank_correlation(np.array(x), np.arange(float(len(x)))) for x in ([], [2.0], [1.0, 1.0])] == [0.0] * 3
    with pytest.raises(ValueError, match="2 scores and 1 others"):
        rank_correlation(np.ones(2), np.ones(1))


@given(x=SCORES, y_seed=SEEDS, seed=SEEDS)
def test_reordering_the_documents_only_reorders_the_fused_scores(x, y_seed, seed):
    y = np.random.default_rng(y_seed).normal(size=len(x))
    order = np.random.default_rng(seed).permutation(len(x))
    assert reciprocal_rank_fusion([x, y])[order].tolist() == reciprocal_rank_fusion([x[order], y[order]]).tolist()
    assert fuse([x, y], [0.3, 0.7])[order].tolist() == fuse([x[order], y[order]], [0.3, 0.7]).tolist()


def test_reciprocal_ranks_are_summed_with_ties_at_their_mean_rank():
    fused = reciprocal_rank_fusion([np.array([9.0, 5.0, 5.0]), np.array([0.1, 0.2, 0.3])])
    assert fused.tolist() == pytest.approx([1 / 61 + 1 / 63, 1 / 62.5 + 1 / 62, 1 / 62.5 + 1 / 61])


@given(x=SCORES, k=st.integers(1, 100))
def test_reciprocal_rank_fusion_of_one_list_keeps_its_order(x, k):
    fused = reciprocal_rank_fusion([x], k)
    assert (np.sign(fused[:, None] - fused) == np.sign(x[:, None] - x)).all()


def test_fusion_is_a_weighted_sum_of_z_scores_and_a_constant_part_adds_nothing():
    a, b = np.array([1.0, 2.0, 6.0]), np.array([0.9, 0.1, 0.2])
    np.testing.assert_allclose(fuse([a, b, np.ones(3)], [2.0, 0.5, 9.0]), 2 * zscore(a) + 0.5 * zscore(b))
    np.testing.assert_allclose(fuse([100 * a + 7, b], [1, 1]), fuse([a, b], [1, 1]))


def test_parts_that_do_not_fit_together_are_refused():
    for wrong in (
        lambda: fuse([], []),
        lambda: fuse([np.ones(2)], [1, 1]),
        lambda: fuse([np.ones(2), np.ones(3)], [1, 1]),
        lambda: reciprocal_rank_fusion([]),
        lambda: reciprocal_rank_fusion([np.ones(2), np.ones(3)]),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 numpy's own words
            wrong()


def test_tie_keys_are_the_same_on_every_run_and_tell_ids_apart():
    assert tie_key("q1", "d1") == 1639699888280349814
    ids = ["", "a", "ab", "b", "bc", "é", "1:", "文"]
    keys = {tie_key(query, doc) for query in ids for doc in ids}
    assert len(keys) == len(ids) ** 2
    assert all(0 <= key < 2**63 for key in keys)


@given(scores=SCORES, seed=SEEDS)
def test_the_ranking_of_documents_does_not_depend_on_their_order(scores, seed):
    docs = np.array([f"d{i}" for i in range(len(scores))])
    keys = np.array([tie_key("q", doc) for doc in docs])
    ranked = rank_order(scores, keys)
    assert (np.diff(scores[ranked]) <= 0).all()
    order = np.random.default_rng(seed).permutation(len(scores))
    again = rank_order(scores[order], keys[order].tolist())
    assert docs[ranked].tolist() == docs[order][again].tolist()


def test_no_document_wins_its_ties_in_every_query():
    winners = [int(rank_order(np.zeros(2), [tie_key(f"q{i}", doc) for doc in ("a", "b")])[0]) for i in range(400)]
    assert sum(winners) == pytest.approx(200, abs=50)


@pytest.mark.parametrize(
    ("scores", "tied"), [([], False), ([1.0], False), ([1.0, 1.0, 0.0], True), ([1.0, 0.5, 0.5], False)]
)
def test_a_tie_counts_only_at_the_top(scores, tied):
    assert tied_at_top(np.array(scores)) is tied


@given(data=scores_and_grades(smallest=2), k=st.integers(1, 12))
def test_agreement_is_the_ndcg_of_scikit_learn_with_averaged_ties(data, k):
    scores, grades = data
    if grades.min() == grades.max():
        return
    gains = (grades - grades.min()) / (grades.max() - grades.min())
    assert agreement(scores, grades, k) == pytest.approx(ndcg_score(gains[None], scores[None], k=k))


def test_agreement_is_the_mean_over_all_orders_of_the_ties():
    scores, grades = np.array([1.0, 1.0, 1.0, 2.0]), np.array([0.9, 0.2, 0.4, 0.3])
    untied = [scores + 1e-3 * np.array([*order, 0]) for order in itertools.permutations(range(3))]
    mean = np.mean([agreement(each, grades, 2) for each in untied])
    assert agreement(scores, grades, 2) == pytest.approx(float(mean))


@given(data=scores_and_grades(), k=st.integers(1, 12))
def test_the_order_of_the_teacher_agrees_fully(data, k):
    _, grades = data
    assert agreement(grades, grades, k) == pytest.approx(1)
    assert agreement(np.exp(grades), 3 * grades - 7, k) == pytest.approx(1)


@given(data=scores_and_grades(), k=st.integers(1, 12))
def test_only_the_order_of_the_scores_counts(data, k):
    scores, grades = data
    assert agreement(scores, grades, k) == agreement(scores**3 + 5 * scores, grades, k)
    assert 0 <= agreement(scores, grades, k) <= 1


def test_agreement_rises_with_the_rank_correlation():
    rng = np.random.default_rng(0)
    grades = rng.normal(size=30)
    noisy = [grades + noise * rng.normal(size=30) for noise in (0.1, 0.5, 2, 20)]
    values = [agreement(scores, grades) for scores in noisy]
    taus = [kendalltau(scores, grades).statistic for scores in noisy]
    assert values == sorted(values, reverse=True)
    assert taus == sorted(taus, reverse=True)


@pytest.mark.parametrize("scores", [[], [1.0, 2.0]])
def test_agreement_needs_as_many_grades_as_scores(scores):
    grades = [] if not scores else [1.0]
    with pytest.raises(ValueError, match="expected as many of each and at least one"):
        agreement(np.array(scores), np.array(grades))


def test_where_no_order_is_wrong_agreement_is_full():
    assert agreement(np.array([3.0, 1.0]), np.array([0.1, 0.1])) == 1
    assert math.isclose(agreement(np.array([3.0]), np.array([0.1])), 1)
