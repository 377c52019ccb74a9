"""What waits for a model: the rows of several requests, from which batches are drawn fairly and in time."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

SMALLER = 4
"""A request goes before one that came earlier and has at least so many times its tokens."""

OLDEST = 4
"""At least one in so many full batches' worth of work is begun by the request that came first, however large it is."""


class Waiting:
    """Rows of one request that are not scored yet.

    Attributes:
        rows: What the scorer's `encode` gave, in the order of the request.
        left: How many have no logit yet.
        tokens: Number of tokens of all its rows, as it came.
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

    def take(self, room: int) -> list[int]:
        """Places of rows of up to `room` tokens together, each the longest that fits; they wait no more."""
        taken = []
        while (place := bisect_right(self._lengths, room) - 1) >= 0:
            length = self._lengths.pop(place)
            taken.append(self._places.pop(place))
            self.work -= length
            room -= length
        return taken


class FairQueue:
    """Small requests go before large ones, those of like size in the order in which they came, and none waits for ever.

    A batch is begun by the first request: its longest rows, and what fits beside. Rows of others fill it up where their
    request is not several times as large: what fills a batch up takes time from the request that began it. The oldest
    request begins a share of the batches: a quarter, or more where that is needed for all to be done when they are due.
    Where everything that waits fits into one batch, it becomes one.
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

        Their tokens stay within the budget; a row that is longer travels alone. How they are laid out, so that little
        is spent on padding, is the scorer's affair.

        Args:
            now: Time on the clock of `Waiting.due`.
            rate: Tokens a second that are scored.
        """
        if not self._waiting:
            return []
        if self.work <= self.token_budget:
            batch = self._fill(self._waiting)
        else:
            batch = self._begun_by(self._first(self._share(now, rate)))
        self._waiting = [waiting for waiting in self._waiting if waiting.count]
        return batch

    def _share(self, now: float, rate: float) -> float:
        """Share of all work that the oldest requests need, each with all before it, so that none of them is late."""
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
        others = [one for one in self._waiting if one is not first and one.tokens < SMALLER * first.tokens]
        before = self.work
        batch = self._fill([first, *others])
        self._owed = 0 if first is self._waiting[0] else self._owed + before - self.work
        return batch

    def _fill(self, requests: Sequence[Waiting]) -> list[tuple[Waiting, list[int]]]:
        """A batch of rows of one request after the other."""
        room = max(self.token_budget, requests[0].longest)
        batch = []
        for waiting in requests:
            before = waiting.work
            if taken := waiting.take(room):
                batch.append((waiting, taken))
            room -= before - waiting.work
        return batch
