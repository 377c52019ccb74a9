"""Where to cut a ranking by score: precision and recall above each score, and how probable relevance is at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from tamis.formulas.arrays import FloatArray

FloatsLike = FloatArray | Sequence[float]
BoolsLike = NDArray[np.bool_] | Sequence[bool]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of counted things, and where the share behind it lies.

    Attributes:
        value: In [0, 1].
        lower: Lower end of the interval.
        upper: Upper end.
    """

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Level:
    """What is kept where documents below a score are left out.

    Attributes:
        score: The lowest score that is kept.
        kept: Pairs of it or above.
        precision: Share of these that are relevant.
        recall: Share of the relevant ones that are kept.
    """

    score: float
    kept: int
    precision: Share
    recall: Share


def share(hits: int, of: int, level: float = 0.95) -> Share:
    """A share with its exact interval, which holds the truth at least as often as `level` says.

    Args:
        hits: From 0 to `of`.
        of: At least 1.
        level: In (0, 1).

    Raises:
        ValueError: Numbers outside these ranges.

    Source: Clopper and Pearson 1934, by quantiles of the beta distribution.
    """
    from scipy.stats import beta

    if not (0 <= hits <= of and of > 0 and 0 < level < 1):
        raise ValueError(f"{hits} of {of} at level {level}: expected 0 to {max(of, 1)} and a level between 0 and 1")
    tail = (1 - level) / 2
    lower = float(beta.ppf(tail, hits, of - hits + 1)) if hits else 0.0
    upper = float(beta.ppf(1 - tail, hits + 1, of - hits)) if hits < of else 1.0
    return Share(hits / of, lower, upper)


def levels(scores: FloatsLike, relevant: BoolsLike, level: float = 0.95) -> list[Level]:
    """Precision and recall at every score that comes, highest first; pairs of one score are kept together.

    Args:
        scores: Scores of pairs, [n], finite.
        relevant: Which of them are relevant, [n], at least one.
        level: Of the intervals, see `share`.

    Raises:
        ValueError: Shapes that differ, a score that is not finite, or nothing relevant.
    """
    scores, relevant = _checked(scores, relevant)
    every = int(relevant.sum())
    if not every:
        raise ValueError(f"none of {scores.size} pairs is relevant, expected at least one")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(relevant[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return [
        Level(
            float(ranked[place]),
            int(place) + 1,
            share(int(hits[place]), int(place) + 1, level),
            share(int(hits[place]), every, level),
        )
        for place in last
    ]


def lowest_level(found: Sequence[Level], precision: float) -> Level | None:
    """The lowest level whose precision is `precision` or above; None where none has it.

    Args:
        found: As `levels` gives them.
        precision: In (0, 1].
    """
    return next((one for one in reversed(found) if one.precision.value >= precision), None)


class Calibration(NamedTuple):
    """Probability of relevance by score: `1 / (1 + exp(-(slope * score + intercept)))`."""

    slope: float
    intercept: float

    def probability(self, score: float) -> float:
        """Probability that a pair of this score is relevant."""
        return float(expit(self.slope * score + self.intercept))


def platt(scores: FloatsLike, relevant: BoolsLike) -> Calibration:
    """Calibrate scores on few grades.

    A logistic regression on the score alone, with targets drawn in from 0 and 1: `(hits + 1) / (hits + 2)` for relevant
    pairs and `1 / (others + 2)` for the others, so that few grades that are told apart perfectly do not end in a step.

    Args:
        scores: Scores of pairs on a scale without ends, such as logits, [n], finite.
        relevant: Which of them are relevant, [n], some and not all.

    Raises:
        ValueError: Shapes that differ, a score that is not finite, or pairs that are all relevant or all not.

    Source: Platt 1999, in the form of Lin, Lin and Weng, Machine Learning 68 (2007).
    """
    scores, relevant = _checked(scores, relevant)
    hits, others = int(relevant.sum()), int((~relevant).sum())
    if not hits or not others:
        raise ValueError(f"{hits} relevant pairs and {others} others, expected at least one of each")
    targets = np.where(relevant, (hits + 1) / (hits + 2), 1 / (others + 2))
    # On a scale of its own the search takes the same steps whatever the scores are measured in.
    middle, spread = float(scores.mean()), float(scores.std()) or 1.0
    scaled = (scores - middle) / spread

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        logits = values[0] * scaled + values[1]
        errors = expit(logits) - targets
        lost = -(targets * log_expit(logits) + (1 - targets) * log_expit(-logits)).sum()
        return float(lost), np.array([errors @ scaled, errors.sum()])

    start = np.array([0.0, np.log((hits + 1) / (others + 1))])
    found = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
    slope = float(found[0]) / spread
    return Calibration(slope, float(found[1]) - slope * middle)


def _checked(scores: FloatsLike, relevant: BoolsLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    values, marks = np.asarray(scores, dtype=np.float64), np.asarray(relevant, dtype=np.bool_)
    if values.ndim != 1 or values.shape != marks.shape or not np.isfinite(values).all():
        raise ValueError(f"{values.size} scores and {marks.size} marks, expected as many of each and finite scores")
    return values, marks
