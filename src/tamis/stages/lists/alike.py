"""Which documents say the same, by the vectors of the first stage's bi-encoder, or by their words."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tamis.formulas.arrays import VectorArray
from tamis.formulas.clusters import clusters, directions
from tamis.formulas.overlap import jaccard, near_duplicates, shingles
from tamis.formulas.ranking import tie_key
from tamis.records import Document
from tamis.retrievers.vectors import matrix_of
from tamis.stages.corpus.overlaps import DOCUMENT_SHINGLE, NEAR_COPY
from tamis.stages.lists.draw import Alike

NEIGHBOURS: Final = 0.5
"""Cosine, the mean of the language taken off, from which documents ask on one side of the split. Of the Debian FAQ's
translations 95 % are nearer than that, of its other pairs one in 1,700 (docs/log.md)."""

TWINS: Final = 0.75
"""Cosine from which a document of the same language repeats another; of another language, `NEIGHBOURS` does."""

SAMPLE: Final = 10_000
"""Documents of a language, at most, whose mean is taken for that of all."""


def alike_documents(own: Sequence[str], documents: Mapping[str, Document], vectors: Mapping[str, VectorArray]) -> Alike:
    """What `draw_lists` needs to know of the documents that queries were written from.

    Clusters are made of those whose queries are held out by cluster: none of a target that is asked about whole. The
    work grows with their number times that of the clusters, a second for some five thousand.

    Args:
        own: Their ids, each once; their order does not count.
        documents: All documents by id.
        vectors: Vectors of all documents, each [size], of norm 1.
    """
    if not own:
        return Alike()
    ids = sorted(own, key=lambda doc_id: tie_key("cluster", doc_id))
    means = _means(ids, documents, vectors)
    target = {doc_id for doc_id, document in documents.items() if document.origin == "target"}
    covered = len(target.intersection(ids)) / max(len(target), 1)

    def near(doc_ids: Sequence[str]) -> VectorArray:
        raw = np.asarray(matrix_of(vectors, doc_ids)[:])
        return directions(raw, [documents[doc_id].language for doc_id in doc_ids], means)

    def repeats(seed: str, doc_ids: Sequence[str]) -> NDArray[np.bool_]:
        cosines = near(doc_ids) @ near([seed])[0]
        spoken = documents[seed].language
        bounds = [TWINS if documents[doc_id].language == spoken else NEIGHBOURS for doc_id in doc_ids]
        return np.asarray(cosines >= np.array(bounds)) | _of_one_document(seed, doc_ids, documents)

    deciding = [doc_id for doc_id in ids if covered < 1 or doc_id not in target]
    return Alike(_clusters(deciding, near(deciding)) if deciding else {}, covered, repeats)


def alike_texts(own: Sequence[str], documents: Mapping[str, Document]) -> Alike:
    """The same by words alone, where there is no bi-encoder: near copies, and no translation.

    Args:
        own: Ids of the documents that queries were written from, each once.
        documents: These and all that they are compared with, by id.
    """
    held = lru_cache(maxsize=256)(lambda doc_id: shingles(documents[doc_id].text, DOCUMENT_SHINGLE))

    def repeats(seed: str, doc_ids: Sequence[str]) -> NDArray[np.bool_]:
        near = [jaccard(held(seed), held(doc_id)) >= NEAR_COPY for doc_id in doc_ids]
        return np.array(near, dtype=bool) | _of_one_document(seed, doc_ids, documents)

    copies = near_duplicates({doc_id: documents[doc_id].text for doc_id in own}, NEAR_COPY, DOCUMENT_SHINGLE)
    return Alike(copies, repeats=repeats)


def _of_one_document(seed: str, doc_ids: Sequence[str], documents: Mapping[str, Document]) -> NDArray[np.bool_]:
    """Which are passages of the seed's document: what answers its query may be said there too, [doc_ids]."""
    of = documents[seed].document
    return np.array([bool(of) and documents[doc_id].document == of for doc_id in doc_ids], dtype=bool)


def _means(
    ids: Sequence[str], documents: Mapping[str, Document], vectors: Mapping[str, VectorArray]
) -> dict[str, VectorArray]:
    """Mean vector of each language, of the first documents in it."""
    by_language: dict[str, list[str]] = {}
    for doc_id in ids:
        by_language.setdefault(documents[doc_id].language, []).append(doc_id)
    return {
        language: np.asarray(matrix_of(vectors, own[:SAMPLE])[:]).mean(axis=0) for language, own in by_language.items()
    }


def _clusters(ids: Sequence[str], near: VectorArray) -> dict[str, str]:
    """By document, the one that began its cluster."""
    labels = clusters(near, NEIGHBOURS).tolist()
    first = {label: doc_id for label, doc_id in reversed(list(zip(labels, ids, strict=True)))}
    return {doc_id: first[label] for label, doc_id in zip(labels, ids, strict=True)}
