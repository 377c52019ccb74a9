"""Losses that look at all documents of a query at once: as a distribution, or as a ranking."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tamis.formulas.losses._batch import (
    SMALLEST_GAP,
    better_in_list,
    check_vectors,
    group_means,
    mean_over_lists,
    number_groups,
    pairs_of_same_list,
)

BOUND_SHARE = 10.0
"""mu of NDCG-Loss2++: how much the tight bound of nDCG weighs beside LambdaRank's own weight."""


def listwise_cross_entropy(logits: Tensor, labels: Tensor, list_index: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the teacher's and the student's distribution over the documents of each query.

    Per list: -sum(softmax(labels / temperature) * log_softmax(logits)); then the mean over lists, so every query weighs
    the same. A list of one document adds 0.

    The Kullback-Leibler divergence is this less the entropy of the teacher's distributions, a constant: its gradient is
    the same, so there is no loss of that name.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels, [n], any real number.
        list_index: Number of the query that each pair belongs to, [n], integers.
        temperature: Above 0; the smaller, the more the best document takes all of the target.

    Returns:
        Scalar float32, at least 0; 0 with a gradient of zeros for n = 0.

    Raises:
        ValueError: The inputs are not vectors of one length, or the temperature is not above 0.

    Source: ListNet, Cao et al. 2007, top-one probability, with a temperature on the target.
    """
    check_vectors(logits, labels, list_index)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    list_of, lists = number_groups(list_index)
    target = _log_softmax_by_list(labels.float() / temperature, list_of, lists).exp()
    predicted = _log_softmax_by_list(logits.float(), list_of, lists)
    return -(target * predicted).sum() / max(lists, 1)


def lambda_loss(logits: Tensor, labels: Tensor, list_index: Tensor) -> Tensor:
    """RankNet in which a pair weighs as much as its order moves nDCG in the student's current ranking: NDCG-Loss2++.

    Per list, mean over all pairs (i, j) of documents with label_i - label_j > 1e-6 of

        (G_i - G_j) * (10 * (1 / D(d) - 1 / D(d + 1)) + abs(1 / D(r_i) - 1 / D(r_j))) * log(1 + exp(logit_j - logit_i))

    then the mean over lists. r is the rank of a document by its logit, from 1; d = abs(r_i - r_j); D(r) = log2(1 + r).
    The weights are constants to the gradient.

    The gain G is the label mapped linearly so that its list spans [0, 1], divided by the DCG of the teacher's order:
    free of the labels' scale, and what `ranking.agreement` counts, by which checkpoints are chosen. (The paper's
    2 ** label - 1 is made for grades.) The paper sums over the pairs and takes the logarithm to base 2; the mean keeps
    long lists from weighing more, as in `ranknet`.

    Documents with equal logits have no order: each pair gets the mean of its weights over all orders of the ties, so
    that a student that scores all alike still learns, and learns the same in any order of the batch.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels, [n], any real number.
        list_index: Number of the query that each pair belongs to, [n], integers.

    Returns:
        Scalar float32, at least 0. Where no pair differs in label (or n = 0) it is 0 with a gradient of zeros.

    Raises:
        ValueError: The three inputs are not vectors of one length.

    Source: Wang et al., CIKM 2018, mu = 10 as in allRank and sentence-transformers; ties as McSherry and Najork 2008.
    """
    check_vectors(logits, labels, list_index)
    logits, labels = logits.float(), labels.float()
    list_of, lists = number_groups(list_index)
    first, second = pairs_of_same_list(list_index)
    first, second = first[first != second], second[first != second]
    gain = _gains(labels, list_of, lists, first, second)
    weight = (gain[first] - gain[second]) * _rank_weights(logits.detach(), list_of, first, second)
    preferred = labels[first] - labels[second] > SMALLEST_GAP
    first, second, weight = first[preferred], second[preferred], weight[preferred]
    return mean_over_lists(weight * softplus(logits[second] - logits[first]), list_of[first], lists)


def _gains(labels: Tensor, list_of: Tensor, lists: int, first: Tensor, second: Tensor) -> Tensor:
    """Labels stretched over [0, 1] in each list and divided by the DCG of their own order, [n]."""
    edge = labels.new_zeros(lists)
    lowest = edge.scatter_reduce(0, list_of, labels, reduce="amin", include_self=False)
    highest = edge.scatter_reduce(0, list_of, labels, reduce="amax", include_self=False)
    # A list of smaller span has no preferred pair, so that its gains do not matter.
    gain = (labels - lowest[list_of]) / (highest - lowest).clamp(min=SMALLEST_GAP)[list_of]
    best = edge.index_add(0, list_of, gain / _discount(_ranks(labels, first, second)))
    return gain / best.clamp(min=1)[list_of]  # the best document alone brings 1


def _rank_weights(scores: Tensor, list_of: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """What the ranks of its two documents make of each pair; `first` and `second` are all pairs but (i, i)."""
    rank = _ranks(scores, first, second)
    distance = (rank[first] - rank[second]).abs()
    bound = 1 / _discount(distance) - 1 / _discount(distance + 1)
    weight = BOUND_SHARE * bound + (1 / _discount(rank[first]) - 1 / _discount(rank[second])).abs()
    # The mean over all orders of the ties is that over the pairs between the same two groups of equal scores. Such a
    # group is known by its list and by how many documents are better.
    better, n = better_in_list(scores, first, second), len(scores)
    ties_of, ties = number_groups((list_of[first] * n + better[first]) * n + better[second])
    return group_means(weight, ties_of, ties)[ties_of]


def _ranks(scores: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Ranks from 1 (highest) within each list, [n]; equal scores in the order of the batch, which is arbitrary."""
    earlier = (scores[second] == scores[first]) & (second < first)
    return 1 + better_in_list(scores, first, second) + torch.bincount(first[earlier], minlength=len(scores))


def _discount(rank: Tensor) -> Tensor:
    return torch.log2(1 + rank.float())


def _log_softmax_by_list(values: Tensor, list_of: Tensor, lists: int) -> Tensor:
    """log_softmax of each list, [n]; `list_of` holds 0 to lists - 1. The maximum is taken off so that exp is safe."""
    lowest = values.new_full((lists,), -torch.inf)
    highest = lowest.scatter_reduce(0, list_of, values.detach(), reduce="amax")
    shifted = values - highest[list_of]
    total = values.new_zeros(lists).index_add(0, list_of, shifted.exp())
    return shifted - total.log()[list_of]
