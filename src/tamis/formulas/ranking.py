"""Scores to ranks: fusing several score lists, breaking ties fairly, and how far two rankings agree.

Nothing here depends on the order in which documents come in. A score that many documents share must not rank them by
their place in a file: that is how a reranker that saturates looks better than it is.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from tamis.formulas.arrays import FloatArray, IndexArray


def z_scores(x: FloatArray) -> FloatArray:
    """Scores in standard deviations from their mean, [n] to [n]; zeros where all are the same.

    Population standard deviation. The sums are exact (fsum), so reordering the input only reorders the output.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.size == 0 or x.min() == x.max():
        return np.zeros_like(x)
    centred = x - math.fsum(x) / x.size
    deviation = math.sqrt(math.fsum(centred**2) / x.size)
    # Differences too small to square: no spread to measure by.
    return centred / deviation if deviation > 0 else np.zeros_like(x)


def mean_ranks(x: FloatArray) -> FloatArray:
    """Ranks from 1 (lowest) to n (highest), [n] to [n]; equal values share the mean of the ranks they take up."""
    _, position, shared_by = np.unique(np.asarray(x, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(shared_by)
    ranks: FloatArray = (last - (shared_by - 1) / 2)[position]
    return ranks


def rank_correlation(x: FloatArray, y: FloatArray) -> float:
    """Spearman's correlation of two scorings of the same documents: Pearson's of their mean ranks.

    Args:
        x: [n], any scale.
        y: [n], likewise.

    Returns:
        In [-1, 1]: 1 for the same order, -1 for the opposite one, near 0 in the mean where one says nothing of the
        other; 0 where all of either are the same.

    Raises:
        ValueError: Different lengths.
    """
    if np.shape(x) != np.shape(y):
        raise ValueError(f"{np.size(x)} scores and {np.size(y)} others, expected as many of each")
    ranks = z_scores(mean_ranks(x)), z_scores(mean_ranks(y))
    return float(np.clip(np.mean(ranks[0] * ranks[1]), -1.0, 1.0)) if np.size(x) else 0.0


def kendall_tau(x: FloatArray, y: FloatArray) -> float:
    """Kendall's tau-b of two scorings of the same documents, by all pairs: for hundreds of documents, not thousands.

    Args:
        x: [n], any scale.
        y: [n], likewise.

    Returns:
        In [-1, 1]; not a number where all of either are the same.

    Source: Kendall 1945, The treatment of ties in ranking problems.
    """
    one, other = (np.sign(np.subtract.outer(scores, scores)) for scores in (np.asarray(x), np.asarray(y)))
    untied = math.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / untied) if untied else math.nan


def logistic(logit: float) -> float:
    """1 / (1 + exp(-logit)), in [0, 1], of full relative precision however small it is."""
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)


def reciprocal_rank_fusion(score_lists: Sequence[FloatArray], k: int = 60, documents: int | None = None) -> FloatArray:
    """Sum of 1 / (k + rank) over several scorings of the same documents; rank 1 is the highest score.

    Args:
        score_lists: At least one scoring, each [n], same documents in the same order; -inf for documents that a list
            does not hold, since only its head is known.
        k: Softens the lead of the first ranks, above 0.
        documents: How many documents there are, those included that no list holds; n where it is not given.

    Returns:
        [n], higher is better. Documents that share a score within a list share its mean rank. Those that a list does
        not hold share the mean of the ranks it leaves, which is what a score that all of them share would give.

    Raises:
        ValueError: No list, or lists of different length.

    Source: Cormack, Clarke and Büttcher, SIGIR 2009.
    """
    ranks = np.stack([mean_ranks(-np.asarray(scores, dtype=np.float64)) for scores in score_lists])
    held = np.isfinite(np.stack(score_lists))
    left = (held.sum(axis=1, keepdims=True) + 1 + (documents or ranks.shape[1])) / 2
    fused: FloatArray = (1 / (k + np.where(held, ranks, left))).sum(axis=0)
    return fused


def fuse(parts: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Weighted sum of the z-scores of several scorings of the same documents.

    Args:
        parts: At least one scoring, each [n], same documents in the same order, any scale.
        weights: One for each part.

    Returns:
        [n], higher is better; a constant part adds nothing.

    Raises:
        ValueError: No part, parts of different length, or not one weight a part.
    """
    weighted = [weight * z_scores(part) for part, weight in zip(parts, weights, strict=True)]
    fused: FloatArray = np.stack(weighted).sum(axis=0)
    return fused


def tie_key(query_id: str, doc_id: str) -> int:
    """Number in [0, 2**63) by which ties are broken: as good as random, but the same on every machine and run.

    The query is part of it, so that no document wins its ties in all queries.
    """
    # The length keeps ("a", "bc") apart from ("ab", "c").
    text = f"{len(query_id)}:{query_id}{doc_id}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rank_order(scores: FloatArray, keys: IndexArray | Sequence[int]) -> IndexArray:
    """Indices of the documents, best first.

    Args:
        scores: [n], higher is better.
        keys: `tie_key` of each document, [n]; among equal scores the lower key comes first.

    Returns:
        A permutation of 0 to n - 1.

    Raises:
        ValueError: Not one key a score.
    """
    return np.lexsort((np.asarray(keys, dtype=np.int64), -np.asarray(scores, dtype=np.float64)))


def tied_at_top(scores: FloatArray) -> bool:
    """Whether the best score is shared by at least two documents, so that chance names the winner. scores: [n]."""
    scores = np.asarray(scores, dtype=np.float64)
    return scores.size > 1 and int((scores == scores.max()).sum()) > 1


def agreement(scores: FloatArray, grades: FloatArray, k: int = 10) -> float:
    """How far a ranking agrees with a teacher's grades: nDCG@k with real-valued gains.

    Gains are the grades of this list mapped linearly to [0, 1], its lowest grade to 0. So the measure counts the order
    and the size of the teacher's gaps, not its scale; how high a random order comes out depends on how the grades are
    spread, so compare rankings of the same lists, not teachers. Documents with equal scores get the mean gain of their
    group, which is the expected value over all orders of the ties.

    Args:
        scores: Scores to judge, [n] with n at least 1; only their order matters.
        grades: Teacher scores of the same documents, [n], any finite numbers.
        k: Ranks below it do not count.

    Returns:
        In [0, 1]; 1 where the first k are in the teacher's order, and where the grades are constant: no order is wrong.

    Raises:
        ValueError: Empty or different lengths.

    Source: Järvelin and Kekäläinen 2002; ties as McSherry and Najork 2008.
    """
    scores, grades = np.asarray(scores, dtype=np.float64), np.asarray(grades, dtype=np.float64)
    if scores.size == 0 or scores.shape != grades.shape:
        raise ValueError(f"{scores.size} scores and {grades.size} grades, expected as many of each and at least one")
    span = grades.max() - grades.min()
    if span == 0:
        return 1.0
    gains = (grades - grades.min()) / span
    positions = np.arange(scores.size)
    discounts = np.where(positions < k, 1 / np.log2(positions + 2), 0)
    _, group, size = np.unique(-scores, return_inverse=True, return_counts=True)
    mean_gain = np.bincount(group, weights=gains) / size
    expected = np.repeat(mean_gain, size) @ discounts
    ideal = np.sort(gains)[::-1] @ discounts
    return min(1.0, float(expected / ideal))
