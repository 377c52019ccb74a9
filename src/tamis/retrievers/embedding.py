"""Embeddings in a file beside the item store: what is not known is embedded in blocks, each kept at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from tamis.artifacts import ItemStore, Kept, item_key
from tamis.executors.local import Mapped, run_here
from tamis.process_memory import release_memory
from tamis.progress import track
from tamis.retrievers.vectors import VectorFile, Vectors

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to vectors, float32 [texts, hidden]."""

BLOCK = 256
"""Texts embedded between two writes: what a kill can lose."""

LOOKED_UP = 10_000
"""Texts whose keys are in memory at once."""


def embed_missing(
    texts: Mapping[str, str],
    identity: str,
    embed: Embed,
    items: ItemStore,
    label: str,
    mapped: Mapped = run_here,
) -> Vectors:
    """Embed what is not known, in blocks of similar length, and keep it in a file beside the item store.

    Blocks are finished in their order, so what a kill leaves over falls into the same blocks as before it. The rows of
    a block count once the store says so, in one transaction; what a kill left in the file behind them is written over.
    """
    path = items.path.with_name("vectors") / f"{item_key(identity)}.f32"
    head = item_key("vectors", identity)
    found = items.get([head])
    width, count = np.frombuffer(found[head], "<i8").tolist() if found else (0, 0)
    rows: dict[str, int] = {}

    def vectors_of(missing: Iterator[list[str]]) -> Iterator[list[tuple[str, int]]]:
        """Put vectors behind those in the file; yields the row of each text."""
        nonlocal width, count
        todo = blocks([text for group in missing for text in group])
        with track(label, sum(map(len, todo))) as advance:
            for block, vectors in zip(todo, mapped(embed, todo), strict=True):
                width, start = vectors.shape[1], count
                VectorFile(path, width).write(start, vectors)
                count += len(block)
                yield list(zip(block, range(start, count), strict=True))
                release_memory()
                advance(len(block))

    kept = _known_rows(identity, items, lambda: (head, _bytes(width, count)))
    for fresh in kept.complete(_looked_up(texts.values()), vectors_of, rows.update):
        rows.update((text, row) for text, row in fresh if row is not None)
    return Vectors(VectorFile(path, width), {text_id: rows[text] for text_id, text in texts.items()})


def unembedded(texts: Iterable[str], identity: str, items: ItemStore) -> list[str]:
    """The texts that `embed_missing` would embed, each once, in its order."""
    return [text for group in _known_rows(identity, items).missing(_looked_up(texts)) for text in group]


def blocks(texts: Sequence[str]) -> list[Sequence[str]]:
    """The blocks of texts that are embedded together."""
    return [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]


def _looked_up(texts: Iterable[str]) -> Iterator[list[str]]:
    """Each text once, those of one length beside each other, as many at a time as are looked up."""
    unique = sorted(set(texts), key=lambda text: (len(text), text))
    return (unique[start : start + LOOKED_UP] for start in range(0, len(unique), LOOKED_UP))


def _known_rows(identity: str, items: ItemStore, head: Callable[[], tuple[str, bytes]] | None = None) -> Kept[str, int]:
    """Row of each text that was embedded before; `head` says what is kept in one piece with further ones."""

    def put(rows: Sequence[tuple[str, int]]) -> None:
        items.put([*((key, _bytes(row)) for key, row in rows), *([head()] if head else [])])

    return Kept(
        lambda text: item_key("row", identity, text), items.get, lambda row: int(np.frombuffer(row, "<i8")[0]), put
    )


def _bytes(*numbers: int) -> bytes:
    return np.array(numbers, "<i8").tobytes()
