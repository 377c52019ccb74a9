"""Embeddings in a file beside the item store: what is not known is embedded in blocks, each kept at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tamis.artifacts import ItemStore, item_key
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
    width, count = _numbers(items.get([head]).get(head), 2)
    unique = _in_order(texts.values())
    rows = _known_rows(unique, identity, items)
    missing = [text for text in unique if text not in rows]
    with track(label, len(missing)) as advance:
        todo = blocks(missing)
        for block, vectors in zip(todo, mapped(embed, todo), strict=True):
            width = vectors.shape[1]
            VectorFile(path, width).write(count, vectors)
            fresh = dict(zip(block, range(count, count + len(block)), strict=True))
            count += len(block)
            keys = [(item_key("row", identity, text), _bytes(row)) for text, row in fresh.items()]
            items.put([*keys, (head, _bytes(width, count))])
            rows |= fresh
            release_memory()
            advance(len(block))
    return Vectors(VectorFile(path, width), {text_id: rows[text] for text_id, text in texts.items()})


def unembedded(texts: Iterable[str], identity: str, items: ItemStore) -> list[str]:
    """The texts that `embed_missing` would embed, each once, in its order."""
    unique = _in_order(texts)
    rows = _known_rows(unique, identity, items)
    return [text for text in unique if text not in rows]


def blocks(texts: Sequence[str]) -> list[Sequence[str]]:
    """The blocks of texts that are embedded together."""
    return [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]


def _in_order(texts: Iterable[str]) -> list[str]:
    """Each text once, those of one length beside each other."""
    return sorted(set(texts), key=lambda text: (len(text), text))


def _known_rows(texts: Sequence[str], identity: str, items: ItemStore) -> dict[str, int]:
    """Row of each text that was embedded before."""
    rows: dict[str, int] = {}
    for start in range(0, len(texts), LOOKED_UP):
        keys = {item_key("row", identity, text): text for text in texts[start : start + LOOKED_UP]}
        rows.update((keys[key], _numbers(value, 1)[0]) for key, value in items.get(list(keys)).items())
    return rows


def _bytes(*numbers: int) -> bytes:
    return np.array(numbers, "<i8").tobytes()


def _numbers(value: bytes | None, many: int) -> list[int]:
    """The vectors that `_bytes` turned into bytes; zeros where there are none."""
    return np.frombuffer(value, "<i8").tolist() if value else [0] * many
