"""The flat batch that all losses share: its check, its lists, and its pairs of documents."""

import torch
from torch import Tensor

SMALLEST_GAP = 1e-6
"""Label differences up to this are ties of the teacher, not preferences."""


def check_vectors(logits: Tensor, labels: Tensor, list_index: Tensor) -> None:
    """Raise ValueError unless the three are vectors of one length."""
    # A column [n, 1] would broadcast against a vector [n] without a word and compare every pair with every other.
    if logits.dim() != 1 or not logits.shape == labels.shape == list_index.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (logits, labels, list_index))
        raise ValueError(f"logits, labels and list_index have shapes {shapes}, expected three vectors of one length")


def number_groups(index: Tensor) -> tuple[Tensor, int]:
    """Groups of equal index, counted from 0: the group of each position, [n], and how many there are."""
    values, group_of = torch.unique(index, return_inverse=True)
    return group_of, len(values)


def group_means(values: Tensor, group_of: Tensor, groups: int) -> Tensor:
    """Mean of the values of each group, [groups]; 0 for a group without any. `group_of` holds 0 to groups - 1."""
    size = torch.bincount(group_of, minlength=groups).clamp(min=1)
    return values.new_zeros(groups).index_add(0, group_of, values) / size


def mean_over_lists(values: Tensor, list_of: Tensor, lists: int) -> Tensor:
    """Mean over all lists of the mean of their values; a list without any counts as 0, and so does no list at all."""
    return group_means(values, list_of, lists).sum() / max(lists, 1)


def pairs_of_same_list(list_index: Tensor) -> tuple[Tensor, Tensor]:
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


def better_in_list(scores: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """How many documents of its own list each one is outscored by, [n]; `first` and `second` are all their pairs."""
    return torch.bincount(first[scores[second] > scores[first]], minlength=len(scores))
