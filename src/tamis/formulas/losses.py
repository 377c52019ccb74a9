"""What the student minimises: each loss compares the documents of one query with the teacher's soft labels.

A batch holds the (query, document) pairs of several queries, flat. `list_index` says which pairs belong together; its
values need not be sorted or without gaps. Everything is computed in float32, whatever precision the model runs in.
"""

import torch
from torch import Tensor

MARGIN_PER_GAP = 0.8  # share of the teacher's gap that the student's gap must reach
SMALLEST_GAP = 1e-6  # label differences up to this are ties of the teacher, not preferences


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
    _check_vectors(logits, labels, list_index)
    logits, labels = logits.float(), labels.float()
    first, second = _pairs_of_same_list(list_index)
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
    _check_vectors(logits, labels, list_index)
    values, position = torch.unique(list_index, return_inverse=True)
    lists = len(values)
    error = logits.float() - labels.float()
    size = torch.bincount(position, minlength=lists)
    mean = error.new_zeros(lists).index_add(0, position, error) / size
    squared = error.new_zeros(lists).index_add(0, position, (error - mean[position]) ** 2) / size
    return squared.sum() / max(lists, 1)


def listwise_cross_entropy(logits: Tensor, labels: Tensor, list_index: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the teacher's and the student's distribution over the documents of each query.

    Per list: -sum(softmax(labels / temperature) * log_softmax(logits)); then the mean over lists, so every query weighs
    the same. A list of one document adds 0.

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
    _check_vectors(logits, labels, list_index)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    values, position = torch.unique(list_index, return_inverse=True)
    lists = len(values)
    target = _log_softmax_by_list(labels.float() / temperature, position, lists).exp()
    predicted = _log_softmax_by_list(logits.float(), position, lists)
    return -(target * predicted).sum() / max(lists, 1)


def _check_vectors(logits: Tensor, labels: Tensor, list_index: Tensor) -> None:
    # A column [n, 1] would broadcast against a vector [n] without a word and compare every pair with every other.
    if logits.dim() != 1 or not logits.shape == labels.shape == list_index.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (logits, labels, list_index))
        raise ValueError(f"logits, labels and list_index have shapes {shapes}, expected three vectors of one length")


def _pairs_of_same_list(list_index: Tensor) -> tuple[Tensor, Tensor]:
    """All ordered pairs of positions with the same list, (i, i) included: two vectors of sum(size ** 2) positions.

    Only pairs within a list are laid out, so memory grows with the lists and not with the square of the batch.
    """
    _, list_of, sizes = torch.unique(list_index, return_inverse=True, return_counts=True)
    grouped = torch.argsort(list_of, stable=True)  # positions, list after list
    list_start = sizes.cumsum(0) - sizes
    partners = sizes[list_of]  # [n] how many pairs start at each position
    first = torch.arange(len(list_index), device=list_index.device).repeat_interleave(partners)
    block_start = (partners.cumsum(0) - partners).repeat_interleave(partners)
    offset = torch.arange(len(first), device=list_index.device) - block_start
    second = grouped[list_start[list_of[first]] + offset]
    return first, second


def _in_best_share(scores: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Which documents are among the best ceil(30 %) of their list, [n] bool; `first` and `second` are all its pairs."""
    size = torch.bincount(first, minlength=len(scores))
    higher = torch.bincount(first[scores[second] > scores[first]], minlength=len(scores))
    return higher < (3 * size + 9) // 10  # in integers, for 0.3 is not a binary number


def _log_softmax_by_list(values: Tensor, position: Tensor, lists: int) -> Tensor:
    """log_softmax of each list, [n]; `position` holds 0 to lists - 1. The maximum is taken off so that exp is safe."""
    lowest = values.new_full((lists,), -torch.inf)
    highest = lowest.scatter_reduce(0, position, values.detach(), reduce="amax")
    shifted = values - highest[position]
    total = values.new_zeros(lists).index_add(0, position, shifted.exp())
    return shifted - total.log()[position]
