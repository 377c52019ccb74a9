"""Where the published score of a reranker is one half."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

FloatsLike = np.ndarray | Sequence[float]


def balanced_level(relevant: FloatsLike, others: FloatsLike) -> float:
    """The logit that lies between relevant documents and others, both sides weighing the same.

    The intercept of a logistic regression with slope 1 on samples of which each side has weight one half in all: with
    `level` taken off every logit, the mean probability of the relevant ones to be relevant equals that of the others
    not to be. The order of documents does not change.

    Args:
        relevant: Logits of relevant documents, [n], at least one.
        others: Logits of documents that are not, [m], at least one.

    Returns:
        A logit between the lowest and the highest of all.

    Raises:
        ValueError: A side without logits.
    """
    relevant, others = np.asarray(relevant, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if not relevant.size or not others.size:
        raise ValueError(f"{relevant.size} relevant logits and {others.size} others, expected at least one of each")

    def surplus(level: float) -> float:
        return float(expit(relevant - level).mean() + expit(others - level).mean() - 1.0)

    every = np.concatenate([relevant, others])
    low, high = float(every.min()), float(every.max())
    return low if low == high else float(brentq(surplus, low, high))
