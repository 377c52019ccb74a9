"""Logits of many pairs, window by window, each of them a number: a broken score is named and ends the work."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tamis.errors import ModelError
from tamis.models.reranker import Reranker
from tamis.models.windows import Long
from tamis.progress import track


def finite_logits(
    reranker: Reranker,
    pairs: Sequence[tuple[str, str]],
    label: str,
    long: Long = "first",
    name_of: Callable[[int], str] | None = None,
) -> Iterator[np.ndarray]:
    """Score pairs, and show how far that is.

    Args:
        reranker: The model.
        pairs: (query, document).
        label: What is done, for the progress.
        long: What becomes of documents that are longer than the model reads, see `Reranker.rank`.
        name_of: What the message calls the pair at a place of `pairs`; None: by the beginnings of its texts.

    Yields:
        float32 [pairs of a window], in input order.

    Raises:
        ModelError: a score that is not finite; names the model and the first such pair.
    """
    done = 0
    with track(label, len(pairs)) as advance:
        for scored in reranker.score_windows(iter(pairs), long=long):
            finite = np.isfinite(scored.logits)
            if not finite.all():
                place = done + int(np.argmin(finite))
                named = name_of(place) if name_of else _beginnings(*pairs[place])
                raise ModelError(f"{reranker.path}: the score of {named} is not finite")
            yield scored.logits
            done += len(scored.logits)
            advance(len(scored.logits))


def _beginnings(query: str, document: str) -> str:
    return f"{query[:40]!r} and {document[:40]!r}"
