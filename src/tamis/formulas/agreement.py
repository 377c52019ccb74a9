"""How far people, or a person and a model, give the same grades, beyond what chance would bring."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

Level = Literal["nominal", "ordinal", "interval"]
"""What grades mean: names; an order; or an order with equal steps."""


def krippendorff_alpha(ratings: FloatArray, level: Level = "ordinal") -> float:
    """Krippendorff's alpha: 1 less observed over expected disagreement, for any number of raters and any gaps.

    Args:
        ratings: [raters, units], not a number where a rater says nothing of a unit.
        level: What the grades mean.

    Returns:
        At most 1 (all agree); 0 where chance alone would do as well, below 0 where they disagree more than that. Not a
        number where no unit has two grades, or all grades are the same.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, sections C and D.
    """
    grades = np.unique(ratings[~np.isnan(ratings)])
    coincidences = np.zeros((grades.size, grades.size))
    for unit in ratings.T:
        given = np.searchsorted(grades, unit[~np.isnan(unit)])
        if given.size > 1:
            counts = np.bincount(given, minlength=grades.size).astype(np.float64)
            coincidences += (np.outer(counts, counts) - np.diag(counts)) / (given.size - 1)
    totals = coincidences.sum(axis=0)
    distance = _distances(grades, totals, level)
    expected = float((np.outer(totals, totals) * distance).sum())
    if expected == 0.0:
        return float("nan")
    return float(1.0 - (totals.sum() - 1.0) * (coincidences * distance).sum() / expected)


def cohen_kappa(a: NDArray[np.int64], b: NDArray[np.int64], weighted: bool = False) -> float:
    """Cohen's kappa of two raters: the share of units they agree on, beyond chance, over the most there could be.

    Args:
        a: Grades of one rater, [units] with at least one.
        b: Those of the other, same shape.
        weighted: Whether a disagreement counts by the square of its distance; otherwise each counts the same.

    Returns:
        At most 1; 0 where chance alone would do as well. Not a number where both always give the same single grade.

    Raises:
        ValueError: Different lengths, or none.

    Source: Cohen 1960; weighted, Cohen 1968 with quadratic weights.
    """
    if a.shape != b.shape or not a.size:
        raise ValueError(f"{a.size} grades and {b.size} others, expected as many of each, at least one")
    grades = np.unique(np.concatenate([a, b]))
    table = np.zeros((grades.size, grades.size))
    np.add.at(table, (np.searchsorted(grades, a), np.searchsorted(grades, b)), 1.0 / a.size)
    apart = np.subtract.outer(grades, grades).astype(np.float64)
    distance = apart**2 if weighted else (apart != 0).astype(np.float64)
    expected = float((np.outer(table.sum(axis=1), table.sum(axis=0)) * distance).sum())
    return float(1.0 - (table * distance).sum() / expected) if expected else float("nan")


def _distances(grades: FloatArray, totals: FloatArray, level: Level) -> FloatArray:
    """Squared distance of each pair of grades, [grades, grades]; of ordinal ones by how many grades lie between."""
    if level == "nominal":
        different: FloatArray = (np.subtract.outer(grades, grades) != 0).astype(np.float64)
        return different
    place = grades if level == "interval" else np.cumsum(totals) - totals / 2
    squared: FloatArray = np.subtract.outer(place, place) ** 2
    return squared
