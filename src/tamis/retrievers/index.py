"""Indexes: documents that are searched together, and what BM25, dense search and both find on them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.formulas.arrays import VectorArray
from tamis.formulas.ranking import fuse, reciprocal_rank_fusion, tie_key
from tamis.records import Candidates, Document
from tamis.retrievers.bm25 import Bm25
from tamis.retrievers.dense import QUERIES, TieKeys, TopK, exact_scores, search_dense, settle
from tamis.retrievers.hnsw import Hnsw
from tamis.retrievers.vectors import Matrix, Places, matrix_of, part_of

FIRST_STAGES = ("bm25", "dense", "hybrid")
"""BM25, dense retrieval, and the fusion of both."""

WEIGHTS = (0.5, 1.0)
"""Default weights of the z-scores of BM25 and dense in the hybrid."""

FUSED = 1000
"""Documents of each first stage that the fusion looks at."""

IndexKey = tuple[str, str]
"""Origin, and language of the query."""

Heads = dict[str, list[TopK]]
"""The best documents for each query, by `bm25`, `dense` or `hybrid`."""

Languages = Literal["same", "cross", "any"]
"""Documents of the query's language, of all others, or of all."""


@dataclass(frozen=True)
class Searching:
    """How indexes are searched.

    Attributes:
        k1: BM25's saturation.
        b: BM25's length normalisation.
        languages: Which documents a query searches.
        weights: Weights of the z-scores of BM25 and dense in the hybrid; None: reciprocal rank fusion.
        index: `exact`, or `faiss` for an approximate index of the vectors.
    """

    k1: float = 0.9
    b: float = 0.4
    languages: Languages = "same"
    weights: tuple[float, float] | None = WEIGHTS
    index: Literal["exact", "faiss"] = "exact"


@dataclass(frozen=True)
class QueryBatch:
    """Queries of one index.

    Attributes:
        query_ids: Their ids, which break ties.
        texts: Their texts, [queries].
        vectors: Their embeddings, [queries, hidden], rows of norm 1.
    """

    query_ids: Sequence[str]
    texts: Sequence[str]
    vectors: Matrix

    def part(self, start: int, end: int) -> "QueryBatch":
        """The queries from `start` to `end`."""
        return QueryBatch(self.query_ids[start:end], self.texts[start:end], self.vectors[start:end])

    def groups(self) -> Iterator["QueryBatch"]:
        """The queries, as many at a time as are searched together."""
        for start in range(0, len(self.query_ids), QUERIES):
            yield self.part(start, start + QUERIES)


@dataclass(frozen=True)
class Index:
    """Documents that are searched together.

    Attributes:
        doc_ids: Their ids; document i of everything below is the i-th.
        bm25: Lexical index.
        vectors: [documents, hidden], rows of norm 1.
        how: How it is searched.
    """

    doc_ids: tuple[str, ...]
    bm25: Bm25
    vectors: Matrix
    how: Searching

    @cached_property
    def place(self) -> dict[str, int]:
        """Number of each document by id."""
        return {doc_id: number for number, doc_id in enumerate(self.doc_ids)}

    def search(
        self, asked: QueryBatch, depth: int, wanted: Sequence[str] = FIRST_STAGES
    ) -> Iterator[dict[str, Candidates]]:
        """What first stages find.

        Args:
            asked: The queries.
            depth: Documents per query and first stage at most.
            wanted: Some of `FIRST_STAGES`; only these are worked out.

        Yields:
            For each query, in order, min(depth, documents) documents by name of the first stage. Where BM25 finds
            fewer, documents without a word of the query follow in an order that only chance decides.
        """
        for group in asked.groups():
            yield from self.finish(group, self.heads(group, depth, stages_below(wanted)), depth, wanted)

    def heads(self, asked: QueryBatch, depth: int, stages: Sequence[str]) -> Heads:
        """The best documents by `bm25`, `dense` or both, for each query: as many as `finish` looks at."""
        looked = max(FUSED, depth)
        keys = [self._keys(query_id) for query_id in asked.query_ids]
        heads: Heads = {}
        if "dense" in stages:
            search = search_dense if self._hnsw is None else self._hnsw.search
            heads["dense"] = search(_whole_vectors(asked), self.vectors, looked, keys)
        if "bm25" in stages:
            heads["bm25"] = [self.bm25.head(text, looked, key) for text, key in zip(asked.texts, keys, strict=True)]
        return heads

    def join(self, asked: QueryBatch, parts: Sequence[tuple[int, Heads]], depth: int) -> Heads:
        """The heads of the whole index, of those of its parts; each with the number of its part's first document.

        A document's score does not depend on the company in which it was searched, and the best of the whole are among
        the best of the parts.
        """
        looked = max(FUSED, depth)
        heads: Heads = {}
        for name in {name for _, found in parts for name in found}:
            own = [(first, found[name]) for first, found in parts if name in found]
            heads[name] = [
                settle(
                    np.concatenate([first + found[number].places for first, found in own]),
                    np.concatenate([found[number].scores for _, found in own]),
                    looked,
                    self._keys(query_id),
                )
                for number, query_id in enumerate(asked.query_ids)
            ]
        return heads

    def finish(
        self, asked: QueryBatch, heads: Heads, depth: int, wanted: Sequence[str]
    ) -> Iterator[dict[str, Candidates]]:
        """As `search`, of the heads that `heads` found."""
        keys = [self._keys(query_id) for query_id in asked.query_ids]
        if "hybrid" in wanted:
            fused = self._fuse(asked.texts, _whole_vectors(asked), heads["bm25"], heads["dense"], depth, keys)
            heads = {**heads, "hybrid": fused}
        for number, query_id in enumerate(asked.query_ids):
            found = {name: heads[name][number] for name in wanted}
            if "bm25" in wanted:
                found["bm25"] = self._filled(found["bm25"], depth, keys[number])
            yield {name: self._candidates(query_id, head, depth) for name, head in found.items()}

    @cached_property
    def _hnsw(self) -> Hnsw | None:
        return Hnsw(self.vectors) if self.how.index == "faiss" else None

    def _fuse(
        self,
        texts: Sequence[str],
        vectors: VectorArray,
        bm25: Sequence[TopK],
        dense: Sequence[TopK],
        depth: int,
        keys: Sequence[TieKeys],
    ) -> list[TopK]:
        """The best by the hybrid's scores of all that either head of a query holds."""
        pairs = list(zip(bm25, dense, strict=True))
        places = [np.union1d(one.places, other.places) for one, other in pairs]
        if self.how.weights is None:
            scores = [
                reciprocal_rank_fusion([_whole(head, some) for head in pair], documents=len(self.doc_ids))
                for pair, some in zip(pairs, places, strict=True)
            ]
        else:
            lexical = [self.bm25.scores_of(text, some) for text, some in zip(texts, places, strict=True)]
            cosines = self._cosines(vectors, dense, places)
            scores = [fuse(parts, self.how.weights) for parts in zip(lexical, cosines, strict=True)]
        return [settle(some, fused, depth, key) for some, fused, key in zip(places, scores, keys, strict=True)]

    def _cosines(
        self, vectors: VectorArray, dense: Sequence[TopK], places: Sequence[Places]
    ) -> list[NDArray[np.float64]]:
        """Exact dense scores; places ascend and hold those of the head, whose scores are exact already."""
        scores = [_whole(head, some) for head, some in zip(dense, places, strict=True)]
        unknown = [np.isneginf(known) for known in scores]
        missing = [some[where] for some, where in zip(places, unknown, strict=True)]
        for known, where, found in zip(scores, unknown, exact_scores(vectors, self.vectors, missing), strict=True):
            known[where] = found
        return scores

    def _filled(self, head: TopK, depth: int, keys: TieKeys) -> TopK:
        if len(head.places) >= min(depth, len(self.doc_ids)):
            return head
        others = np.setdiff1d(np.arange(len(self.doc_ids)), head.places)
        others = others[np.argsort(keys(others), kind="stable")[: depth - len(head.places)]]
        return TopK(np.concatenate([head.places, others]), np.concatenate([head.scores, np.zeros(len(others))]))

    def _keys(self, query_id: str) -> TieKeys:
        return lambda places: np.array([tie_key(query_id, self.doc_ids[i]) for i in places.tolist()], np.int64)

    def _candidates(self, query_id: str, head: TopK, depth: int) -> Candidates:
        doc_ids = tuple(self.doc_ids[i] for i in head.places[:depth].tolist())
        return Candidates(query_id, doc_ids, tuple(head.scores[:depth].tolist()))

    def part(self, places: Places) -> "Index":
        """The index with these documents only, [documents]."""
        doc_ids = tuple(self.doc_ids[i] for i in places.tolist())
        return replace(self, doc_ids=doc_ids, bm25=self.bm25.part(places), vectors=part_of(self.vectors, places))


class IndexSet:
    """All documents, and which of them a query searches."""

    def __init__(
        self, indexes: Mapping[IndexKey, Index], languages: Mapping[str, Sequence[str]], how: Searching
    ) -> None:
        """Keep indexes by origin and language, or by origin and `""` for all languages.

        Args:
            indexes: The indexes.
            languages: Language of each document of an index of all languages, by origin.
            how: How they are searched.
        """
        self._indexes = dict(indexes)
        self._languages = languages
        self.how = how

    def get(self, origin: str, language: str) -> Index | None:
        """What a query of this origin and language searches; None where there is no document."""
        if self.how.languages == "any":
            language = ""
        key = (origin, language)
        if key not in self._indexes and self.how.languages == "cross" and origin in self._languages:
            others = np.flatnonzero(np.array(self._languages[origin]) != language)
            if len(others):
                self._indexes[key] = self._indexes[origin, ""].part(others)
        return self._indexes.get(key)

    def whole(self, origin: str, language: str) -> Index:
        """The index of which `get` shows a query a part or all: its seed document stands there too."""
        return self._indexes[origin, language if self.how.languages == "same" else ""]


def build_indexes(
    documents: Iterable[Document], vectors: Mapping[str, VectorArray] | None, how: Searching = Searching()
) -> IndexSet:
    """Sort documents onto indexes.

    Args:
        documents: The corpus.
        vectors: Embedding of each document by id, [hidden], of norm 1; None where only BM25 will be asked.
        how: How they will be searched.

    Raises:
        KeyError: a document without a vector.
    """
    groups: dict[IndexKey, list[Document]] = {}
    for document in documents:
        language = document.language if how.languages == "same" else ""
        groups.setdefault((document.origin, language), []).append(document)
    for group in groups.values():
        # As their vectors lie in the file where they were embedded together: neighbours are read at once.
        group.sort(key=lambda document: (len(document.text), document.text))
    indexes = {
        key: Index(
            tuple(document.doc_id for document in group),
            Bm25((document.text for document in group), how.k1, how.b),
            np.zeros((len(group), 0), np.float32)
            if vectors is None
            else matrix_of(vectors, [document.doc_id for document in group]),
            how,
        )
        for key, group in groups.items()
    }
    languages = {origin: [d.language for d in group] for (origin, _), group in groups.items()}
    return IndexSet(indexes, languages, how)


def stages_below(wanted: Sequence[str]) -> tuple[str, ...]:
    """The first stages whose heads some of `FIRST_STAGES` are made of: the hybrid of both others."""
    return tuple(name for name in ("bm25", "dense") if name in wanted or "hybrid" in wanted)


def _whole_vectors(asked: QueryBatch) -> VectorArray:
    return np.ascontiguousarray(asked.vectors[:], np.float32)


def _whole(head: TopK, places: Places) -> NDArray[np.float64]:
    """Scores of a head, [places], -inf for documents that it does not hold; places ascend and hold the head's."""
    scores = np.full(len(places), -np.inf)
    scores[np.searchsorted(places, head.places)] = head.scores
    return scores
