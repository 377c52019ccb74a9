"""Candidates: what the hybrid first stage, or the user's own engine, finds for each query."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tamis.formulas.ranking import rank_order, tie_key
from tamis.records import Candidates, Dropped, Query
from tamis.retrievers.shelf import Asked, Shelves
from tamis.retrievers.vectors import Floats, matrix_of

Progress = Callable[[int], object]
"""Told how many queries were searched."""

_TOO_FEW = {
    "same": "fewer than two documents in its language",
    "cross": "fewer than two documents in other languages",
    "any": "fewer than two documents",
}
_TOO_FEW_GIVEN = "fewer than two documents in the given run"


def find_candidates(
    queries: Sequence[Query],
    query_vectors: Mapping[str, Floats],
    shelves: Shelves,
    depth: int,
    given: Mapping[str, Mapping[str, float]] | None = None,
    progress: Progress | None = None,
) -> Iterator[Candidates | Dropped]:
    """Search for every query.

    Args:
        queries: The queries.
        query_vectors: Embedding of each query by id, [hidden], of norm 1.
        shelves: The documents.
        depth: Candidates per query at most.
        given: Score of each document that the user's own engine found, by query id and document id, for the queries
            that are not searched here.
        progress: Told of finished queries.

    Yields:
        In the order of the queries: candidates by the hybrid or the given run, best first; a query with fewer than
        two documents to rank is dropped. Where languages are crossed, the query's seed document joins as the last
        one: it is what the query asks for, and the lists need it.
    """
    given = given or {}
    own = [query for query in queries if query.query_id not in given]
    found = {
        query.query_id: ranked["hybrid"]
        for query, ranked in search_shelves(own, query_vectors, shelves, depth, ("hybrid",), progress)
    }
    for query in queries:
        shelf = shelves.get(query.origin, query.language)
        scores = given.get(query.query_id)
        if shelf is None or len(shelf.doc_ids) < 2:
            yield Dropped(query.query_id, _TOO_FEW[shelves.how.languages], query.language, query.text)
            continue
        if scores is None:
            candidates = found[query.query_id]
        else:
            allowed = {doc_id: score for doc_id, score in scores.items() if doc_id in shelf.place}
            if len(allowed) < 2:
                yield Dropped(query.query_id, _TOO_FEW_GIVEN, query.language, query.text)
                continue
            candidates = rank_candidates(query.query_id, tuple(allowed), np.array(list(allowed.values())), depth)
        yield _with_seed(candidates, query) if shelves.how.languages == "cross" else candidates


def _with_seed(found: Candidates, query: Query) -> Candidates:
    """The candidates and the query's seed document, with the score of the last one: nobody looked for it."""
    if query.document_id in found.doc_ids:
        return found
    doc_ids, scores = found.doc_ids, found.scores
    return Candidates(found.query_id, (*doc_ids, query.document_id), (*scores, scores[-1]))


def search_shelves(
    queries: Sequence[Query],
    query_vectors: Mapping[str, Floats],
    shelves: Shelves,
    depth: int,
    wanted: Sequence[str],
    progress: Progress | None = None,
) -> Iterator[tuple[Query, dict[str, Candidates]]]:
    """Search shelf by shelf, so that each is gone through for all its queries together.

    Args:
        queries: The queries; those that have no document to search are passed over.
        query_vectors: Embedding of each query by id, [hidden], of norm 1.
        shelves: The documents.
        depth: Documents per query and first stage at most.
        wanted: Names of first stages.
        progress: Told of finished queries.

    Yields:
        Each query with what it finds by name of the first stage.
    """
    groups: dict[tuple[str, str], list[Query]] = {}
    for query in queries:
        groups.setdefault((query.origin, query.language), []).append(query)
    for key, group in groups.items():
        shelf = shelves.get(*key)
        if shelf is None:
            continue
        ids = [query.query_id for query in group]
        asked = Asked(ids, [query.text for query in group], matrix_of(query_vectors, ids))
        for query, found in zip(group, shelf.search(asked, depth, wanted), strict=True):
            yield query, found
            if progress:
                progress(1)


def rank_candidates(query_id: str, doc_ids: tuple[str, ...], scores: np.ndarray, depth: int) -> Candidates:
    """The `depth` best documents, ties broken by hash and never by input order."""
    order = rank_order(scores, [tie_key(query_id, doc_id) for doc_id in doc_ids])[:depth]
    return Candidates(query_id, tuple(doc_ids[i] for i in order), tuple(float(scores[i]) for i in order))
