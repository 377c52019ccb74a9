"""Candidates: what the hybrid first stage, or the user's own engine, finds for each query."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tamis.engines.local import LOCAL, Engine
from tamis.formulas.ranking import rank_order, tie_key
from tamis.records import Candidates, Dropped, Query
from tamis.retrievers.sharded import search_groups
from tamis.retrievers.shelf import Asked, Shelves
from tamis.retrievers.vectors import Floats, Matrix, matrix_of

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
    engine: Engine = LOCAL,
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
        engine: Where to search.

    Yields:
        Candidates by the hybrid or the given run, best first; a query with fewer than two documents to rank is dropped.
        Where languages are crossed, the query's seed document, if it has one, joins as the last one: it is what the
        query asks for, and the lists need it. First those that are not searched, then shelf by shelf, so that few are
        held at a time; each part in the order of the queries.
    """
    given = given or {}
    own: list[Query] = []
    for query in queries:
        shelf = shelves.get(query.origin, query.language)
        if shelf is None or len(shelf.doc_ids) < 2:
            yield Dropped(query.query_id, _TOO_FEW[shelves.how.languages], query.language, query.text)
        elif query.query_id not in given:
            own.append(query)
        else:
            scores = {doc_id: s for doc_id, s in given[query.query_id].items() if doc_id in shelf.place}
            if len(scores) < 2:
                yield Dropped(query.query_id, _TOO_FEW_GIVEN, query.language, query.text)
            else:
                ranked = rank_candidates(query.query_id, tuple(scores), np.array(list(scores.values())), depth)
                yield _completed(ranked, query, shelves)
    for query, found in search_shelves(own, query_vectors, shelves, depth, ("hybrid",), progress, engine):
        yield _completed(found["hybrid"], query, shelves)


def _completed(found: Candidates, query: Query, shelves: Shelves) -> Candidates:
    return _with_seed(found, query) if shelves.how.languages == "cross" else found


def _with_seed(found: Candidates, query: Query) -> Candidates:
    """The candidates and the query's seed document, with the score of the last one: nobody looked for it."""
    if not query.document_id or query.document_id in found.doc_ids:
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
    engine: Engine = LOCAL,
) -> Iterator[tuple[Query, dict[str, Candidates]]]:
    """Search shelf by shelf, so that each is gone through for all its queries together.

    Args:
        queries: The queries; those that have no document to search are passed over.
        query_vectors: Embedding of each query by id, [hidden], of norm 1.
        shelves: The documents.
        depth: Documents per query and first stage at most.
        wanted: Names of first stages.
        progress: Told of finished queries.
        engine: Where to search.

    Yields:
        Each query with what it finds by name of the first stage.
    """
    groups: dict[tuple[str, str], list[Query]] = {}
    for query in queries:
        groups.setdefault((query.origin, query.language), []).append(query)
    searched = {key: group for key, group in groups.items() if shelves.get(*key) is not None}
    asked = [
        (
            key,
            Asked([query.query_id for query in group], [query.text for query in group], _matrix(query_vectors, group)),
        )
        for key, group in searched.items()
    ]
    in_order = [query for group in searched.values() for query in group]
    for query, found in zip(in_order, search_groups(engine, shelves, asked, depth, wanted), strict=True):
        yield query, found
        if progress:
            progress(1)


def _matrix(vectors: Mapping[str, Floats], queries: Sequence[Query]) -> Matrix:
    return matrix_of(vectors, [query.query_id for query in queries])


def rank_candidates(query_id: str, doc_ids: tuple[str, ...], scores: np.ndarray, depth: int) -> Candidates:
    """The `depth` best documents, ties broken by hash and never by input order."""
    order = rank_order(scores, [tie_key(query_id, doc_id) for doc_id in doc_ids])[:depth]
    return Candidates(query_id, tuple(doc_ids[i] for i in order), tuple(float(scores[i]) for i in order))
