"""Any number of pairs in, their logits out in the same order, with flat memory: tokenised beside the running model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol

import numpy as np

from tamis.models.rows import Pair
from tamis.models.serializer import DocumentText

WINDOW = 4096
"""Pairs held at once: enough for batches of equal length, few enough to forget."""

WINDOW_OF_LONG = 256
"""As `WINDOW`, where each document may be many pairs."""

Reading = Callable[[str, DocumentText], Sequence[Pair]]
"""The pairs of plain texts that are scored of a query and a document, at least one; the best of them counts."""


class Scorer(Protocol):
    """The one form that every family is brought into.

    Attributes:
        token_budget: Most tokens per forward pass, padding included.
    """

    token_budget: int

    def encode(self, pairs: Sequence[Pair], instruction: str | None = None, longest: int | None = None) -> list[Any]:
        """Tokenise pairs; needs no model.

        Args:
            pairs: (query, document).
            instruction: For models that take one.
            longest: Most tokens of a pair, special ones included, of what the model reads; None for all of that.

        Raises:
            InputError: an instruction that the model has no place for, or so few tokens that nothing would be left.
        """

    def logits(self, rows: Sequence[Any], most: int | None = None) -> np.ndarray:
        """float32 [rows] of what `encode` gave; `most` rows per forward pass, None for as many as the budget holds."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Logits of pairs, and what was lost on the way.

    Attributes:
        logits: float32 [pairs], in input order; of a document that was read in windows, that of its best one.
        cut: Pairs of which something did not fit.
        emptied: Pairs of whose document nothing was left, or nothing was there.
    """

    logits: np.ndarray
    cut: int
    emptied: int


def as_it_is(query: str, document: DocumentText) -> list[Pair]:
    """The pair itself, where documents are plain texts."""
    assert isinstance(document, str), "titles are put into texts before"
    return [(query, document)]


@dataclass(frozen=True, slots=True)
class _Window:
    """Rows of different pairs, and the places among them of each document's: of its windows, or of itself."""

    rows: list[Any]
    places: list[list[int]]


def score_stream(
    scorer: Scorer,
    pairs: Iterable[tuple[str, DocumentText]],
    instruction: str | None = None,
    window: int = WINDOW,
    most: int | None = None,
    read: Reading = as_it_is,
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
        read: The pairs that are scored of each; called by the worker.

    Yields:
        One result per window, in order.
    """
    stream = iter(pairs)

    def encode(part: list[tuple[str, DocumentText]]) -> _Window:
        texts = [read(*pair) for pair in part]
        unique = {pair: place for place, pair in enumerate(sorted(set(chain.from_iterable(texts))))}
        return _Window(scorer.encode(list(unique), instruction), [[unique[pair] for pair in some] for some in texts])

    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as worker:
        part = list(islice(stream, window))
        coming = worker.submit(encode, part) if part else None
        while coming is not None:
            ready = coming.result()
            part = list(islice(stream, window))
            coming = worker.submit(encode, part) if part else None
            yield _score(scorer, ready, most)


def _score(scorer: Scorer, window: _Window, most: int | None) -> Scored:
    logits = best_of_each(scorer.logits(window.rows, most), window.places)
    cut = sum(any(window.rows[place].cut for place in places) for places in window.places)
    emptied = sum(all(window.rows[place].emptied for place in places) for places in window.places)
    return Scored(logits, cut, emptied)


def best_of_each(logits: np.ndarray, places: Sequence[Sequence[int]]) -> np.ndarray:
    """The best logit of each document; one that is not finite stays so.

    Args:
        logits: float32 [rows].
        places: The rows of each document, at least one.

    Returns:
        float32 [documents].
    """
    starts = np.cumsum([0, *map(len, places[:-1])])
    best: np.ndarray = np.maximum.reduceat(logits[list(chain.from_iterable(places))], starts)
    return best
