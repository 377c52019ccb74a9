"""The default teacher: several weak scorers, z-scored per query and summed, are stronger than each."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tamis.formulas.arrays import VectorArray
from tamis.formulas.ranking import fuse
from tamis.records import Query
from tamis.retrievers.index import IndexSet
from tamis.retrievers.vectors import matrix_of

ScorePairs = Callable[[Sequence[tuple[Query, Sequence[str]]]], list[np.ndarray]]
"""Scores of documents, by their ids, for queries: float [documents] for each, not a number where there is none."""


class FusionTeacher:
    """Weighted sum of the per-query z-scores of BM25, embeddings and rerankers.

    e5 cosines lie between 0.7 and 0.9 whatever the texts: only their order and spread within a query say something,
    hence the z-scores.
    """

    def __init__(
        self,
        indexes: IndexSet,
        bm25_weight: float,
        embeddings: Sequence[tuple[float, Mapping[str, VectorArray], Mapping[str, VectorArray]]],
        rerankers: Sequence[tuple[float, ScorePairs]] = (),
    ) -> None:
        """Set up the parts.

        Args:
            indexes: Where BM25 of what a query searches lies.
            bm25_weight: Weight of BM25.
            embeddings: (weight, query vectors by query id, document vectors by document id), rows of norm 1.
            rerankers: (weight, what scores).
        """
        self._shelves = indexes
        self._bm25_weight = bm25_weight
        self._embeddings = embeddings
        self._rerankers = rerankers

    def __call__(self, asked: Sequence[tuple[Query, Sequence[str]]]) -> list[np.ndarray]:
        """float64 [documents] for each query, mean 0; only differences within the query mean something.

        Where a reranker gave no score to one of a query's documents, no number of that query is one.
        """
        opinions = [(weight, rerank(asked)) for weight, rerank in self._rerankers]
        return [
            self._fused(query, doc_ids, [(weight, scores[place]) for weight, scores in opinions])
            for place, (query, doc_ids) in enumerate(asked)
        ]

    def _fused(self, query: Query, doc_ids: Sequence[str], reranked: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
        index = self._shelves.whole(query.origin, query.language)
        places = np.array([index.place[doc_id] for doc_id in doc_ids], np.int64)
        parts = [index.bm25.scores_of(query.text, places)]
        weights = [self._bm25_weight]
        for weight, query_vectors, document_vectors in self._embeddings:
            vectors = matrix_of(document_vectors, doc_ids)[:]
            parts.append((vectors @ query_vectors[query.query_id]).astype(np.float64))
            weights.append(weight)
        for weight, scores in reranked:
            if not np.isfinite(scores).all():
                return np.full(len(doc_ids), np.nan)
            parts.append(scores.astype(np.float64))
            weights.append(weight)
        fused: np.ndarray = fuse(parts, weights)
        return fused
