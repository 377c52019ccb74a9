"""The default teacher: several weak scorers, z-scored per query and summed, are stronger than each."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tamis.formulas.ranking import fuse
from tamis.records import Query
from tamis.retrievers.shelf import Shelves
from tamis.retrievers.vectors import Floats, matrix_of

Rerank = Callable[[Query, Sequence[str]], np.ndarray]
"""Scores of documents, by their ids, for a query: float [documents]."""


class FusionTeacher:
    """Weighted sum of the per-query z-scores of BM25, embeddings and rerankers.

    e5 cosines lie between 0.7 and 0.9 whatever the texts: only their order and spread within a query say something,
    hence the z-scores.
    """

    def __init__(
        self,
        shelves: Shelves,
        bm25_weight: float,
        embeddings: Sequence[tuple[float, Mapping[str, Floats], Mapping[str, Floats]]],
        rerankers: Sequence[tuple[float, Rerank]] = (),
    ) -> None:
        """Set up the parts.

        Args:
            shelves: Where BM25 of what a query searches lies.
            bm25_weight: Weight of BM25.
            embeddings: (weight, query vectors by query id, document vectors by document id), rows of norm 1.
            rerankers: (weight, what scores).
        """
        self._shelves = shelves
        self._bm25_weight = bm25_weight
        self._embeddings = embeddings
        self._rerankers = rerankers

    def __call__(self, query: Query, doc_ids: Sequence[str]) -> np.ndarray:
        """float64 [documents], mean 0; only differences within the query mean something."""
        shelf = self._shelves.whole(query.origin, query.language)
        places = np.array([shelf.place[doc_id] for doc_id in doc_ids], np.int64)
        parts = [shelf.bm25.scores_of(query.text, places)]
        weights = [self._bm25_weight]
        for weight, query_vectors, document_vectors in self._embeddings:
            vectors = matrix_of(document_vectors, doc_ids)[:]
            parts.append((vectors @ query_vectors[query.query_id]).astype(np.float64))
            weights.append(weight)
        for weight, rerank in self._rerankers:
            parts.append(rerank(query, doc_ids).astype(np.float64))
            weights.append(weight)
        fused: np.ndarray = fuse(parts, weights)
        return fused
