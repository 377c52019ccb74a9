"""Which candidates a training list holds and what labels they get: bins over the teacher's scores, draws, rescaling."""

from typing import Literal, assert_never

import numpy as np

from tamis.formulas.arrays import FloatArray, IndexArray

Anchors = Literal["equal-width", "quantile"]
Rescaling = Literal["none", "min-max", "rank", "quantile"]


def bin_edges(scores: FloatArray, bins: int, anchors: Anchors) -> FloatArray:
    """Borders of the score bins.

    Args:
        scores: Teacher scores, [n] with n at least 1, any finite numbers.
        bins: How many, at least 1.
        anchors: `equal-width` cuts the range from lowest to highest score evenly, so bins may stay empty. `quantile`
            cuts the sorted scores evenly: with n distinct scores and n at least `bins`, no bin is empty (sizes differ
            by at most 1).

    Returns:
        Ascending edges, [bins + 1], from the lowest to the highest score; repeated where scores are tied or constant.

    Raises:
        ValueError: No scores, a score that is not finite, or fewer than 1 bin.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected at least 1")
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    if ordered.size == 0 or not np.isfinite(ordered).all():
        raise ValueError(f"expected at least one score and only finite ones, got {ordered.size} scores")
    match anchors:
        case "equal-width":
            return np.linspace(ordered[0], ordered[-1], bins + 1)
        case "quantile":
            # An edge is a score itself, found by integer arithmetic: interpolated quantiles can round to the wrong
            # side of the score that they should equal, and leave a bin empty.
            starts = np.arange(bins) * ordered.size // bins
            return np.append(ordered[starts], ordered[-1])
    assert_never(anchors)


def assign_bins(scores: FloatArray, edges: FloatArray) -> IndexArray:
    """Bin of each score: 0 (lowest) to bins - 1, never falling as the score rises.

    Args:
        scores: [n], any real number; below the first edge is bin 0, above the last the highest bin.
        edges: Ascending, [bins + 1], as `bin_edges` gives them. A score on an edge belongs to the bin above it, so
            tied scores are always in one bin, and constant scores are all in the highest.

    Returns:
        [n] integers.
    """
    return np.searchsorted(edges[1:-1], np.asarray(scores, dtype=np.float64), side="right").astype(np.int64)


def stratified_draw(bins_of: IndexArray, count: int, rng: np.random.Generator, first: int | None = None) -> IndexArray:
    """Draw items evenly over their bins, without replacement: round after round from the highest bin to the lowest.

    In each round every bin that still has items gives one at random, until `count` are drawn.

    Args:
        bins_of: Bin of each item, [n] integers.
        count: How many to draw, at least 1; where there are fewer items, all are drawn.
        rng: The only source of randomness: same state, same draw.
        first: Index of an item that is always drawn (the document the query was written from). It is its bin's item
            of the first round, so no bin is served twice because of it.

    Returns:
        Distinct indices in the order of the draw, [min(count, n)], `first` at the head.

    Raises:
        ValueError: `count` below 1 or `first` not an index.
    """
    items = len(bins_of)
    if count < 1:
        raise ValueError(f"count is {count}, expected at least 1")
    if first is not None and not 0 <= first < items:
        raise ValueError(f"first is {first}, expected an index from 0 to {items - 1}")
    shuffled = _move_to_front(rng.permutation(items), first)
    grouped = shuffled[np.argsort(-bins_of[shuffled], kind="stable")]  # bin after bin, highest first, random within
    _, start, sizes = np.unique(-bins_of[grouped], return_index=True, return_counts=True)
    round_of = np.arange(items) - np.repeat(start, sizes)
    drawn = grouped[np.argsort(round_of, kind="stable")]
    return _move_to_front(drawn, first)[:count]


def rescale(scores: FloatArray, how: Rescaling, over: FloatArray | None = None) -> FloatArray:
    """Spread teacher scores over [-1, 1], the range of the student's bounded score, keeping their order.

    A bi-encoder's cosines span 0.1 to 0.3 over a list; unscaled, they ask the student for gaps as small.

    Args:
        scores: [n], finite; usually all candidates of one query.
        how: `none` leaves them as they are. `min-max` keeps the proportions of the gaps; one outlier squeezes the rest.
            `rank` spaces them evenly (ties share the mean rank); gaps are lost. `quantile` is between the two: minimum,
            quartiles and maximum go to -1, -0.5, 0, 0.5, 1 and scores between them are placed in proportion, so that
            gaps keep their meaning within a quarter of the list and an outlier can squeeze no more than its own
            quarter. Quartiles, because finer anchors turn a list of ten documents into ranks. Anchors that coincide
            share the mean of their targets.
        over: The scores whose spread becomes [-1, 1], [m], finite, for instance those of many queries; none: `scores`.
            What lies beyond them goes to the ends.

    Returns:
        [n] in [-1, 1] (but for `none`); equal scores stay equal; where `over` is constant zeros (but for `none`).
    """
    scores = np.asarray(scores, dtype=np.float64)
    spread = scores if over is None else np.asarray(over, dtype=np.float64)
    if how == "none":
        return scores.copy()
    if spread.size == 0 or spread.min() == spread.max():
        return np.zeros_like(scores)
    match how:
        case "min-max":
            return _stretch(scores, float(spread.min()), float(spread.max()))
        case "rank":
            return _stretch(_ranks_among(scores, spread), 1, spread.size)
        case "quantile":
            return _by_quartiles(scores, spread)
    assert_never(how)


def _move_to_front(indices: IndexArray, first: int | None) -> IndexArray:
    if first is None:
        return indices
    return np.concatenate(([first], indices[indices != first]))


def _stretch(values: FloatArray, lowest: float, highest: float) -> FloatArray:
    """Linear map of [lowest, highest] to [-1, 1]; the division comes first so that the ends are hit exactly."""
    return np.clip((values - lowest) / (highest - lowest) * 2 - 1, -1, 1)


def _ranks_among(scores: FloatArray, spread: FloatArray) -> FloatArray:
    """Rank that each score has, or would have, among others, from 1; equal ones share the mean of their ranks."""
    ordered = np.sort(spread)
    ranks: FloatArray = (np.searchsorted(ordered, scores, "left") + 1 + np.searchsorted(ordered, scores, "right")) / 2
    return ranks


def _by_quartiles(scores: FloatArray, spread: FloatArray) -> FloatArray:
    anchors, position, shared_by = np.unique(
        np.quantile(spread, np.linspace(0, 1, 5)), return_inverse=True, return_counts=True
    )
    targets = np.bincount(position, weights=np.linspace(-1, 1, 5)) / shared_by
    return np.interp(scores, anchors, targets)
