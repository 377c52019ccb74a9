"""What waits for a model: the rows of several requests, from which batches are drawn fairly."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any

NEAR = 0.8
"""Rows that share a batch are at least this share of its longest one, unless everything fits into one batch."""


class Waiting:
    """Rows of one request that are not scored yet.

    Attributes:
        rows: What the scorer's `encode` gave, in the order of the request.
        left: How many have no logit yet.
    """

    def __init__(self, rows: Sequence[Any], lengths: Sequence[int]) -> None:
        self.rows = rows
        self.left = len(rows)
        self._places = sorted(range(len(rows)), key=lambda place: (lengths[place], -place))
        self._lengths = [lengths[place] for place in self._places]

    @property
    def longest(self) -> int:
        """Tokens of the longest row that waits; 0 where none does."""
        return self._lengths[-1] if self._lengths else 0

    @property
    def count(self) -> int:
        """How many rows wait; those in a batch do not."""
        return len(self._lengths)

    def take(self, shortest: int, longest: int, most: int) -> list[int]:
        """Places of up to `most` rows of `shortest` to `longest` tokens, the longest first; they wait no more."""
        end = bisect_right(self._lengths, longest)
        start = max(bisect_left(self._lengths, shortest), end - most)
        taken = self._places[start:end][::-1]
        del self._places[start:end], self._lengths[start:end]
        return taken


class FairQueue:
    """Requests take turns. A turn is one batch: the longest rows of the request whose turn it is, and what fits beside.

    So a request of 20 documents beside one of 2,000 is done after about as many batches again as it needs itself.
    Rows of other requests fill a batch up where they are about as long, since padding costs as much as text. Where
    everything that waits fits into one batch, it becomes one.
    """

    def __init__(self, token_budget: int) -> None:
        self.token_budget = token_budget
        self._ring: deque[Waiting] = deque()

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._ring)

    def add(self, waiting: Waiting) -> None:
        """Put a request at the end of the ring."""
        self._ring.append(waiting)

    def remove(self, waiting: Waiting) -> None:
        """Take a request out; nothing happens where it is not in."""
        if waiting in self._ring:
            self._ring.remove(waiting)

    def next_batch(self) -> list[tuple[Waiting, list[int]]]:
        """The rows to score next: of each request that takes part, their places; empty where nothing waits.

        Rows × longest row stays within the token budget; a row that is longer travels alone.
        """
        if not self._ring:
            return []
        longest = max(waiting.longest for waiting in self._ring)
        shortest = 1
        if longest * sum(waiting.count for waiting in self._ring) > self.token_budget:
            longest = self._ring[0].longest
            shortest = max(1, int(longest * NEAR))
        room = max(1, self.token_budget // longest)
        batch = []
        for waiting in self._ring:
            taken = waiting.take(shortest, longest, room)
            room -= len(taken)
            if taken:
                batch.append((waiting, taken))
            if not room:
                break
        self._ring.rotate(-1)
        for waiting, _ in batch:
            if not waiting.count:
                self._ring.remove(waiting)
        return batch
