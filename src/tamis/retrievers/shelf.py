"""All documents of one origin and language with their first stages: a query searches one shelf."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tamis.formulas.ranking import reciprocal_rank_fusion
from tamis.records import Document
from tamis.retrievers.bm25 import Bm25

FIRST_STAGES = ("bm25", "dense", "hybrid")
"""BM25, exact dense retrieval, and the reciprocal rank fusion of both."""

ShelfKey = tuple[str, str]
"""Origin and language."""


@dataclass(frozen=True)
class Shelf:
    """Documents of one origin and language.

    Attributes:
        doc_ids: Ids, in corpus order; document i of everything below is the i-th.
        bm25: Lexical index.
        vectors: float32 [documents, hidden], rows of norm 1.
    """

    doc_ids: tuple[str, ...]
    bm25: Bm25
    vectors: np.ndarray

    def search(self, text: str, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Score of every document by each of `FIRST_STAGES`.

        Args:
            text: The query.
            vector: Its embedding, [hidden], of norm 1.

        Returns:
            float64 [documents] by name of the first stage. The dense search is exact: no index noise in the labels.
        """
        lexical = self.bm25.scores(text)
        dense = (self.vectors @ vector).astype(np.float64)
        return {"bm25": lexical, "dense": dense, "hybrid": reciprocal_rank_fusion([lexical, dense])}


def fill_shelves(
    documents: Sequence[Document], vectors: Mapping[str, np.ndarray], k1: float, b: float
) -> dict[ShelfKey, Shelf]:
    """Sort documents onto shelves.

    Args:
        documents: The corpus.
        vectors: Embedding of each document by id, [hidden], of norm 1.
        k1: BM25's saturation.
        b: BM25's length normalisation.
    """
    by_key: dict[ShelfKey, list[Document]] = {}
    for document in documents:
        by_key.setdefault((document.origin, document.language), []).append(document)
    return {
        key: Shelf(
            tuple(document.doc_id for document in group),
            Bm25([document.text for document in group], k1, b),
            np.stack([vectors[document.doc_id] for document in group]),
        )
        for key, group in by_key.items()
    }
