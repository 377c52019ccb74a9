"""The default teacher: several weak scorers, z-scored per query and summed, are stronger than each."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tamis.formulas.ranking import fuse
from tamis.records import Query
from tamis.retrievers.shelf import Shelf, ShelfKey

Rerank = Callable[[Query, Sequence[str]], np.ndarray]
"""Scores of documents, by their ids, for a query: float [documents]."""


class FusionTeacher:
    """Weighted sum of the per-query z-scores of BM25, embeddings and rerankers.

    e5 cosines lie between 0.7 and 0.9 whatever the texts: only their order and spread within a query say something,
    hence the z-scores.
    """

    def __init__(
        self,
        shelves: Mapping[ShelfKey, Shelf],
        bm25_weight: float,
        embeddings: Sequence[tuple[float, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
        rerankers: Sequence[tuple[float, Rerank]] = (),
    ) -> None:
        """Set up the parts.

        Args:
            shelves: Where BM25 of a query's language lies.
            bm25_weight: Weight of BM25.
            embeddings: (weight, query vectors by query id, document vectors by document id), rows of norm 1.
            rerankers: (weight, what scores).
        """
        self._shelves = shelves
        self._bm25_weight = bm25_weight
        self._embeddings = embeddings
        self._rerankers = rerankers
        self._place = {key: {d: i for i, d in enumerate(shelf.doc_ids)} for key, shelf in shelves.items()}

    def __call__(self, query: Query, doc_ids: Sequence[str]) -> np.ndarray:
        """float64 [documents], mean 0; only differences within the query mean something."""
        key = (query.origin, query.language)
        lexical = self._shelves[key].bm25.scores(query.text)
        parts = [lexical[[self._place[key][doc_id] for doc_id in doc_ids]]]
        weights = [self._bm25_weight]
        for weight, query_vectors, document_vectors in self._embeddings:
            vectors = np.stack([document_vectors[doc_id] for doc_id in doc_ids])
            parts.append((vectors @ query_vectors[query.query_id]).astype(np.float64))
            weights.append(weight)
        for weight, rerank in self._rerankers:
            parts.append(rerank(query, doc_ids).astype(np.float64))
            weights.append(weight)
        fused: np.ndarray = fuse(parts, weights)
        return fused
