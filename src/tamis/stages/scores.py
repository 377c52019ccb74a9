"""Scores: the teacher's opinion of every candidate."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from tamis.records import Candidates, Query, ScoredCandidates


class Teach(Protocol):
    """A teacher: scores documents for a query, on a scale that is comparable within the query."""

    def __call__(self, query: Query, doc_ids: Sequence[str]) -> np.ndarray:
        """float64 [documents], higher is more relevant."""


def score_candidates(
    candidates: Iterable[Candidates], queries: Mapping[str, Query], teach: Teach
) -> Iterator[ScoredCandidates]:
    """Ask the teacher about every candidate of every query, in order."""
    for found in candidates:
        scores = teach(queries[found.query_id], found.doc_ids)
        yield ScoredCandidates(found.query_id, found.doc_ids, found.scores, tuple(float(score) for score in scores))
