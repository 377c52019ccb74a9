"""What waits for a model: the rows of several requests, from which batches are drawn fairly and in time."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

NEAR = 0.8
"""Rows that share a batch are at least this share of its longest one, unless everything fits into one batch."""

SMALLER = 4
"""A request goes before one that came earlier and has at least so many times its tokens."""

OLDEST = 4
"""At least one in so many full batches' worth of work is begun by the request that came first, however large it is."""


class Waiting:
    """Rows of one request that are not scored yet.

    Attributes:
        rows: What the scorer's `encode` gave, in the order of the request.
        left: How many have no logit yet.
        tokens: Of all its rows, as it came.
        work: Tokens of those that wait; those in a batch do not.
        due: When it should be done, on the clock that `FairQueue.next_batch` is told.
    """

    def __init__(self, rows: Sequence[Any], lengths: Sequence[int], due: float = math.inf) -> None:
        self.rows = rows
        self.left = len(rows)
        self.tokens = self.work = sum(lengths)
        self.due = due
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
        self.work -= sum(self._lengths[start:end])
        del self._places[start:end], self._lengths[start:end]
        return taken


class FairQueue:
    """Small requests go before large ones, those of like size in the order in which they came, and none waits for ever.

    A batch is begun by the first request: its longest rows, and what fits beside. Rows of others fill it up where they
    are about as long, since padding costs as much as text, and where their request is not several times as large: what
    fills a batch up takes time from the request that began it. The oldest request begins a share of the batches: a
    quarter, or more where that is needed for all to be done when they are due. Where everything that waits fits into
    one batch, it becomes one.
    """

    def __init__(self, token_budget: int) -> None:
        self.token_budget = token_budget
        self._waiting: list[Waiting] = []
        self._owed = 0

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Put a request behind all others."""
        self._waiting.append(waiting)

    def remove(self, waiting: Waiting) -> None:
        """Take a request out; nothing happens where it is not in."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    @property
    def work(self) -> int:
        """Tokens of all rows that wait."""
        return sum(waiting.work for waiting in self._waiting)

    def next_batch(self, now: float = 0.0, rate: float = math.inf) -> list[tuple[Waiting, list[int]]]:
        """The rows to score next: of each request that takes part, their places; empty where nothing waits.

        Rows × longest row stays within the token budget; a row that is longer travels alone.

        Args:
            now: Time on the clock of `Waiting.due`.
            rate: Tokens a second that are scored.
        """
        if not self._waiting:
            return []
        longest = max(waiting.longest for waiting in self._waiting)
        if longest * sum(waiting.count for waiting in self._waiting) <= self.token_budget:
            batch = _fill(self._waiting, 1, longest, self.token_budget // longest)
        else:
            batch = self._begun_by(self._first(self._share(now, rate)))
        self._waiting = [waiting for waiting in self._waiting if waiting.count]
        return batch

    def _share(self, now: float, rate: float) -> float:
        """Of all work, what the oldest requests need, each with all before it, for none of them to be late."""
        share, work = 1 / OLDEST, 0
        for waiting in self._waiting:
            work += waiting.work
            possible = rate * (waiting.due - now)
            share = max(share, work / possible if possible > work else 1.0)
        return share

    def _first(self, share: float) -> Waiting:
        """Whose turn it is."""
        first = self._waiting[0]
        if self._owed >= (1 / share - 1) * self.token_budget:
            return first
        for waiting in self._waiting:
            if SMALLER * waiting.tokens <= first.tokens:
                first = waiting
        return first

    def _begun_by(self, first: Waiting) -> list[tuple[Waiting, list[int]]]:
        longest = first.longest
        others = [one for one in self._waiting if one is not first and one.tokens < SMALLER * first.tokens]
        room = max(1, self.token_budget // longest)
        batch = _fill([first, *others], max(1, int(longest * NEAR)), longest, room)
        cost = longest * sum(len(places) for _, places in batch)
        self._owed = 0 if first is self._waiting[0] else self._owed + cost
        return batch


def _fill(requests: Sequence[Waiting], shortest: int, longest: int, room: int) -> list[tuple[Waiting, list[int]]]:
    """Up to `room` rows of `shortest` to `longest` tokens, of one request after the other."""
    batch = []
    for waiting in requests:
        taken = waiting.take(shortest, longest, room)
        room -= len(taken)
        if taken:
            batch.append((waiting, taken))
        if not room:
            break
    return batch
