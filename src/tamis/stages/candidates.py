"""Candidates: what the hybrid first stage finds for each query in its own language."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tamis.formulas.ranking import rank_order, tie_key
from tamis.records import Candidates, Dropped, Query
from tamis.retrievers.shelf import Shelf, ShelfKey


def find_candidates(
    queries: Iterable[Query],
    query_vectors: Mapping[str, np.ndarray],
    shelves: Mapping[ShelfKey, Shelf],
    depth: int,
) -> Iterator[Candidates | Dropped]:
    """Search each query's shelf.

    Args:
        queries: The queries.
        query_vectors: Embedding of each query by id, [hidden], of norm 1.
        shelves: Documents by origin and language.
        depth: Candidates per query at most.

    Yields:
        Candidates by the hybrid, best first; a query whose shelf holds fewer than two documents is dropped, there
        is nothing to rank.
    """
    for query in queries:
        shelf = shelves.get((query.origin, query.language))
        if shelf is None or len(shelf.doc_ids) < 2:
            yield Dropped(query.query_id, "fewer than two documents in its language", query.language, query.text)
            continue
        scores = shelf.search(query.text, query_vectors[query.query_id])["hybrid"]
        yield rank_candidates(query.query_id, shelf.doc_ids, scores, depth)


def rank_candidates(query_id: str, doc_ids: tuple[str, ...], scores: np.ndarray, depth: int) -> Candidates:
    """The `depth` best documents, ties broken by hash and never by input order."""
    order = rank_order(scores, [tie_key(query_id, doc_id) for doc_id in doc_ids])[:depth]
    return Candidates(query_id, tuple(doc_ids[i] for i in order), tuple(float(scores[i]) for i in order))
