"""The mean of a paired difference from few grades of a person, helped by many grades of a model.

Each number is one question's difference between two systems, in nDCG@10 or another measure: once by the person's
grades, once by the model's. The model may be wrong in any way; the interval holds all the same, and is narrower the
closer both agree from question to question.
"""

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from tamis.formulas.arrays import FloatArray

LEAST: Final = 3
"""Questions of a person below which nothing is estimated."""

FOLLOWED: Final = 0.6
"""Share of the guard that a model takes off which is followed wholly; chosen on the sets of benchmarks/proof.py."""


class MeanInterval(NamedTuple):
    """A mean and where it lies.

    Attributes:
        mean: Estimate, in the unit of the differences.
        lower: Lower end of the interval.
        upper: Upper end.
        weight: How far the model's grades were followed, from 0 (not at all) to 1.
    """

    mean: float
    lower: float
    upper: float
    weight: float = 0.0


def mean_interval(differences: FloatArray, level: float = 0.95) -> MeanInterval:
    """Student's interval of the mean difference, from the person's grades alone, with a guard for rare changes.

    Two systems often rank most questions alike, and few changed questions say little of their variance: of thirty with
    three changes Student's own interval holds the truth in some 85 % of samples. So half a question that rises and half
    a question that falls by an ordinary change are added to the sum of squares, as Agresti and Min do for proportions.

    Args:
        differences: One number a question, [n], finite, n at least `LEAST`.
        level: Share of samples whose interval holds the truth, in (0, 1).

    Returns:
        The mean, and the ends at the same distance from it.

    Raises:
        ValueError: Too few differences, one that is not finite, or a level outside (0, 1).

    Source: Student 1908; for differences of retrieval measures Sakai, Laboratory Experiments in Information Retrieval,
        2018, chapter 2; the guard: Agresti and Min, Statistics in Medicine 24 (2005), for paired proportions.
    """
    values = _checked("differences", differences, LEAST)
    squares = values.var() * values.size + ordinary_change(values)
    half = _quantile(level, values.size - 1) * math.sqrt(squares / (values.size - 1) / values.size)
    return MeanInterval(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def powered_interval(person: FloatArray, model: FloatArray, others: FloatArray, level: float = 0.95) -> MeanInterval:
    """Prediction-powered interval of the mean difference, with the weight of the model's grades tuned to the data.

    The estimate is `mean(person) + weight * (mean(others) - mean(model))`. The weight that makes its variance least is
    `cov(person, model) / (var(model) * (1 + n / N))`, kept between 0 and 1; a model whose grades say nothing has 0, and
    what is left is `mean_interval`. For few questions the variance is that of a regression: a degree of freedom is paid
    for the weight, here and in Student's quantile, and rare changes are guarded against as there; less so the more the
    model is followed, since it tells which questions change.

    Args:
        person: Differences by the person's grades, [n], n at least `LEAST` + 1.
        model: Differences of the same questions by the model's grades, [n].
        others: Differences by the model's grades of other questions of the same kind, [N]; with fewer than two the
            person's alone count.
        level: As for `mean_interval`.

    Returns:
        The estimate with its ends, and the weight.

    Raises:
        ValueError: Shapes that differ, too few numbers, one that is not finite, or a level outside (0, 1).

    Source: Angelopoulos and others, Science 382 (2023), arXiv 2301.09633; the weight: Angelopoulos, Duchi and Zrnic,
        PPI++, arXiv 2311.01453, example 6.1; for rankings: Oosterhuis and others, arXiv 2407.02464. The degree of
        freedom: Cochran, Sampling Techniques, 1977, section 12.6, double sampling with regression.
    """
    person, model = _checked("person", person, LEAST + 1), _checked("model", model, LEAST + 1)
    others = _checked("others", others, 0)
    if person.shape != model.shape:
        raise ValueError(f"person has {person.size} differences, model {model.size}, expected one of each question")
    if others.size < 2:
        return mean_interval(person, level)
    weight = tuned_weight(person, model, others)
    if not weight:
        return mean_interval(person, level)
    mean = person.mean() + weight * (others.mean() - model.mean())
    ordinary = ordinary_change(person) or ordinary_change(np.concatenate([model, others]))
    squares = (person - weight * model).var() * person.size + (1 - FOLLOWED * weight) * ordinary
    variance = squares / (person.size - 2) / person.size + weight**2 * others.var(ddof=1) / others.size
    half = _quantile(level, person.size - 2) * math.sqrt(variance)
    return MeanInterval(float(mean), float(mean) - half, float(mean) + half, weight)


def ordinary_change(differences: FloatArray) -> float:
    """Mean square of the differences of questions that both systems rank differently, [n]; 0 without any."""
    changed = differences[differences != 0]
    return float((changed**2).mean()) if changed.size else 0.0


def tuned_weight(person: FloatArray, model: FloatArray, others: FloatArray) -> float:
    """The weight of the model's grades that makes the variance of `powered_interval` least; arguments as there.

    Returns:
        In [0, 1]; 0 where the model's differences are all the same.
    """
    spread = float(np.concatenate([model, others]).var(ddof=1))
    if not spread:
        return 0.0
    shared = float(np.cov(person, model, ddof=0)[0, 1])  # by n as in ppi-python: what few questions share counts less
    return min(max(shared / (spread * (1 + person.size / others.size)), 0.0), 1.0)


def expected_half_width(
    questions: int, deviation: float, modelled: int = 0, correlation: float = 0.0, level: float = 0.95
) -> float:
    """Half the width that the interval is likely to have, before anyone grades; without the guard for rare changes.

    Args:
        questions: How many a person will grade, at least `LEAST` + 1.
        deviation: Standard deviation of the differences from question to question, 0 or above.
        modelled: Other questions that a model grades; 0 for the person alone.
        correlation: Of the differences by the person's and by the model's grades, 0 to 1.
        level: As for `mean_interval`.

    Returns:
        In the unit of the deviation.

    Raises:
        ValueError: A number outside its range.

    Source: the variance at the best weight, `deviation² / n * (1 - correlation² * N / (n + N))`; arXiv 2311.01453,
        section 6.
    """
    if questions <= LEAST or deviation < 0 or modelled < 0 or not 0 <= correlation <= 1:
        raise ValueError(
            f"questions {questions}, deviation {deviation}, modelled {modelled}, correlation {correlation}: expected "
            f"more than {LEAST} questions, nothing below 0 and a correlation of at most 1"
        )
    explained = correlation**2 * modelled / (questions + modelled)
    freedom = questions - (2 if explained else 1)
    return _quantile(level, freedom) * deviation * math.sqrt((1 - explained) / questions)


def questions_to_decide(found: MeanInterval, questions: int, worth: float) -> int:
    """How many more questions a person has to grade until the interval tells a gain from none.

    Decided is what excludes 0 or a gain of `worth`. If the estimate stays where it is, the interval has to be narrower
    than its distance to the farther one of both; its width falls with the square root of the questions.

    Args:
        found: The present interval.
        questions: From how many questions of a person it comes, at least 1.
        worth: The gain that is worth a change, above 0.

    Returns:
        0 where it is decided, otherwise at least 1.
    """
    half = (found.upper - found.lower) / 2
    if found.lower > 0 or found.upper < worth:
        return 0
    wanted = max(abs(found.mean), abs(worth - found.mean))
    return max(1, math.ceil(questions * ((half / wanted) ** 2 - 1)))


@cache
def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a number between 0 and 1")
    return float(t.ppf((1 + level) / 2, freedom))


def _checked(name: str, values: FloatArray, least: int) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size < least or not np.isfinite(found).all():
        raise ValueError(f"{name}: expected at least {least} finite numbers, got {found.size}")
    return found
