"""How far two engines agree on the same pairs."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import kendalltau

LARGEST = 1e-3
"""Largest difference of logits, after a constant, with which an export counts as the same model."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of an export with the model it was made from.

    Attributes:
        engine: What the export was loaded with.
        pairs: How many were scored.
        largest: Largest difference of the logits, `offset` taken off.
        mean: Mean of the same.
        offset: A constant that the other engine leaves out; it moves bounded scores and no ranking.
        tau: Kendall's tau-b of the two rankings of all pairs.
        ties: Share of equal scores in the export beyond those of the model.
    """

    engine: str
    pairs: int
    largest: float
    mean: float
    offset: float
    tau: float
    ties: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def parity(ours: np.ndarray, theirs: np.ndarray, engine: str) -> Parity:
    """Compare logits of the same pairs: float32 [pairs] each."""
    wide, other = ours.astype(np.float64), theirs.astype(np.float64)
    offset = float(np.median(other - wide))
    if abs(offset) < 1e-4:
        offset = 0.0
    apart = np.abs(other - wide - offset)
    ties = (len(np.unique(ours)) - len(np.unique(theirs))) / len(ours)
    tau = float(kendalltau(ours, theirs).statistic)
    return Parity(engine, len(ours), float(apart.max()), float(apart.mean()), offset, tau, max(0.0, ties))
