"""Is a difference more than luck? Paired tests on one figure per query, e.g. nDCG@10 after minus before."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BLOCK_NUMBERS = 1 << 20  # random numbers held at once (8 MiB as float64), however many queries and rounds


def paired_randomisation(differences: FloatArray, rng: np.random.Generator, rounds: int = 100_000) -> float:
    """Two-sided p-value of the mean difference under random exchange of the two systems, query by query.

    If the systems are alike, each difference could as well have had the other sign. The p-value is the share of random
    sign flips whose mean is at least as far from 0 as the observed one, that one included: never 0, at least
    1 / (rounds + 1).

    Args:
        differences: One figure per query, [n] with n at least 1, finite.
        rng: Source of the flips.
        rounds: How many, at least 1.

    Returns:
        In (0, 1]; 1 where all differences are 0.

    Raises:
        ValueError: No differences, one that is not finite, or fewer than 1 round.

    Source: Smucker, Allan and Carterette, CIKM 2007; the +1 is Phipson and Smyth 2010.
    """
    differences = _checked(differences, rounds)
    # Flips that give the observed mean again in another order of addition must count as reaching it.
    tolerance = 1e-12 * float(np.abs(differences).sum())
    observed = abs(float(differences.sum())) - tolerance
    reached = 0
    for rows in _blocks(rounds, differences.size):
        signs = 2.0 * rng.integers(0, 2, size=(rows, differences.size), dtype=np.int8) - 1.0
        reached += int((np.abs(signs @ differences) >= observed).sum())
    return (reached + 1) / (rounds + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for making several tests: the chance of one false alarm among all stays below the level.

    Args:
        p_values: One a test, each in [0, 1].

    Returns:
        Adjusted values in the order of the input, each at least the value that came in and at most 1.

    Raises:
        ValueError: A value outside [0, 1].

    Source: Holm 1979, step-down.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values are {list(p_values)}, expected numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def bootstrap_interval(
    differences: FloatArray, rng: np.random.Generator, level: float = 0.95, rounds: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean difference, queries drawn with replacement.

    Args:
        differences: One figure per query, [n] with n at least 1, finite.
        rng: Source of the draws.
        level: Share of the resampled means inside the interval, in (0, 1).
        rounds: How many resamples, at least 1.

    Returns:
        Lower and upper end, in the unit of the differences. Too narrow below about 20 queries.

    Raises:
        ValueError: No differences, one that is not finite, fewer than 1 round, or a level outside (0, 1).

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    differences = _checked(differences, rounds)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a number between 0 and 1")
    means = np.concatenate(
        [
            differences[rng.integers(0, differences.size, size=(rows, differences.size))].mean(axis=1)
            for rows in _blocks(rounds, differences.size)
        ]
    )
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def _checked(differences: FloatArray, rounds: int) -> FloatArray:
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size == 0 or not np.isfinite(differences).all():
        raise ValueError(f"expected at least one difference and only finite ones, got {differences.size} differences")
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, expected at least 1")
    return differences


def _blocks(rounds: int, width: int) -> Iterator[int]:
    """Rounds to do at a time so that rows * width numbers stay in memory; they add up to `rounds`."""
    rows = max(1, BLOCK_NUMBERS // width)
    for done in range(0, rounds, rows):
        yield min(rows, rounds - done)
