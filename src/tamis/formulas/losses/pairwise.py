"""Losses that compare the documents of a query two by two."""

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

MARGIN_PER_GAP = 0.8
"""Share of the teacher's gap that the student's gap must reach."""


def gap_hinge(logits: Tensor, labels: Tensor, list_index: Tensor, double_hard_margins: bool = False) -> Tensor:
    """Hinge on the score gap of every ordered pair of documents: the wider the teacher's gap, the wider the margin.

    With s = tanh(logit / 2), over all pairs (i, j) of documents of one query with label_i - label_j > 1e-6:
    mean of max(0, 0.8 * (label_i - label_j) - (s_i - s_j)). The mean is over the pairs of the whole batch, so a query
    with more documents weighs more.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels, [n], meant to lie in [-1, 1] as the bounded scores do.
        list_index: Number of the query that each pair belongs to, [n], integers.
        double_hard_margins: Double the margin where document j is among the best ceil(30 %) of its list by the
            student's own score; documents that share a score share the better place.

    Returns:
        Scalar float32, at least 0. Where no pair differs in label (or n = 0) it is 0 with a gradient of zeros.

    Raises:
        ValueError: The three inputs are not vectors of one length.

    Source: the loss of Querit-Reranker (arXiv 2606.19037).
    """
    check_vectors(logits, labels, list_index)
    logits, labels = logits.float(), labels.float()
    first, second = pairs_of_same_list(list_index)
    gap = labels[first] - labels[second]
    margin = MARGIN_PER_GAP * gap
    if double_hard_margins:
        # By the logit, not the bounded score: far from 0 that one is the same for many logits.
        margin = torch.where(_in_best_share(logits.detach(), first, second)[second], 2 * margin, margin)
    preferred = gap > SMALLEST_GAP
    first, second, margin = first[preferred], second[preferred], margin[preferred]
    scores = torch.tanh(logits / 2)
    hinge = torch.relu(margin - (scores[first] - scores[second]))
    return hinge.sum() / max(hinge.numel(), 1)


def margin_mse(logits: Tensor, labels: Tensor, list_index: Tensor) -> Tensor:
    """Squared difference between the student's and the teacher's margins, over all pairs of documents of each query.

    Per list: half the mean over all ordered pairs (i, j), i = j included, of
    ((logit_i - logit_j) - (label_i - label_j)) ** 2, which is the variance of logit - label over the list and is
    computed as such; then the mean over lists, so every query weighs the same. Only margins count: adding a number to
    all labels of a list changes nothing.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels on the scale that the logits are to take, [n], for instance z-scores of the teacher.
        list_index: Number of the query that each pair belongs to, [n], integers.

    Returns:
        Scalar float32, at least 0; 0 with a gradient of zeros for n = 0.

    Raises:
        ValueError: The three inputs are not vectors of one length.

    Source: Hofstätter et al. 2020 (arXiv 2010.02666) for pairs; here all pairs of a list at once.
    """
    check_vectors(logits, labels, list_index)
    list_of, lists = number_groups(list_index)
    error = logits.float() - labels.float()
    mean = group_means(error, list_of, lists)
    return mean_over_lists((error - mean[list_of]) ** 2, list_of, lists)


def ranknet(logits: Tensor, labels: Tensor, list_index: Tensor) -> Tensor:
    """Logistic loss on the score gap of every pair of documents that the teacher tells apart.

    Per list: mean of log(1 + exp(-(logit_i - logit_j))) over all pairs (i, j) of documents with label_i - label_j >
    1e-6; then the mean over lists, so every query weighs the same. Only the teacher's order counts, not its gaps, and
    no gap of the student is ever wide enough.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels, [n], any real number.
        list_index: Number of the query that each pair belongs to, [n], integers.

    Returns:
        Scalar float32, at least 0. Where no pair differs in label (or n = 0) it is 0 with a gradient of zeros.

    Raises:
        ValueError: The three inputs are not vectors of one length.

    Source: Burges et al., ICML 2005, with a target probability of 1 for every preferred pair.
    """
    check_vectors(logits, labels, list_index)
    logits, labels = logits.float(), labels.float()
    list_of, lists = number_groups(list_index)
    first, second = pairs_of_same_list(list_index)
    preferred = labels[first] - labels[second] > SMALLEST_GAP
    first, second = first[preferred], second[preferred]
    return mean_over_lists(softplus(logits[second] - logits[first]), list_of[first], lists)


def _in_best_share(scores: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Which documents are among the best ceil(30 %) of their list, [n] bool; `first` and `second` are all its pairs."""
    size = torch.bincount(first, minlength=len(scores))
    return better_in_list(scores, first, second) < (3 * size + 9) // 10  # in integers, for 0.3 is not a binary number
