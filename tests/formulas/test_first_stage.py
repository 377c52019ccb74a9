"""A first stage beside a reranker's logits, against the sum of scipy's z-scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, zscore

from tamis.formulas.first_stage import scores_of_order, with_first_stage

NUMBERS = st.floats(-50, 50).map(lambda x: round(x, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=30)


@given(PAIRS, st.sampled_from([0.0, 0.25, 1.0, 4.0]))
def test_the_order_is_that_of_the_sum_of_z_scores(pairs, weight):
    logits, first = (np.array(part) for part in zip(*pairs, strict=True))
    if logits.std() < 1e-3 or first.std() < 1e-3:
        return
    summed = zscore(logits) + weight * zscore(first)
    # Where both nearly cancel each other the sum is all rounding: its own z-scores would say nothing.
    assert np.allclose(with_first_stage(logits, first, weight), logits.mean() + logits.std() * summed, atol=1e-6)


@given(PAIRS, st.floats(0, 4))
def test_the_mean_stays_on_the_scale_of_the_logits(pairs, weight):
    logits, first = (np.array(part) for part in zip(*pairs, strict=True))
    assert with_first_stage(logits, first, weight).mean() == pytest.approx(logits.mean(), abs=1e-6)


def test_without_a_weight_or_a_spread_the_logits_stay():
    logits = np.array([3.0, 1.0, 2.0])
    assert with_first_stage(logits, np.array([1.0, 9.0, 2.0]), 0).tolist() == logits.tolist()
    assert with_first_stage(logits, np.ones(3), 2.0).tolist() == logits.tolist()
    assert with_first_stage(np.ones(3), logits, 2.0).tolist() == [1.0, 1.0, 1.0]


def test_an_order_falls_and_its_first_ranks_lead():
    scores = scores_of_order(50)
    assert kendalltau(scores, -np.arange(50)).statistic == 1
    assert (np.diff(scores, 2) > 0).all()
