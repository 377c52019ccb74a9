"""How far two engines agree on the same pairs."""

from dataclasses import asdict, dataclass

import numpy as np

from tamis.formulas.ranking import kendall_tau
from tamis.models.reranker import bounded

LARGEST = 1e-3
"""Largest difference of logits, after a constant, with which an export counts as the same model."""

LARGEST_OF_WARM = 1e-4
"""The same for the graphs of a warm student, whose bodies are small."""

LARGEST_OF_GGUF = {"float16": 0.02, "q8_0": 0.1}
"""The same for files of llama.cpp, as a share of the range of the logits: its gelu is a table of float16."""


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
        activation: What the export says makes a bounded score of a logit: `sigmoid`, `tanh` or `identity`.
        bounded: Largest difference of the bounded scores, each by its own activation, `offset` taken off.
    """

    engine: str
    pairs: int
    largest: float
    mean: float
    offset: float
    tau: float
    ties: float
    activation: str
    bounded: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def parity(ours: np.ndarray, theirs: np.ndarray, engine: str, activations: tuple[str, str]) -> Parity:
    """Compare logits and bounded scores of the same pairs.

    Args:
        ours: float32 [pairs].
        theirs: float32 [pairs].
        engine: What `theirs` comes from.
        activations: What makes bounded scores of ours, and of theirs.
    """
    wide, other = ours.astype(np.float64), theirs.astype(np.float64)
    offset = float(np.median(other - wide))
    if abs(offset) < 1e-4:
        offset = 0.0
    apart = np.abs(other - wide - offset)
    ties = (len(np.unique(ours)) - len(np.unique(theirs))) / len(ours)
    tau = kendall_tau(ours, theirs)
    shown = np.abs(bounded(ours, activations[0]) - bounded((other - offset).astype(np.float32), activations[1]))
    differences = float(apart.max()), float(apart.mean())
    return Parity(engine, len(ours), *differences, offset, tau, max(0.0, ties), activations[1], float(shown.max()))
