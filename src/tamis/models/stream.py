"""Any number of pairs in, their logits out in the same order, with flat memory: tokenised beside the running model."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from tamis.models.rows import Pair

WINDOW = 4096
"""Pairs held at once: enough for batches of equal length, few enough to forget."""


class Scorer(Protocol):
    """The one form that every family is brought into.

    Attributes:
        token_budget: Most tokens per forward pass, padding included.
    """

    token_budget: int

    def encode(self, pairs: Sequence[Pair], instruction: str | None = None) -> list[Any]:
        """Tokenise pairs; needs no model."""

    def logits(self, rows: Sequence[Any], most: int | None = None) -> np.ndarray:
        """float32 [rows] of what `encode` gave; `most` rows per forward pass, None for as many as the budget holds."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Logits of pairs, and what was lost on the way.

    Attributes:
        logits: float32 [pairs], in input order.
        cut: Pairs of which something did not fit.
        emptied: Pairs of whose document nothing was left, or nothing was there.
    """

    logits: np.ndarray
    cut: int
    emptied: int


@dataclass(frozen=True, slots=True)
class _Window:
    rows: list[Any]
    places: list[int]


def score_stream(
    scorer: Scorer,
    pairs: Iterable[Pair],
    instruction: str | None = None,
    window: int = WINDOW,
    most: int | None = None,
) -> Iterator[Scored]:
    """Score pairs window by window, while a worker tokenises the next one.

    Within a window each pair is scored once, in the order of its content: batches, and so the last bit of a score, do
    not depend on the order in which pairs come in, and copies of a document share one score.

    Args:
        scorer: What tokenises and scores.
        pairs: (query, document), any iterable; read no more than one window ahead.
        instruction: For models that take one.
        window: Pairs held at once.
        most: Most pairs per forward pass; None for as many as the token budget holds.

    Yields:
        One result per window, in order.
    """
    stream = iter(pairs)

    def encode(part: list[Pair]) -> _Window:
        unique = {pair: place for place, pair in enumerate(sorted(set(part)))}
        return _Window(scorer.encode(list(unique), instruction), [unique[pair] for pair in part])

    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as worker:
        part = list(islice(stream, window))
        coming = worker.submit(encode, part) if part else None
        while coming is not None:
            ready = coming.result()
            part = list(islice(stream, window))
            coming = worker.submit(encode, part) if part else None
            yield _score(scorer, ready, most)


def _score(scorer: Scorer, window: _Window, most: int | None) -> Scored:
    logits = scorer.logits(window.rows, most)[window.places]
    cut = sum(window.rows[place].cut for place in window.places)
    emptied = sum(window.rows[place].emptied for place in window.places)
    return Scored(logits, cut, emptied)
