"""Rows of tokens one after the other, without padding: for processors, where work on padding costs as much as on text.

All of a layer but its attention treats each token by itself, and is 85 % of the work on rows of some 250 tokens. So the
states of a batch lie in one long row, and only attention takes them apart: into groups of rows that are about as long,
each with its padding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

SHARE: Final = 0.03
"""Share of padding from which packing pays: taking the rows apart in each layer costs about as much."""

NEAR: Final = 0.9
"""Rows that attention reads as one group are at least this share of its longest one."""

Bias = Callable[[slice, int], Tensor | None]
"""Additive attention bias of some rows padded to a length, broadcastable to [rows, heads, tokens, tokens]."""


def pays(lengths: Sequence[int]) -> bool:
    """Whether a batch of rows should be packed, where it can be: without gradients, and where padding would be felt."""
    return not torch.is_grad_enabled() and sum(lengths) < (1 - SHARE) * len(lengths) * max(lengths)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Neighbouring rows of a packed batch that attention reads at once.

    Attributes:
        rows: Which ones.
        tokens: Where they stand in the long row.
        longest: Tokens of the longest one.
        places: Which token of the group's stands at each place of the padded rows, int64 [rows × longest]; past the end
            of a row its last one. None where all rows are as long.
        real: Which of these places are no padding, int64 [tokens]; None where all are.
        bias: See `Bias`.
    """

    rows: slice
    tokens: slice
    longest: int
    places: Tensor | None
    real: Tensor | None
    bias: Tensor | None

    def pad(self, packed: Tensor) -> Tensor:
        """[all tokens, ...] to [rows, longest, ...] of this group."""
        own = packed[self.tokens]  # [tokens, ...]
        if self.places is not None:
            own = own.index_select(0, self.places)  # [rows × longest, ...]
        return own.reshape(-1, self.longest, *own.shape[1:])

    def unpad(self, rows: Tensor) -> Tensor:
        """[rows, longest, ...] to [tokens of this group, ...]."""
        flat = rows.flatten(0, 1)  # [rows × longest, ...]
        return flat if self.real is None else flat.index_select(0, self.real)


class Packing:
    """How the rows of a batch stand in one long row; takes the place of the attention bias.

    Attributes:
        starts: Where each row begins, int64 [rows].
        groups: Groups of rows, in order.
    """

    def __init__(self, lengths: Sequence[int], bias: Bias) -> None:
        """Lay out rows.

        Args:
            lengths: Tokens of each row, at least 1; neighbours of like length are read together, so sorted ones best.
            bias: Attention bias of the rows of a group.
        """
        of_rows = torch.tensor(lengths)
        self.starts = of_rows.cumsum(0) - of_rows  # [rows]
        self.groups: list[RowGroup] = []
        first = start = 0
        for end in group_ends(lengths):
            own = lengths[first:end]
            rows, tokens = slice(first, end), slice(start, start + sum(own))
            places, real = _places(own)
            self.groups.append(RowGroup(rows, tokens, max(own), places, real, bias(rows, max(own))))
            first, start = end, tokens.stop


def group_ends(lengths: Sequence[int]) -> list[int]:
    """Where groups of neighbouring rows end: within each the shortest is at least `NEAR` of the longest."""
    ends: list[int] = []
    shortest = longest = lengths[0]
    for place, length in enumerate(lengths[1:], 1):
        shortest, longest = min(shortest, length), max(longest, length)
        if shortest < NEAR * longest:
            ends.append(place)
            shortest = longest = length
    return [*ends, len(lengths)]


def _places(lengths: Sequence[int]) -> tuple[Tensor | None, Tensor | None]:
    """`Group.places` and `Group.real` of rows."""
    longest = max(lengths)
    if min(lengths) == longest:
        return None, None
    own = torch.tensor(lengths)[:, None]  # [rows, 1]
    start = own.cumsum(0) - own
    place = torch.arange(longest)  # [longest]
    real = (place < own).flatten().nonzero()[:, 0]  # [tokens]
    return (start + place.minimum(own - 1)).flatten(), real  # [rows × longest], [tokens]
