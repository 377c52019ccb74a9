"""A first stage's evidence beside a reranker's logits: its scores, or the order in which it gave the documents."""

from collections.abc import Sequence

import numpy as np

from tamis.formulas.arrays import FloatArray
from tamis.formulas.ranking import z_scores


def scores_of_order(documents: int) -> FloatArray:
    """Scores that stand for the order of documents where their first stage's own scores are not known.

    Each doubling of the rank costs as much as the one before. Reciprocal ranks, straight lines and normal quantiles
    were tried beside it; none was better on every first stage, and this form has nothing to set (docs/log.md).

    Args:
        documents: How many, best first.

    Returns:
        -ln(rank), [documents], 0 for the first.
    """
    scores: FloatArray = -np.log(np.arange(1, documents + 1, dtype=np.float64))
    return scores


def with_first_stage(logits: FloatArray | Sequence[float], first: FloatArray, weight: float) -> FloatArray:
    """Logits of a query's documents with the first stage's opinion of them added.

    The order is that of the sum of both z-scores, the second times `weight`. The values lie on the scale of the logits:
    their mean stays, and what one standard deviation of the first stage moves is `weight` standard deviations of the
    logits. So a bounded score made of them falls with the rank, and still says how well a document fits.

    Args:
        logits: The reranker's, [documents].
        first: The first stage's scores of the same documents, any scale, [documents].
        weight: 0 or above; 0 gives the logits.

    Returns:
        float64 [documents]. Where all logits are the same, the first stage cannot be measured by their spread, and they
        stay the same.
    """
    found = np.asarray(logits, dtype=np.float64)
    return found + weight * found.std() * z_scores(first) if weight else found
