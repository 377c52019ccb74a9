"""Lexical retrieval: bm25s over words that are right for scripts without spaces, too."""

import os
from array import array
from collections.abc import Callable, Iterable
from copy import copy

import numpy as np
from numpy.typing import NDArray

from tamis.retrievers.dense import TieKeys, TopK, settle
from tamis.retrievers.vectors import Places
from tamis.text import terms

Split = Callable[[str], list[str]]
"""Text to the terms of the index."""


class Bm25:
    """BM25 over a fixed list of documents (Robertson's k1 and b, Lucene's idf: bm25s' default method).

    Attributes:
        size: Number of documents.
    """

    def __init__(self, texts: Iterable[str], k1: float, b: float, split: Split = terms) -> None:
        """Index `texts`; document i is the i-th text. Another way to split than ours is for measuring ours."""
        # bm25s tries JAX where it is installed, and JAX takes three quarters of a GPU at its first product.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import bm25s

        self._split = split
        vocabulary: dict[str, int] = {}
        # As numbers, four bytes each: a million documents of strings would not fit where their index does.
        documents = [
            array("i", (vocabulary.setdefault(term, len(vocabulary)) for term in split(text) or [""])) for text in texts
        ]
        self.size = len(documents)
        self._index = bm25s.BM25(k1=k1, b=b)
        self._index.index((documents, vocabulary), show_progress=False)
        self._vocabulary = vocabulary
        self._places: Places | None = None

    def part(self, places: Places) -> "Bm25":
        """This index with these documents only, [documents]; the weights of words stay those of the whole."""
        seen = copy(self)
        seen._places, seen.size = places, len(places)
        return seen

    def scores(self, query: str) -> NDArray[np.float64]:
        """Score of every document, at least 0: float64 [documents]."""
        return self._all_scores(query).astype(np.float64)

    def head(self, query: str, depth: int, keys: TieKeys) -> TopK:
        """The best documents that hold a word of the query, at most `depth`, best first.

        bm25s adds up the words' postings; its own choice of the best would break ties by the documents' order.
        """
        scores = self._all_scores(query)
        found = np.flatnonzero(scores)
        return settle(found, scores[found].astype(np.float64), depth, keys)

    def scores_of(self, query: str, places: Places) -> NDArray[np.float64]:
        """Score of some documents [documents], the same bits as in `scores`, from the query's postings alone."""
        wanted = places if self._places is None else self._places[places]
        order = np.argsort(wanted)
        ordered = wanted[order]
        data, indices, ends = (self._index.scores[name] for name in ("data", "indices", "indptr"))
        found = np.zeros(len(wanted), np.float32)
        for token in self._tokens(query):
            postings = indices[ends[token] : ends[token + 1]]  # ascending
            at = np.searchsorted(postings, ordered)
            at[at == len(postings)] = 0
            hit = postings[at] == ordered
            found[order[hit]] += data[ends[token] : ends[token + 1]][at[hit]]
        return found.astype(np.float64)

    def _tokens(self, query: str) -> list[int]:
        return [self._vocabulary[term] for term in self._split(query) if term in self._vocabulary]

    def _all_scores(self, query: str) -> NDArray[np.float32]:
        tokens = self._tokens(query)
        if not tokens:
            return np.zeros(self.size, np.float32)
        scores: NDArray[np.float32] = self._index.get_scores_from_ids(tokens)
        return scores if self._places is None else scores[self._places]
