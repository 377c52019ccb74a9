"""Weights of first stages: what is surely better is found, what noise alone favours is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tamis.formulas.weights import SURE, better_weight, mean_and_error, steady_weight

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)


def test_a_weight_that_is_surely_better_is_chosen_wherever_it_lies():
    rng = np.random.default_rng(0)
    for best in range(len(WEIGHTS)):
        values = 0.5 + 0.01 * rng.standard_normal((len(WEIGHTS), 50))
        values[best] += 0.2
        assert steady_weight(WEIGHTS, values) == WEIGHTS[best]


def test_noise_alone_moves_the_weight_away_from_one_less_often_than_the_best_mean_does():
    rng = np.random.default_rng(1)
    curves = [rng.standard_normal((len(WEIGHTS), 30)) for _ in range(200)]
    steady = np.mean([steady_weight(WEIGHTS, values) == 1.0 for values in curves])
    best = np.mean([WEIGHTS[values.mean(axis=1).argmax()] == 1.0 for values in curves])
    assert best == pytest.approx(0.2, abs=0.1)
    assert steady > 0.4


def test_where_no_weight_matters_both_scores_have_equal_say_or_as_nearly_as_there_is():
    assert steady_weight(WEIGHTS, np.ones((len(WEIGHTS), 7))) == 1.0
    assert steady_weight((0.0, 0.25, 4.0), np.ones((3, 7))) in (0.25, 4.0)
    assert steady_weight((0.5, 2.0), np.array([[0.4], [0.4]])) == 0.5
    assert steady_weight((0.0,), np.array([[0.3, 0.4]])) == 0.0


def test_of_two_equally_near_weights_the_better_one_is_taken():
    values = np.array([[0.2, 0.9, 0.5], [0.3, 0.9, 0.5]])
    assert steady_weight((0.5, 2.0), values) == 2.0


SEEDS = st.integers(0, 1000)


def noisy(rng: np.random.Generator, queries: int, gains: tuple[float, ...], noise: float = 0.1) -> np.ndarray:
    """Values around the same ones for all weights, with a gain of each."""
    values = rng.random(queries) + noise * rng.standard_normal((len(WEIGHTS), queries))
    return values + np.array(gains)[:, None]


@given(SEEDS, st.integers(0, 80), st.sampled_from(WEIGHTS), st.sampled_from([0.0, 1.0, 2.0]))
def test_another_weight_has_gained_more_than_its_error_and_lost_nowhere_beyond_it(seed, queries, known, errors):
    rng = np.random.default_rng(seed)
    parts = [noisy(rng, queries, tuple(0.05 * rng.standard_normal(len(WEIGHTS)))) for _ in range(2)]
    values = (parts[0] + parts[1]) / 2
    weight = better_weight(WEIGHTS, values, known, errors, parts)
    assert weight in WEIGHTS
    if weight == known:
        return
    chosen, before = WEIGHTS.index(weight), WEIGHTS.index(known)
    assert queries >= SURE
    gains = values[chosen] - values[before]
    assert gains.mean() > errors * gains.std(ddof=1) / np.sqrt(queries)
    for part in parts:
        lost = part[before] - part[chosen]
        assert lost.mean() <= lost.std(ddof=1) / np.sqrt(queries)


@given(SEEDS, st.permutations(range(len(WEIGHTS))))
def test_neither_the_order_of_the_weights_nor_that_of_the_queries_matters(seed, order):
    rng = np.random.default_rng(seed)
    values = noisy(rng, 60, tuple(0.05 * rng.standard_normal(len(WEIGHTS))))
    shuffled = values[order][:, rng.permutation(60)]
    assert better_weight([WEIGHTS[i] for i in order], shuffled, 0.0, 1.0) == better_weight(WEIGHTS, values, 0.0, 1.0)


@given(SEEDS)
def test_an_order_that_helps_is_found_with_a_weight_that_is_no_larger_than_it_need_be(seed):
    rng = np.random.default_rng(seed)
    assert better_weight(WEIGHTS, noisy(rng, 200, (0, 0.2, 0.2, 0.2, 0), 0.001), 0.0, 1.0) in (0.25, 0.5, 1.0)
    assert better_weight(WEIGHTS, noisy(rng, 200, (0, 0, 0, 0.2, 0.1)), 0.0, 1.0) == 1.0
    level = np.array([0, 0.2, 0.2, 0.2, 0.2])[:, None] + rng.random(200)
    assert better_weight(WEIGHTS, level, 0.0, 1.0) == 0.25


def test_a_loss_on_one_part_is_not_made_up_for_by_a_gain_on_another():
    rng = np.random.default_rng(2)
    gain, loss = noisy(rng, 100, (0, 0, 0.5, 0, 0)), noisy(rng, 100, (0, 0, -0.1, 0, 0))
    pooled = (gain + loss) / 2
    assert better_weight(WEIGHTS, pooled, 0.0, 1.0, [gain, gain]) == 0.5
    assert better_weight(WEIGHTS, pooled, 0.0, 1.0, [gain, loss]) == 0.0


def test_a_part_that_neither_gains_nor_loses_holds_nothing_back():
    rng = np.random.default_rng(2)
    gain, same = noisy(rng, 100, (0, 0, 0.5, 0, 0)), rng.normal(0, 1, (len(WEIGHTS), 100))
    same[2] = same[0] + rng.permutation(np.resize([0.1, -0.1], 100))
    assert better_weight(WEIGHTS, gain, 0.0, 1.0, [same]) == 0.5


def test_of_equally_good_weights_the_one_nearest_to_the_known_one_is_taken_on_a_logarithmic_scale():
    rng = np.random.default_rng(4)
    level = rng.random(100)
    for known, good, nearest in ((1.0, (0.25, 2.0), 2.0), (2.0, (0.5, 1.0), 1.0)):
        values = np.array([level + (weight in good) for weight in WEIGHTS])
        assert better_weight(WEIGHTS, values, known, 1.0) == nearest


def test_noise_alone_seldom_moves_a_weight_that_is_known():
    rng = np.random.default_rng(3)
    samples = [noisy(rng, 60, (0, 0, 0, 0, 0)) for _ in range(400)]
    moved = [np.mean([better_weight(WEIGHTS, one, 1.0, errors) != 1.0 for one in samples]) for errors in (1.0, 2.0)]
    assert moved[0] < 0.5
    assert moved[1] < 0.12


def test_few_queries_move_nothing_however_clear_they_are():
    values = np.zeros((len(WEIGHTS), SURE - 1))
    values[2] = 1
    assert better_weight(WEIGHTS, values, 0.0, 1.0) == 0.0
    assert better_weight(WEIGHTS, np.c_[values, values[:, :1]], 0.0, 1.0) == 0.5


def test_a_part_without_queries_has_no_say():
    values = np.zeros((len(WEIGHTS), SURE))
    values[1] = 1
    assert better_weight(WEIGHTS, values, 2.0, 2.0, [np.empty((len(WEIGHTS), 0))]) == 0.25


def test_the_weight_that_is_known_has_to_be_one_of_them():
    with pytest.raises(ValueError, match="not in list"):
        better_weight(WEIGHTS, np.zeros((len(WEIGHTS), SURE)), 3.0, 1.0)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
def test_the_error_of_a_mean_is_that_of_scipy(differences):
    assert mean_and_error(np.array(differences)) == pytest.approx((np.mean(differences), stats.sem(differences)))


def test_of_no_and_of_one_query_the_error_is_unknown_and_0():
    assert mean_and_error(np.empty(0)) == (0.0, 0.0)
    assert mean_and_error(np.array([0.25])) == (0.25, 0.0)
