"""What the lower layers made of texts, kept for texts that come again: bounded by bytes, the longest unused goes."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from torch import Tensor

REMEMBERED: Final = 256 * 2**20
"""Bytes of states: 700 documents of 250 tokens for a body of 384 in float32, twice as many in bfloat16."""

TokenIds = tuple[int, ...]


class CachedStates:
    """States [tokens, hidden] by token ids; those that were asked for last stay.

    Attributes:
        most_bytes: Bound of all states together.
        size: Bytes that they take now.
    """

    def __init__(self, most_bytes: int = REMEMBERED) -> None:
        self.most_bytes = most_bytes
        self.size = 0
        self._states: OrderedDict[TokenIds, Tensor] = OrderedDict()

    def known(self, texts: Iterable[TokenIds]) -> dict[TokenIds, Tensor]:
        """States of those texts that are kept, each [tokens, hidden]; they count as used now."""
        found = {}
        for ids in texts:
            if (states := self._states.get(ids)) is not None:
                self._states.move_to_end(ids)
                found[ids] = states
        return found

    def keep(self, states: Mapping[TokenIds, Tensor]) -> None:
        """Keep states, [tokens, hidden], of texts that are new; what does not fit goes, the longest unused first."""
        for ids, one in states.items():
            self._states[ids] = one
            self.size += one.nbytes
        while self.size > self.most_bytes:
            _, gone = self._states.popitem(last=False)
            self.size -= gone.nbytes
