"""Losses that compare each score with its own label."""

import torch
from torch import Tensor

from tamis.formulas.losses._batch import check_vectors, mean_over_lists, number_groups


def pointwise_mse(logits: Tensor, labels: Tensor, list_index: Tensor) -> Tensor:
    """Squared difference between each score and its label.

    Per list: mean of (logit - label) ** 2; then the mean over lists, so every query weighs the same. Unlike margin-MSE
    it also asks for the level of the labels, which no ranking needs.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels on the scale that the logits are to take, [n], for instance z-scores of the teacher.
        list_index: Number of the query that each pair belongs to, [n], integers.

    Returns:
        Scalar float32, at least 0; 0 with a gradient of zeros for n = 0.

    Raises:
        ValueError: The three inputs are not vectors of one length.

    Source: regression on the teacher's logits, Ba and Caruana 2014 (arXiv 1312.6184).
    """
    check_vectors(logits, labels, list_index)
    list_of, lists = number_groups(list_index)
    return mean_over_lists((logits.float() - labels.float()) ** 2, list_of, lists)


def pointwise_bce(logits: Tensor, labels: Tensor, list_index: Tensor) -> Tensor:
    """Binary cross-entropy between the probabilities that student and teacher give each document.

    With t = sigmoid(label), per list: mean of -t * log(sigmoid(logit)) - (1 - t) * log(1 - sigmoid(logit)); then the
    mean over lists, so every query weighs the same. The gradient by a logit is sigmoid(logit) - sigmoid(label): never
    beyond 1, so that a document far off pulls less than in `pointwise_mse`, and 0 where logit = label.

    The sigmoid takes labels of any range: z-scores and labels rescaled to [-1, 1] are both logits to learn, on the same
    scale as for the other losses. Labels that are probabilities already must be handed in as their logits.

    Args:
        logits: Student scores before the activation, [n], any real number, any float dtype.
        labels: Soft labels on the scale that the logits are to take, [n], any real number.
        list_index: Number of the query that each pair belongs to, [n], integers.

    Returns:
        Scalar float32, at least the mean entropy of the teacher's probabilities, which it is where logits = labels; 0
        with a gradient of zeros for n = 0.

    Raises:
        ValueError: The three inputs are not vectors of one length.

    Source: cross-entropy with soft targets, Hinton et al. 2015 (arXiv 1503.02531), for two classes.
    """
    check_vectors(logits, labels, list_index)
    list_of, lists = number_groups(list_index)
    target = torch.sigmoid(labels.float())
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return mean_over_lists(entropy, list_of, lists)
