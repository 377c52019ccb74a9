"""Exact dense retrieval: matrix products over blocks, whose memory depends on the blocks and not on the corpus."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.formulas.arrays import VectorArray
from tamis.formulas.ranking import rank_order
from tamis.retrievers.vectors import Matrix, Places

ExactScores = NDArray[np.float64]

TieKeys = Callable[[Places], Places]
"""Gives the number by which ties of some documents are broken, the lower first: places to int64."""

DOCUMENTS = 16_384
"""Documents a block."""
QUERIES = 1_024
"""Queries that are searched together: how often the documents are read. Their products with a block take 64 MiB."""


class TopK(NamedTuple):
    """The best documents for one query, best first.

    Attributes:
        places: Number of each document on its index, [n].
        scores: Its score, descending, [n].
    """

    places: Places
    scores: ExactScores


def search_dense(
    queries: VectorArray, documents: Matrix, depth: int, keys: Sequence[TieKeys], document_block: int = DOCUMENTS
) -> list[TopK]:
    """Find the documents with the largest inner products, exactly.

    float32 products choose who may be among the best, within their rounding error; float64 products of those few
    decide. So neither the size of the blocks nor a document's place changes a bit of the result; equal vectors tie.
    The documents are read twice, block by block; memory does not depend on their number.

    Args:
        queries: [queries, hidden], rows of norm 1 at most; at most `QUERIES` of them, for what they take together.
        documents: [documents, hidden], rows of norm 1 at most.
        depth: Documents per query at most, at least 1.
        keys: What breaks the ties of each query, [queries].
        document_block: Documents whose products are taken at once.

    Returns:
        The head of each query, with min(depth, documents) documents.
    """
    races = [_Race(query, documents, depth, key) for query, key in zip(queries, keys, strict=True)]
    ours = torch.from_numpy(queries)
    for start, block in _blocks(documents, document_block):
        for race, products in zip(races, (ours @ torch.from_numpy(block).T).numpy(), strict=True):
            race.enter(start, products)
    left = [race.left() for race in races]
    exact = exact_scores(queries, documents, left, document_block)
    return [settle(places, scores, depth, key) for places, scores, key in zip(left, exact, keys, strict=True)]


def exact_scores(
    queries: VectorArray, documents: Matrix, places: Sequence[Places], document_block: int = DOCUMENTS
) -> list[ExactScores]:
    """Inner products of queries with chosen documents, each summed by itself in float64.

    Args:
        queries: [queries, hidden].
        documents: [documents, hidden], read once, block by block.
        places: Documents of each query, ascending, [n] each.
        document_block: Documents read at once.

    Returns:
        Scores [n] for each query.
    """
    ours = queries.astype(np.float64)
    scores = [np.empty(len(some)) for some in places]
    for start, block in _blocks(documents, document_block):
        for query, some, found in zip(ours, places, scores, strict=True):
            first, last = np.searchsorted(some, (start, start + len(block)))
            # Not by a matrix product, whose last bits depend on the company of a row. The query makes it float64.
            found[first:last] = (block[some[first:last] - start] * query).sum(axis=1)
    return scores


def settle(places: Places, scores: ExactScores, depth: int, keys: TieKeys) -> TopK:
    """The `depth` best of documents [n] with their scores [n], best first."""
    best = best_of(scores, depth, lambda some: keys(places[some]))
    places, scores = places[best], scores[best]
    _, group, shared_by = np.unique(scores, return_inverse=True, return_counts=True)
    tied = np.flatnonzero(shared_by[group] > 1)
    broken = np.zeros(len(best), np.int64)
    broken[tied] = keys(places[tied])  # hashing takes longer than sorting: only where it decides
    order = rank_order(scores, broken)
    return TopK(places[order], scores[order])


def best_of(scores: NDArray[np.floating], depth: int, keys: TieKeys) -> Places:
    """Places of the `depth` largest of scores [n], in no order; the border's ties are broken by their keys."""
    if len(scores) <= depth:
        return np.arange(len(scores))
    border = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    above = np.flatnonzero(scores > border)
    tied = np.flatnonzero(scores == border)
    room = depth - len(above)
    if len(tied) > room:
        tied = tied[np.argsort(keys(tied), kind="stable")[:room]]
    return np.concatenate([above, tied])


def _blocks(documents: Matrix, size: int) -> Iterator[tuple[int, VectorArray]]:
    for start in range(0, len(documents), size):
        yield start, np.ascontiguousarray(documents[start : start + size], np.float32)


class _Race:
    """The documents that may still be among the best of one query, while the blocks go by."""

    def __init__(self, query: VectorArray, documents: Matrix, depth: int, keys: TieKeys) -> None:
        self._query, self._documents, self._depth, self._keys = query, documents, depth, keys
        # A float32 inner product of n terms of unit vectors is off by n eps / 2 at most, so two of them by n eps
        # against each other; twice that, as the border is a float32 number too.
        self._slack = np.float32(2 * len(query) * np.finfo(np.float32).eps)
        self._border = np.float32(-np.inf)
        self._products = np.zeros(0, np.float32)
        self._places: Places = np.zeros(0, np.int64)

    def enter(self, first: int, products: VectorArray) -> None:
        """Let in whoever may be among the best; `products` [block] belong to the documents from `first` on."""
        let_in = np.flatnonzero(products >= self._border)
        if not len(let_in):
            return
        self._places = np.concatenate([self._places, let_in + first])
        self._products = np.concatenate([self._products, products[let_in]])
        if len(self._places) > 2 * self._depth:  # not at every block: sorting them out takes longer than letting in
            self._send_home()

    def left(self) -> Places:
        """Numbers of those that are left, ascending."""
        if len(self._places) > self._depth:
            self._send_home()
        return np.sort(self._places)

    def _send_home(self) -> None:
        """Forget who cannot be among the best any more."""
        nth = len(self._products) - self._depth
        self._border = np.partition(self._products, nth)[nth] - self._slack
        stay = self._products >= self._border
        self._places, self._products = self._places[stay], self._products[stay]
        if len(self._places) > 2 * self._depth:  # too many that are too close to tell apart in float32
            places = np.sort(self._places)
            (scores,) = exact_scores(self._query[None], self._documents[places], [np.arange(len(places))])
            self._places, scores = settle(places, scores, self._depth, self._keys)
            self._products = scores.astype(np.float32)
