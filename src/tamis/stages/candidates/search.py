"""Candidates: what the hybrid first stage, or the user's own engine, finds for each query."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tamis.executors.local import LOCAL, Executor
from tamis.formulas.arrays import VectorArray
from tamis.records import GIVEN, Candidates, Dropped, Query
from tamis.retrievers.index import IndexSet
from tamis.retrievers.own_ids import apart
from tamis.retrievers.search import SearchProgress, rank_candidates, search_indexes
from tamis.stages.queries.given import given_id

_TOO_FEW = {
    "same": "fewer than two documents in its language",
    "cross": "fewer than two documents in other languages",
    "any": "fewer than two documents",
}
_TOO_FEW_GIVEN = "fewer than two documents in the given run"


def find_candidates(
    queries: Sequence[Query],
    query_vectors: Mapping[str, VectorArray],
    indexes: IndexSet,
    depth: int,
    given: Mapping[str, Mapping[str, float]] | None = None,
    progress: SearchProgress | None = None,
    executor: Executor = LOCAL,
) -> Iterator[Candidates | Dropped]:
    """Search for every query.

    Args:
        queries: The queries.
        query_vectors: Embedding of each query by id, [hidden], of norm 1.
        indexes: The documents.
        depth: Candidates per query at most.
        given: Score of each document that the user's own engine found, by query id and document id, for the queries
            that are not searched here.
        progress: Told of finished queries.
        executor: Where to search.

    Yields:
        Candidates by the hybrid or the given run, best first, without the document that a query is itself (see
        `own_documents`); a query with fewer than two documents to rank is dropped.
        Where languages are crossed, the query's seed document, if it has one, joins as the last one: it is what the
        query asks for, and the lists need it. First those that are not searched, then index by index, so that few are
        held at a time; each part in the order of the queries.
    """
    given = given or {}
    itself = own_documents(queries, indexes)
    searched: list[Query] = []
    for query in queries:
        index = indexes.get(query.origin, query.language)
        if index is None or len(index.doc_ids) < 2:
            yield Dropped(query.query_id, _TOO_FEW[indexes.how.languages], query.language, query.text)
        elif query.query_id not in given:
            searched.append(query)
        else:
            found_there = given[query.query_id].items()
            own = itself.get(query.query_id)
            scores = {doc_id: s for doc_id, s in found_there if doc_id in index.place and doc_id != own}
            if len(scores) < 2:
                yield Dropped(query.query_id, _TOO_FEW_GIVEN, query.language, query.text)
            else:
                ranked = rank_candidates(query.query_id, tuple(scores), np.array(list(scores.values())), depth)
                yield _completed(ranked, query, indexes)
    found_by_query = search_indexes(
        searched, query_vectors, indexes, depth, ("hybrid",), progress, executor, itself=itself
    )
    for query, found in found_by_query:
        if len(found["hybrid"].doc_ids) < 2:
            yield Dropped(query.query_id, _TOO_FEW[indexes.how.languages], query.language, query.text)
        else:
            yield _completed(found["hybrid"], query, indexes)


def own_documents(queries: Iterable[Query], indexes: IndexSet) -> dict[str, str]:
    """Id of the document that a query is itself: the one of its own id in its general corpus, as in Quora.

    Args:
        queries: Any; only those that came with a general corpus can have such a document.
        indexes: The documents.

    Returns:
        Document id by query id. Nothing of a corpus where a query's own id answers it: its queries and documents are
        numbered apart.
    """
    given: dict[str, list[tuple[Query, str]]] = {}
    for query in queries:
        corpus, told, _ = query.document_id.partition(":")
        if told and query.origin == "general" and query.query_id.startswith(f"{GIVEN}/"):
            given.setdefault(corpus, []).append((query, f"{corpus}:{given_id(query)}"))
    return {
        query.query_id: own
        for pairs in given.values()
        if not apart((own, query.document_id) for query, own in pairs)
        for query, own in pairs
        if (index := indexes.get(query.origin, query.language)) and own in index.place
    }


def _completed(found: Candidates, query: Query, indexes: IndexSet) -> Candidates:
    return _with_seed(found, query) if indexes.how.languages == "cross" else found


def _with_seed(found: Candidates, query: Query) -> Candidates:
    """The candidates and the query's seed document, with the score of the last one: nobody looked for it."""
    if not query.document_id or query.document_id in found.doc_ids:
        return found
    doc_ids, scores = found.doc_ids, found.scores
    return Candidates(found.query_id, (*doc_ids, query.document_id), (*scores, scores[-1]))
