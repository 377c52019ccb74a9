"""Scores: the teacher's opinion of every candidate."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from tamis.records import Candidates, Dropped, Query, ScoredCandidates

Unscored = tuple[Query, Sequence[str]]
"""A query and the ids of documents that are to be scored for it."""

ScorePairs = Callable[[Sequence[Unscored]], list[np.ndarray]]
"""A teacher. Scores of documents, by their ids, for queries, comparable within a query: float [documents] for each,
higher is more relevant, not a number where there is none."""

PAIRS_AT_ONCE: Final = 2048
"""Pairs that the teacher is asked about together, so that one behind a network has many requests under way."""


def score_candidates(
    candidates: Iterable[Candidates], queries: Mapping[str, Query], teach: ScorePairs
) -> Iterator[ScoredCandidates | Dropped]:
    """Ask the teacher about every candidate of every query, in order; a query that it could not score is dropped."""
    for block in _blocks(candidates):
        taught = teach([(queries[found.query_id], found.doc_ids) for found in block])
        for found, scores in zip(block, taught, strict=True):
            if np.isfinite(scores).all():
                yield ScoredCandidates(
                    found.query_id, found.doc_ids, found.scores, tuple(float(score) for score in scores)
                )
            else:
                query = queries[found.query_id]
                yield Dropped(found.query_id, "no score by a teacher", query.language, query.text[:200])


def _blocks(candidates: Iterable[Candidates]) -> Iterator[list[Candidates]]:
    """Whole queries, as many as have that many pairs together."""
    block: list[Candidates] = []
    for found in candidates:
        block.append(found)
        if sum(len(one.doc_ids) for one in block) >= PAIRS_AT_ONCE:
            yield block
            block = []
    if block:
        yield block
