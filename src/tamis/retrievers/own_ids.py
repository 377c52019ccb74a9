"""Queries that are documents of their corpus, as in ArguAna and Quora: no query is an answer to itself."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from tamis.records import Candidates


@dataclass(frozen=True)
class OwnIds:
    """Queries whose id is that of a document.

    Attributes:
        ids: Those whose own id is no candidate of them.
        relevant: How many have a document of their own id that is relevant to them; where one has, queries and
            documents are numbered apart, and `ids` is empty.
    """

    ids: frozenset[str]
    relevant: int = 0


def own_ids(judged: Mapping[str, Mapping[str, int]], documents: Container[str]) -> OwnIds:
    """Which queries of a set are documents of it, by their ids alone, as BEIR's own evaluation has it.

    Args:
        judged: Grade of each judged document by query id and document id.
        documents: Ids of the documents.
    """
    same = {query_id for query_id in judged if query_id in documents}
    relevant = sum(judged[query_id].get(query_id, 0) > 0 for query_id in same)
    return OwnIds(frozenset() if relevant else frozenset(same), relevant)


def without(found: Candidates, doc_id: str | None, depth: int | None = None) -> Candidates:
    """Candidates without one of them.

    Args:
        found: Best first.
        doc_id: Which one; it need not be there. None for none.
        depth: How many are kept at most; None for all.
    """
    others = found.where(lambda one: one != doc_id)
    return Candidates(found.query_id, others.doc_ids[:depth], others.scores[:depth])


def apart(relevant: Iterable[tuple[str, str]]) -> bool:
    """Whether a query has its own id among its relevant documents: queries and documents are then numbered apart.

    Args:
        relevant: Query id and document id of each relevant pair.
    """
    return any(query_id == doc_id for query_id, doc_id in relevant)
