"""Search in pieces that can be worked on anywhere: groups of queries against an index, or shards of a large one.

A piece reads its shard of the vectors from their file; memory depends on the blocks of the exact search. The best of
the shards are put together here, by the same scores and the same ties as in a search of the whole: no bit differs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tamis.executors.local import Executor
from tamis.records import Candidates
from tamis.retrievers.index import Heads, Index, IndexKey, IndexSet, QueryBatch, stages_below

SHARD = 1_000_000
"""Documents of a shard. An index of fewer is searched in one piece, so that only its results travel."""


@dataclass(frozen=True)
class SearchPiece:
    """Queries of one index, and the documents that they are compared with.

    Attributes:
        key: The index that the queries search.
        asked: The queries.
        first: Number of the shard's first document; the shards of an index begin at 0.
    """

    key: IndexKey
    asked: QueryBatch
    first: int


def search_groups(
    executor: Executor,
    indexes: IndexSet,
    groups: Sequence[tuple[IndexKey, QueryBatch]],
    depth: int,
    wanted: Sequence[str],
) -> Iterator[dict[str, Candidates]]:
    """What first stages find for the queries of some indexes, in their order; see `Index.search`.

    An approximate index is searched in this process, as it would be built anew in every other.
    """
    if not executor.elsewhere or indexes.how.index == "faiss":
        for key, asked in groups:
            yield from _index_of(indexes, key).search(asked, depth, wanted)
        return
    pieces = (piece for group in _in_groups(groups) for piece in _pieces(indexes, *group))
    found = executor.mapped(partial(_search_piece, indexes, depth, wanted, SHARD), pieces)
    for key, asked in _in_groups(groups):
        parts: list[tuple[int, Heads]] = []
        for piece in _pieces(indexes, key, asked):
            one = next(found)
            if isinstance(one, list):
                yield from one
            else:
                parts.append((piece.first, one))
        if parts:
            index = _index_of(indexes, key)
            yield from index.finish(asked, index.join(asked, parts, depth), depth, wanted)


def _in_groups(groups: Sequence[tuple[IndexKey, QueryBatch]]) -> Iterator[tuple[IndexKey, QueryBatch]]:
    for key, asked in groups:
        for group in asked.groups():
            yield key, group


def _pieces(indexes: IndexSet, key: IndexKey, asked: QueryBatch) -> list[SearchPiece]:
    return [SearchPiece(key, asked, first) for first in range(0, len(_index_of(indexes, key).doc_ids), SHARD)]


def _search_piece(
    indexes: IndexSet, depth: int, wanted: Sequence[str], shard: int, piece: SearchPiece
) -> Heads | list[dict[str, Candidates]]:
    """Candidates of a whole index, or the heads of a shard; BM25 has one index, so its heads come with the first."""
    index = _index_of(indexes, piece.key)
    documents = len(index.doc_ids)
    if documents <= shard:
        return list(index.search(piece.asked, depth, wanted))
    stages = stages_below(wanted)
    heads = index.heads(piece.asked, depth, [name for name in stages if name == "bm25" and piece.first == 0])
    if "dense" in stages:
        part = index.part(np.arange(piece.first, min(piece.first + shard, documents)))
        heads |= part.heads(piece.asked, depth, ["dense"])
    return heads


def _index_of(indexes: IndexSet, key: IndexKey) -> Index:
    index = indexes.get(*key)
    assert index is not None, "queries without a document to search are passed over before"
    return index
