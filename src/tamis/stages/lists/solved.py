"""Queries that the student answers before it has learnt anything: they teach it little."""

from typing import Final

import numpy as np
from scipy.special import softmax

from tamis.context import Workshop
from tamis.records import ScoredCandidates
from tamis.stages.lists.draw import Alike, split_of
from tamis.stages.train.student_scores import score_pairs

LOOKED_AT: Final = 10
"""Candidates of a query that the student scores, the document that it was written about among them."""

SOLVED_VERSION: Final = 2
"""Raised whenever other queries are taken to be answered, which counts where some of them are left out."""

SURE: Final = 0.9
"""Share of the softmax over their logits from which that document has won: a listwise loss below 0.11 is left."""


def solved_queries(shop: Workshop, alike: Alike) -> frozenset[str]:
    """Ids of the queries whose own document the untrained student puts far before the other best candidates.

    Only those that may be learnt from are looked at: held-out ones judge, whether they are answered already or not.

    Args:
        shop: The tools of the run; the stage scores is finished.
        alike: Which documents say the same. What says what a query's own document says is no rival of it.
    """
    heads = {one.query_id: head for one in shop.stream("scores", ScoredCandidates) if (head := _head(shop, one, alike))}
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


def _head(shop: Workshop, found: ScoredCandidates, alike: Alike) -> list[str]:
    """A query's own document, then the best others that say something else; empty where nothing is to be found out.

    That is so of held-out queries, of those without a target document of their own or whose document was not found,
    and of those that found nothing else.
    """
    query = shop.queries[found.query_id]
    own = query.document_id
    if query.origin != "target" or own not in found.doc_ids:
        return []
    if split_of(query, shop.recipe.lists.held_out, alike) != "train":
        return []
    repeats = alike.repeats(own, found.doc_ids)
    others = [doc_id for doc_id, same in zip(found.doc_ids, repeats, strict=True) if doc_id != own and not same]
    return [own, *others[: LOOKED_AT - 1]] if others else []
