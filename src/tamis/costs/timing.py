"""A short try on the run's own texts: how long a model needs for each of many."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

QUERY_CHARACTERS: Final = 60
"""Characters of a query that is not written yet; the beginnings of documents stand for such queries."""

_PROBED: Final = 16  # texts or pairs that a model is tried on
_TRIES: Final = 3
_TRIED_SECONDS: Final = 2.0  # after which no further try is made

Timed = TypeVar("Timed")


def a_few(texts: Sequence[str]) -> list[str]:
    """A few texts for all: evenly spaced in the order of their lengths."""
    ordered = sorted(texts, key=len)
    return [ordered[i * len(ordered) // _PROBED] for i in range(_PROBED)] if len(ordered) > _PROBED else ordered


def beginnings(documents: Iterable[str]) -> list[str]:
    """Texts like the queries that are not written yet: how a few documents begin."""
    return [text[:QUERY_CHARACTERS] for text in a_few(list(documents))]


def timed(do: Callable[[], Timed]) -> tuple[Timed, float]:
    """What something gives and the seconds it takes: the best of a few tries, since whatever else runs only adds."""
    best, spent = math.inf, 0.0
    for _ in range(_TRIES):
        start = time.monotonic()
        found = do()
        seconds = time.monotonic() - start
        best, spent = min(best, seconds), spent + seconds
        if spent > _TRIED_SECONDS:
            break
    return found, best
