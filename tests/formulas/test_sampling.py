import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from tamis.formulas.sampling import assign_bins, bin_edges, rescale, stratified_draw

SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)
ANCHORS = st.sampled_from(["equal-width", "quantile"])
SPREADS = st.sampled_from(["min-max", "rank", "quantile"])


@given(scores=SCORES, bins=st.integers(1, 20), anchors=ANCHORS)
def test_edges_ascend_from_the_lowest_to_the_highest_score(scores, bins, anchors):
    edges = bin_edges(scores, bins, anchors)
    assert edges.shape == (bins + 1,)
    assert (np.diff(edges) >= 0).all()
    assert (edges[0], edges[-1]) == (scores.min(), scores.max())


@given(scores=SCORES, bins=st.integers(1, 20), anchors=ANCHORS)
def test_a_higher_score_is_never_in_a_lower_bin(scores, bins, anchors):
    assigned = assign_bins(scores, bin_edges(scores, bins, anchors))
    assert assigned.min() >= 0
    assert assigned.max() < bins
    assert (np.diff(assigned[np.argsort(scores)]) >= 0).all()
    for score in scores:
        assert len(set(assigned[scores == score])) == 1


@given(scores=st.sets(st.floats(-1e6, 1e6), min_size=1, max_size=60), bins=st.integers(1, 20))
def test_quantile_bins_of_distinct_scores_are_of_one_size(scores, bins):
    values = np.array(list(scores))
    sizes = np.bincount(assign_bins(values, bin_edges(values, bins, "quantile")), minlength=bins)
    assert sizes.max() - sizes.min() <= 1


def test_equal_width_bins_follow_the_scores_and_may_be_empty():
    scores = np.array([0.0, 0.1, 0.2, 1.0])
    edges = bin_edges(scores, 4, "equal-width")
    assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert assign_bins(scores, edges).tolist() == [0, 0, 0, 3]
    assert assign_bins(np.array([-5.0, 0.25, 5.0]), edges).tolist() == [0, 1, 3]


@pytest.mark.parametrize("anchors", ["equal-width", "quantile"])
def test_constant_scores_share_one_bin(anchors):
    scores = np.full(7, 0.1)
    assert set(assign_bins(scores, bin_edges(scores, 16, anchors)).tolist()) == {15}


@pytest.mark.parametrize(
    ("scores", "bins", "message"),
    [
        ([], 4, "at least one score and only finite ones, got 0 scores"),
        ([0.0, math.nan], 4, "only finite ones, got 2 scores"),
        ([0.0], 0, "bins is 0, expected at least 1"),
    ],
)
def test_scores_without_bins_are_refused(scores, bins, message):
    with pytest.raises(ValueError, match=message):
        bin_edges(np.array(scores), bins, "quantile")


@given(
    bins_of=st.lists(st.integers(0, 15), max_size=60).map(lambda x: np.array(x, dtype=np.int64)),
    count=st.integers(1, 70),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_a_draw_is_even_over_the_bins_without_replacement_and_repeatable(bins_of, count, seed, data):
    first = data.draw(st.none() | st.integers(0, len(bins_of) - 1)) if len(bins_of) else None
    drawn = stratified_draw(bins_of, count, np.random.default_rng(seed), first)
    assert drawn.tolist() == stratified_draw(bins_of, count, np.random.default_rng(seed), first).tolist()
    assert len(drawn) == len(set(drawn.tolist())) == min(count, len(bins_of))
    if first is not None:
        assert drawn[0] == first
    left = np.bincount(bins_of, minlength=16) - np.bincount(bins_of[drawn], minlength=16)
    taken = np.bincount(bins_of[drawn], minlength=16)
    # A bin that still has items is at most one behind any other.
    assert (taken[left > 0] >= taken.max(initial=0) - 1).all()


def test_rounds_go_from_the_highest_bin_to_the_lowest():
    bins_of = np.array([0, 0, 3, 3, 3, 1])
    drawn = stratified_draw(bins_of, 6, np.random.default_rng(0))
    assert bins_of[drawn].tolist() == [3, 1, 0, 3, 0, 3]


def test_the_seed_document_stands_for_its_bin_in_the_first_round():
    bins_of = np.array([0, 0, 3, 3, 3, 1])
    drawn = stratified_draw(bins_of, 6, np.random.default_rng(0), first=1)
    assert drawn[0] == 1
    assert bins_of[drawn].tolist() == [0, 3, 1, 3, 0, 3]
    assert stratified_draw(bins_of, 1, np.random.default_rng(0), first=5).tolist() == [5]


def test_every_item_of_a_bin_is_as_likely_to_be_drawn():
    rng = np.random.default_rng(0)
    bins_of = np.array([2, 2, 2, 2, 0])
    drawn = [int(stratified_draw(bins_of, 1, rng)[0]) for _ in range(2000)]
    assert np.bincount(drawn, minlength=5).tolist() == pytest.approx([500, 500, 500, 500, 0], abs=80)


@pytest.mark.parametrize(
    ("count", "first", "message"),
    [(0, None, "count is 0, expected at least 1"), (1, 2, "from 0 to 1"), (1, -1, "first is -1, expected an index")],
)
def test_a_draw_that_cannot_be_made_is_refused(count, first, message):
    with pytest.raises(ValueError, match=message):
        stratified_draw(np.array([0, 1]), count, np.random.default_rng(0), first)


@given(scores=SCORES, how=SPREADS)
def test_rescaling_keeps_the_order_and_stays_within_the_range(scores, how):
    rescaled = rescale(scores, how)
    assert rescaled.min() >= -1
    assert rescaled.max() <= 1
    assert (np.diff(rescaled[np.argsort(scores)]) >= -1e-12).all()
    for score in scores:
        assert len(set(rescaled[scores == score])) == 1


@given(scores=SCORES, others=SCORES, how=SPREADS)
def test_over_other_scores_a_score_becomes_what_it_would_among_them_and_what_is_beyond_goes_to_the_ends(
    scores, others, how
):
    every = np.concatenate([scores, others])
    assert rescale(scores, how, every).tolist() == rescale(every, how)[: len(scores)].tolist()
    rescaled, among = rescale(scores, how, others), rescale(others, how)
    assert (rescaled[scores < others.min()] <= among.min()).all()
    assert (rescaled[scores > others.max()] >= among.max()).all()
    assert (np.abs(rescaled) <= 1).all()


@given(scores=st.sets(st.integers(-1000, 1000), min_size=2, max_size=60), how=SPREADS)
def test_rescaling_distinct_scores_uses_the_whole_range_and_makes_no_ties(scores, how):
    values = np.array(sorted(scores), dtype=np.float64)
    rescaled = rescale(values, how)
    assert (rescaled[0], rescaled[-1]) == (-1, 1)
    assert (np.diff(rescaled) > 0).all()


@pytest.mark.parametrize("how", ["min-max", "rank", "quantile"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_constant_scores_become_zeros(how, count):
    assert rescale(np.full(count, 0.1), how).tolist() == [0.0] * count


def test_without_rescaling_the_scores_are_a_copy():
    scores = np.array([0.7, 0.9])
    rescaled = rescale(scores, "none")
    rescaled[0] = 5
    assert scores.tolist() == [0.7, 0.9]


@given(scores=SCORES.filter(lambda x: x.min() < x.max()))
def test_ranks_are_the_mean_ranks_of_scipy_spread_evenly(scores):
    expected = (rankdata(scores) - 1) / (len(scores) - 1) * 2 - 1
    assert rescale(scores, "rank").tolist() == pytest.approx(expected.tolist())


def test_an_outlier_squeezes_the_rest_by_min_max_but_not_by_quantiles():
    scores = np.array([0.0, 1.0, 2.0, 3.0, 100.0])
    assert rescale(scores, "min-max").tolist() == pytest.approx([-1, -0.98, -0.96, -0.94, 1])
    assert rescale(scores, "quantile").tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])


def test_quantile_rescaling_keeps_gaps_in_proportion_within_a_quarter():
    scores = np.array([0.0, 1, 3, 4, 5, 6, 7, 8, 9])
    assert rescale(scores, "quantile")[:3].tolist() == pytest.approx([-1, -1 + 0.5 / 3, -0.5])


def test_quantile_anchors_that_coincide_share_the_mean_of_their_targets():
    scores = np.array([0.0, 0.0, 0.0, 1.0, 5.0])  # minimum, first quartile and median are 0
    assert rescale(scores, "quantile").tolist() == [-0.5, -0.5, -0.5, 0.5, 1.0]
