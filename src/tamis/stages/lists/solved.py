"""Queries that the student answers before it has learnt anything: they teach it little."""

from typing import Final

import numpy as np
from scipy.special import softmax

from tamis.context import Workshop
from tamis.records import ScoredCandidates
from tamis.stages.train.student_scores import score_pairs

LOOKED_AT: Final = 10
"""Candidates of a query that the student scores, the document that it was written about among them."""

SURE: Final = 0.9
"""Share of the softmax over their logits from which that document has won: a listwise loss below 0.11 is left."""


def solved_queries(shop: Workshop) -> frozenset[str]:
    """Ids of the queries whose own document the untrained student puts far before the other best candidates.

    Args:
        shop: The tools of the run; the stage scores is finished.
    """
    heads = {
        one.query_id: _head(one, own) for one in shop.stream("scores", ScoredCandidates) if (own := _own(shop, one))
    }
    asked = {query_id: shop.queries[query_id].text for query_id in heads}
    shop.prepare(asked, {doc_id: d.text for doc_id, d in shop.documents.items() if d.origin == "target"})
    pairs = [(query_id, doc_id) for query_id, head in heads.items() for doc_id in head]
    logits = score_pairs(shop, shop.untrained_student(), pairs, "looking for queries that are answered already")
    del shop.prepared  # training prepares its texts in groups of its own, whether this was done before or not
    return frozenset(
        query_id
        for query_id, head in heads.items()
        if softmax(np.array([logits[query_id, doc_id] for doc_id in head], dtype=np.float64))[0] >= SURE
    )


def _own(shop: Workshop, found: ScoredCandidates) -> str:
    """The document that a query about a target document was written from, where it was found; else empty."""
    query = shop.queries[found.query_id]
    return query.document_id if query.origin == "target" and query.document_id in found.doc_ids else ""


def _head(found: ScoredCandidates, own: str) -> list[str]:
    """The query's own document, then the best others."""
    return [own, *[doc_id for doc_id in found.doc_ids if doc_id != own][: LOOKED_AT - 1]]
