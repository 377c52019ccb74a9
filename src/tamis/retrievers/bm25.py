"""Lexical retrieval: bm25s over words that are right for scripts without spaces, too."""

from collections.abc import Sequence

import numpy as np

from tamis.text import words


class Bm25:
    """BM25 over a fixed list of documents (Robertson's k1 and b, Lucene's idf: bm25s' default method).

    Attributes:
        size: Number of documents.
    """

    def __init__(self, texts: Sequence[str], k1: float, b: float) -> None:
        """Index `texts`; document i is the i-th text."""
        import bm25s

        self.size = len(texts)
        self._index = bm25s.BM25(k1=k1, b=b)
        self._index.index([words(text) or [""] for text in texts], show_progress=False)
        self._vocabulary = self._index.vocab_dict

    def scores(self, query: str) -> np.ndarray:
        """Score of every document, at least 0: float64 [documents]."""
        tokens = [self._vocabulary[word] for word in words(query) if word in self._vocabulary]
        if not tokens:
            return np.zeros(self.size)
        scores: np.ndarray = self._index.get_scores_from_ids(tokens).astype(np.float64)
        return scores
