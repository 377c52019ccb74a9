from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import _SigmoidCalibration
from sklearn.metrics import precision_recall_curve

from tamis.formulas.thresholds import Level, Share, levels, lowest_level, platt, share

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30).filter(
    lambda pairs: any(mark for _, mark in pairs)
)


@given(st.integers(1, 60).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))), st.sampled_from([0.8, 0.95]))
def test_a_share_has_the_exact_interval_of_scipy(counts, level):
    expected = binomtest(*counts).proportion_ci(level, "exact")
    assert astuple(share(*counts, level)) == pytest.approx((counts[0] / counts[1], expected.low, expected.high))


@given(PAIRS)
def test_levels_are_those_of_scikit_learn(pairs):
    scores, relevant = zip(*pairs, strict=True)
    precision, recall, thresholds = precision_recall_curve(relevant, scores)
    found = levels(scores, relevant)[::-1]
    assert [one.score for one in found] == thresholds.tolist()
    assert [one.precision.value for one in found] == pytest.approx(precision[:-1])
    assert [one.recall.value for one in found] == pytest.approx(recall[:-1])
    assert [one.kept for one in found] == [sum(score >= one.score for score in scores) for one in found]


@given(PAIRS, st.floats(0.1, 1))
def test_the_lowest_level_has_the_precision_and_no_lower_one_has(pairs, precision):
    found = levels(*zip(*pairs, strict=True))
    chosen = lowest_level(found, precision)
    enough = [one.score for one in found if one.precision.value >= precision]
    assert (chosen.score if chosen else None) == min(enough, default=None)


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_calibration_is_that_of_scikit_learn(scale):
    rng = np.random.default_rng(0)
    scores = scale * rng.normal(0, 2, 80) + 3
    relevant = rng.random(80) < 1 / (1 + np.exp(-(scores - 3) / scale))
    expected = _SigmoidCalibration().fit(scores, relevant.astype(int))
    found = platt(scores, relevant)
    assert [found.probability(one) for one in scores] == pytest.approx(expected.predict(scores), abs=2e-4)


def test_a_few_pairs_that_are_told_apart_perfectly_are_no_step():
    found = platt([-2.0, -1.0, 1.0, 2.0], [False, False, True, True])
    assert 0.5 < found.probability(1.0) < found.probability(2.0) < 0.9
    assert found.probability(0.0) == pytest.approx(0.5)


def test_what_cannot_be_counted_is_told():
    with pytest.raises(ValueError, match="none of 2 pairs is relevant"):
        levels([1.0, 2.0], [False, False])
    with pytest.raises(ValueError, match="2 relevant pairs and 0 others"):
        platt([1.0, 2.0], [True, True])
    with pytest.raises(ValueError, match="1 scores and 2 marks"):
        levels([1.0], [True, False])
    with pytest.raises(ValueError, match="3 of 2"):
        share(3, 2)


def test_a_precision_that_is_met_exactly_counts():
    exact = Level(0.5, 4, Share(0.75, 0, 1), Share(1.0, 0, 1))
    assert lowest_level([exact], 0.75) == exact


def test_nothing_is_precise_enough():
    assert lowest_level([Level(0.5, 2, Share(0.5, 0, 1), Share(1.0, 0, 1))], 0.9) is None
