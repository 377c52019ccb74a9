"""Which weight to give a first stage beside a reranker, by what each does on few queries, without following noise."""

from collections.abc import Sequence

import numpy as np

from tamis.formulas.arrays import FloatArray

SURE = 30
"""Fewest queries whose standard error says anything."""


def steady_weight(weights: Sequence[float], values: FloatArray) -> float:
    """Choose a weight by its value on few queries, without following their noise.

    Of all weights that are not surely worse than the best one (their mean loss does not exceed its own standard error,
    paired by query), the one nearest to 1 on a logarithmic scale: two z-scores have equal say until there is evidence
    for something else. The one-standard-error rule of Breiman et al. 1984, with 1 as the simplest choice.

    Args:
        weights: At least one, each 0 or above.
        values: How well each weight does on each query, [weights, queries].

    Returns:
        One of `weights`; among equally near ones that with the better mean. Without queries the one nearest to 1.
    """
    return _nearest(weights, np.asarray(values, dtype=np.float64), range(len(weights)), 1.0)


def better_weight(
    weights: Sequence[float], values: FloatArray, known: float, errors: float, parts: Sequence[FloatArray] = ()
) -> float:
    """The weight that is known, unless another one is surely better.

    Another weight may be chosen where its mean gain over the known one is above `errors` of its standard errors, paired
    by query, and where it loses on no part by more than one standard error of that part. Of those the rule of
    `steady_weight` takes the one nearest to the known weight.

    Args:
        weights: The known one among them, each 0 or above.
        values: How well each does on each query, [weights, queries].
        known: What stays without evidence.
        errors: Standard errors that a gain must exceed, 0 or above.
        parts: Other first stages that the weight will count for, each [weights, queries]; may be none, or without any.

    Returns:
        One of `weights`; `known` where there are fewer than `SURE` queries.

    Raises:
        ValueError: `known` is not one of the weights.
    """
    place = list(weights).index(known)
    values = np.asarray(values, dtype=np.float64)
    if values.shape[1] < SURE:
        return known
    gains, error = _mean_and_error(values - values[place])
    allowed = gains > errors * error
    for part in parts:
        part_gains, part_error = _mean_and_error(part - part[place])
        allowed &= part_gains >= -part_error
    places = np.flatnonzero(allowed).tolist()
    return _nearest(weights, values, places, known) if places else known


def _nearest(weights: Sequence[float], values: FloatArray, places: Sequence[int], to: float) -> float:
    """The weight nearest to `to` among those that are not surely worse than the best one."""
    means, _ = _mean_and_error(values)
    best = max(places, key=lambda i: means[i])
    lost, error = _mean_and_error(values[best] - values)
    within = [i for i in places if lost[i] <= error[i]]
    return float(weights[min(within, key=lambda i: (_distance(weights[i], to), -means[i]))])


def _distance(weight: float, to: float) -> float:
    """How far two weights lie apart on a logarithmic scale; from 0, which lies on none, plainly."""
    if not to:
        return weight
    return abs(float(np.log2(weight / to))) if weight else np.inf


def mean_and_error(differences: FloatArray) -> tuple[float, float]:
    """Mean over queries and its standard error, of one difference a query, [queries]; 0 and 0 without queries."""
    means, errors = _mean_and_error(differences[None])
    return float(means[0]), float(errors[0])


def _mean_and_error(differences: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean over the queries and its standard error, each [weights], of [weights, queries]; 0 without queries."""
    queries = differences.shape[1]
    if not queries:
        return np.zeros(len(differences)), np.zeros(len(differences))
    error = differences.std(axis=1, ddof=1) / np.sqrt(queries) if queries > 1 else np.zeros(len(differences))
    return differences.mean(axis=1), error
