"""Is a difference more than luck? Paired tests on one figure per query, e.g. nDCG@10 after minus before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.formulas.arrays import FloatArray

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
    means = _resampled(differences, rng, level, rounds, lambda drawn: drawn.mean(axis=1))
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def effect_size(differences: FloatArray) -> float:
    """The mean difference in standard deviations of the differences: Cohen's d of paired samples.

    Args:
        differences: One figure per query, [n] with n at least 1, finite.

    Returns:
        0.2 is usually called small, 0.5 medium, 0.8 large; 0 where all differences are 0, infinite where all are the
        same other number.

    Raises:
        ValueError: No differences, or one that is not finite.

    Source: Cohen 1988, d_z; Sakai, SIGIR Forum 2014, asks for it beside the p-value.
    """
    return float(_effects(_checked(differences, 1)[None])[0])


def effect_interval(
    differences: FloatArray, rng: np.random.Generator, level: float = 0.95, rounds: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval of `effect_size` of [queries]; arguments and errors as for `bootstrap_interval`."""
    effects = _resampled(differences, rng, level, rounds, _effects)
    # Without interpolation: between two infinite values there is no number.
    lower, upper = np.quantile(effects, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(lower), float(upper)


def _effects(drawn: FloatArray) -> FloatArray:
    """Effect size of each row of [rows, n]."""
    means, deviations = drawn.mean(axis=1), drawn.std(axis=1, ddof=1 if drawn.shape[1] > 1 else 0)
    # Equal numbers may differ from their mean in the last bit.
    constant = (drawn == drawn[:, :1]).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effects: FloatArray = np.where(constant, np.sign(means) * np.inf, means / deviations)
    return np.where(means == 0, 0.0, effects)


def _resampled(
    differences: FloatArray,
    rng: np.random.Generator,
    level: float,
    rounds: int,
    statistic: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """A statistic of `rounds` samples of the differences, drawn with replacement."""
    differences = _checked(differences, rounds)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a number between 0 and 1")
    return np.concatenate(
        [
            statistic(differences[rng.integers(0, differences.size, size=(rows, differences.size))])
            for rows in _blocks(rounds, differences.size)
        ]
    )


def paired_comparison(
    differences: FloatArray,
    weights: FloatArray,
    groups: Mapping[str, NDArray[np.bool_]],
    rng: np.random.Generator,
    rounds: int,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """All there is to say of one system against another, query by query.

    Args:
        differences: One figure per query, [n].
        weights: Weight of each query in the mean, [n], with mean 1; the test weighs them so too and speaks of the same
            figure.
        groups: Queries of each group, [n] each with at least one; their p-values are corrected by Holm.
        rng: Source of flips and draws.
        rounds: Sign flips of the randomisation test; at most 10,000 for a group.
        resamples: Resamples of the bootstrap.

    Returns:
        `difference` of the weighted means with its 95 % `interval`, `p_value`, `effect_size` and `effect_interval`
        (None where they are infinite), `wins`, `ties`, `losses`, and of each group `difference`, its 95 % `interval`
        and `p_holm`.
    """
    weighted = weights * differences
    of_groups = {name: differences[mask] for name, mask in groups.items()}
    group_p = [paired_randomisation(own, rng, min(rounds, 10_000)) for own in of_groups.values()]
    interval = bootstrap_interval(weighted, rng, rounds=resamples)
    p_value = paired_randomisation(weighted, rng, rounds)
    effects = (effect_size(weighted), *effect_interval(weighted, rng, rounds=resamples))
    # Drawn last, so that no other figure depends on the groups' intervals.
    intervals = {name: bootstrap_interval(own, rng, rounds=resamples) for name, own in of_groups.items()}
    effect, lower, upper = (value if np.isfinite(value) else None for value in effects)
    return {
        "difference": float(weighted.mean()),
        "interval": list(interval),
        "effect_size": effect,
        "effect_interval": [lower, upper],
        "p_value": p_value,
        "wins": int((differences > 0).sum()),
        "ties": int((differences == 0).sum()),
        "losses": int((differences < 0).sum()),
        "groups": {
            name: {"difference": float(own.mean()), "interval": list(intervals[name]), "p_holm": p}
            for (name, own), p in zip(of_groups.items(), holm(group_p), strict=True)
        },
    }


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
