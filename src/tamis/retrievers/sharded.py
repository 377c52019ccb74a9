"""Search in pieces that can be worked on anywhere: groups of queries against a shelf, or against shards of a large one.

A piece reads its shard of the vectors from their file; memory depends on the blocks of the exact search. The best of
the shards are put together here, by the same scores and the same ties as in a search of the whole: no bit differs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tamis.executors.local import Engine
from tamis.records import Candidates
from tamis.retrievers.index import Asked, Heads, Shelf, ShelfKey, Shelves, stages_below

SHARD = 1_000_000
"""Documents of a shard. A shelf of fewer is searched in one piece, so that only its results travel."""


@dataclass(frozen=True)
class Piece:
    """Queries of one shelf, and the documents that they are compared with.

    Attributes:
        key: The shelf that the queries search.
        asked: The queries.
        first: Number of the shard's first document; the shards of a shelf begin at 0.
    """

    key: ShelfKey
    asked: Asked
    first: int


def search_groups(
    engine: Engine, shelves: Shelves, groups: Sequence[tuple[ShelfKey, Asked]], depth: int, wanted: Sequence[str]
) -> Iterator[dict[str, Candidates]]:
    """What first stages find for the queries of some shelves, in their order; see `Shelf.search`.

    An approximate index is searched in this process, as it would be built anew in every other.
    """
    if not engine.elsewhere or shelves.how.index == "faiss":
        for key, asked in groups:
            yield from _shelf(shelves, key).search(asked, depth, wanted)
        return
    pieces = (piece for group in _in_groups(groups) for piece in _pieces(shelves, *group))
    found = engine.mapped(partial(_search_piece, shelves, depth, wanted, SHARD), pieces)
    for key, asked in _in_groups(groups):
        parts: list[tuple[int, Heads]] = []
        for piece in _pieces(shelves, key, asked):
            one = next(found)
            if isinstance(one, list):
                yield from one
            else:
                parts.append((piece.first, one))
        if parts:
            shelf = _shelf(shelves, key)
            yield from shelf.finish(asked, shelf.join(asked, parts, depth), depth, wanted)


def _in_groups(groups: Sequence[tuple[ShelfKey, Asked]]) -> Iterator[tuple[ShelfKey, Asked]]:
    for key, asked in groups:
        for group in asked.groups():
            yield key, group


def _pieces(shelves: Shelves, key: ShelfKey, asked: Asked) -> list[Piece]:
    return [Piece(key, asked, first) for first in range(0, len(_shelf(shelves, key).doc_ids), SHARD)]


def _search_piece(
    shelves: Shelves, depth: int, wanted: Sequence[str], shard: int, piece: Piece
) -> Heads | list[dict[str, Candidates]]:
    """Candidates of a whole shelf, or the heads of a shard; BM25 has one index, so its heads come with the first."""
    shelf = _shelf(shelves, piece.key)
    documents = len(shelf.doc_ids)
    if documents <= shard:
        return list(shelf.search(piece.asked, depth, wanted))
    stages = stages_below(wanted)
    heads = shelf.heads(piece.asked, depth, [name for name in stages if name == "bm25" and piece.first == 0])
    if "dense" in stages:
        part = shelf.part(np.arange(piece.first, min(piece.first + shard, documents)))
        heads |= part.heads(piece.asked, depth, ["dense"])
    return heads


def _shelf(shelves: Shelves, key: ShelfKey) -> Shelf:
    shelf = shelves.get(*key)
    assert shelf is not None, "queries without a document to search are passed over before"
    return shelf
