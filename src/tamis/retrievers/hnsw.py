"""Approximate dense retrieval by faiss, for corpora that the exact search takes too long to go through."""

from collections.abc import Sequence

import numpy as np

from tamis.extras import missing_package
from tamis.formulas.arrays import VectorArray
from tamis.retrievers.dense import DOCUMENTS, TieKeys, TopK, exact_scores, settle
from tamis.retrievers.vectors import Matrix

LINKS = 32
"""Neighbours that each document is linked to."""
LOOKED_AT = 512
"""Least documents that a search keeps in view (efSearch)."""


class Hnsw:
    """A hierarchical navigable small world graph (Malkov and Yashunin 2018) over all vectors.

    It is approximate: it walks from neighbour to neighbour and can miss documents that the exact search finds, the more
    the deeper one looks; nothing tells which ones. What it finds has its exact score. The graph lies in memory with a
    copy of all vectors, and is built on one thread, since on several it would come out differently each time.
    """

    def __init__(self, documents: Matrix) -> None:
        """Build the graph of documents [documents, hidden].

        Raises:
            MissingPartError: faiss is not installed.
        """
        try:
            import faiss
        except ImportError:
            raise missing_package("candidates.index", "faiss", "faiss", "set it to exact") from None
        self._graph = faiss.IndexHNSWFlat(documents[:1].shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            for start in range(0, len(documents), DOCUMENTS):
                self._graph.add(np.ascontiguousarray(documents[start : start + DOCUMENTS]))
        finally:
            faiss.omp_set_num_threads(threads)

    def search(self, queries: VectorArray, documents: Matrix, depth: int, keys: Sequence[TieKeys]) -> list[TopK]:
        """As `search_dense`, [queries, size] among [documents, size] that the graph was built of; it may find fewer."""
        self._graph.hnsw.efSearch = max(LOOKED_AT, 2 * depth)
        _, rows = self._graph.search(queries, min(depth, len(documents)))
        found = [np.unique(row[row >= 0]) for row in rows]
        scores = exact_scores(queries, documents, found)
        return [settle(places, some, depth, key) for places, some, key in zip(found, scores, keys, strict=True)]
