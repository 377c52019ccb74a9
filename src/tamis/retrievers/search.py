"""Search indexes for many queries, block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tamis.executors.local import LOCAL, Executor
from tamis.formulas.arrays import VectorArray
from tamis.formulas.ranking import rank_order, tie_key
from tamis.records import Candidates, Query
from tamis.retrievers.index import IndexSet, QueryBatch
from tamis.retrievers.own_ids import without
from tamis.retrievers.sharded import search_groups
from tamis.retrievers.vectors import Matrix, matrix_of

SearchProgress = Callable[[int], object]
"""Told how many queries were searched."""


def search_indexes(
    queries: Sequence[Query],
    query_vectors: Mapping[str, VectorArray],
    indexes: IndexSet,
    depth: int,
    wanted: Sequence[str],
    progress: SearchProgress | None = None,
    executor: Executor = LOCAL,
    itself: Mapping[str, str] | None = None,
) -> Iterator[tuple[Query, dict[str, Candidates]]]:
    """Search index by index, so that each is gone through for all its queries together.

    Args:
        queries: The queries; those that have no document to search are passed over.
        query_vectors: Embedding of each query by id, [hidden], of norm 1.
        indexes: The documents.
        depth: Documents per query and first stage at most.
        wanted: Names of first stages.
        progress: Told of finished queries.
        executor: Where to search.
        itself: Id of the document that a query is itself, by the query's id; it is none of its own candidates.

    Yields:
        Each query with what it finds by name of the first stage.
    """
    groups: dict[tuple[str, str], list[Query]] = {}
    for query in queries:
        groups.setdefault((query.origin, query.language), []).append(query)
    searched = {key: group for key, group in groups.items() if indexes.get(*key) is not None}
    asked = [
        (
            key,
            QueryBatch(
                [query.query_id for query in group], [query.text for query in group], _matrix(query_vectors, group)
            ),
        )
        for key, group in searched.items()
    ]
    in_order = [query for group in searched.values() for query in group]
    deep = depth + bool(itself)  # one more than is kept, where one of them may be left out
    for query, found in zip(in_order, search_groups(executor, indexes, asked, deep, wanted), strict=True):
        own = itself.get(query.query_id) if itself else None
        yield query, {name: without(one, own, depth) for name, one in found.items()} if itself else found
        if progress:
            progress(1)


def _matrix(vectors: Mapping[str, VectorArray], queries: Sequence[Query]) -> Matrix:
    return matrix_of(vectors, [query.query_id for query in queries])


def rank_candidates(query_id: str, doc_ids: tuple[str, ...], scores: np.ndarray, depth: int) -> Candidates:
    """The `depth` best documents by their scores, [documents], ties broken by hash and never by input order."""
    order = rank_order(scores, [tie_key(query_id, doc_id) for doc_id in doc_ids])[:depth]
    return Candidates(query_id, tuple(doc_ids[i] for i in order), tuple(float(scores[i]) for i in order))
