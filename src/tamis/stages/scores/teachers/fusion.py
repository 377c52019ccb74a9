"""The default teacher: several weak scorers, z-scored per query and summed, are stronger than each."""

from collections.abc import Mapping, Sequence

import numpy as np

from tamis.formulas.arrays import VectorArray
from tamis.formulas.ranking import fuse
from tamis.retrievers.index import IndexSet
from tamis.retrievers.vectors import matrix_of
from tamis.stages.scores.score import ScorePairs, Unscored


class FusionTeacher:
    """Weighted sum of the per-query z-scores of BM25, embeddings and rerankers.

    e5 cosines lie between 0.7 and 0.9 whatever the texts: only their order and spread within a query say something,
    hence the z-scores.
    """

    def __init__(self, parts: Sequence[tuple[float, ScorePairs]]) -> None:
        """Take at least one scorer, each with its weight."""
        self._weights, self._scorers = zip(*parts, strict=True)

    def __call__(self, asked: Sequence[Unscored]) -> list[np.ndarray]:
        """float64 [documents] for each query, mean 0; only differences within the query mean something.

        Where a scorer gave no score to one of a query's documents, no number of that query is one.
        """
        opinions = [score(asked) for score in self._scorers]
        return [self._fused(parts) for parts in zip(*opinions, strict=True)]

    def _fused(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        if not all(np.isfinite(part).all() for part in parts):
            return np.full(len(parts[0]), np.nan)
        fused: np.ndarray = fuse(parts, self._weights)
        return fused


def bm25_scores(indexes: IndexSet) -> ScorePairs:
    """BM25 within all that a query searches."""

    def score(asked: Sequence[Unscored]) -> list[np.ndarray]:
        scores = []
        for query, doc_ids in asked:
            index = indexes.whole(query.origin, query.language)
            scores.append(index.bm25.scores_of(query.text, np.array([index.place[d] for d in doc_ids], np.int64)))
        return scores

    return score


def cosines(queries: Mapping[str, VectorArray], documents: Mapping[str, VectorArray]) -> ScorePairs:
    """Cosines of vectors by id, [hidden] each, of norm 1."""
    return lambda asked: [matrix_of(documents, doc_ids)[:] @ queries[query.query_id] for query, doc_ids in asked]
