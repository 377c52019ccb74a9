"""Queries that the student answers before it has learnt anything: they teach it little."""

from typing import Final

import numpy as np
from scipy.special import softmax

from tamis.context import texts_of
from tamis.records import Query, ScoredCandidates
from tamis.stages.lists.draw import Alike, split_of
from tamis.stages.student.factory import StudentFactory
from tamis.stages.student.scores import score_pairs

LOOKED_AT: Final = 10
"""Candidates of a query that the student scores, the document that it was written about among them."""

SOLVED_VERSION: Final = 2
"""Raised whenever other queries are taken to be answered, which counts where some of them are left out."""

SURE: Final = 0.9
"""Share of the softmax over their logits from which that document has won: a listwise loss below 0.11 is left."""


def solved_queries(students: StudentFactory, held_out: float, alike: Alike) -> frozenset[str]:
    """Ids of the queries whose own document the untrained student puts far before the other best candidates.

    Only those that may be learnt from are looked at: held-out ones judge, whether they are answered already or not.

    Args:
        students: Of the run, whose stage scores is finished.
        held_out: Share of the queries that are held out.
        alike: Which documents say the same. What says what a query's own document says is no rival of it.
    """
    context = students.context
    scored = context.stream("scores", ScoredCandidates)
    heads = {
        one.query_id: head for one in scored if (head := _head(context.queries[one.query_id], one, held_out, alike))
    }
    asked = {query_id: context.queries[query_id].text for query_id in heads}
    students.prepare(asked, texts_of(context.target))
    pairs = [(query_id, doc_id) for query_id, head in heads.items() for doc_id in head]
    logits = score_pairs(students, students.untrained(), pairs, "looking for queries that are answered already")
    del students.prepared  # training prepares its texts in groups of its own, whether this was done before or not
    return frozenset(
        query_id
        for query_id, head in heads.items()
        if softmax(np.array([logits[query_id, doc_id] for doc_id in head], dtype=np.float64))[0] >= SURE
    )


def _head(query: Query, found: ScoredCandidates, held_out: float, alike: Alike) -> list[str]:
    """A query's own document, then the best others that say something else; empty where nothing is to be found out.

    That is so of held-out queries, of those without a target document of their own or whose document was not found,
    and of those that found nothing else.
    """
    own = query.document_id
    if query.origin != "target" or own not in found.doc_ids or split_of(query, held_out, alike) != "train":
        return []
    repeats = alike.repeats(own, found.doc_ids)
    others = [doc_id for doc_id, same in zip(found.doc_ids, repeats, strict=True) if doc_id != own and not same]
    return [own, *others[: LOOKED_AT - 1]] if others else []
