"""Which documents say the same, by the vectors of the first stage's bi-encoder."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tamis.formulas.clusters import clusters, directions, group_means
from tamis.formulas.ranking import tie_key
from tamis.records import Document
from tamis.retrievers.vectors import Floats, matrix_of
from tamis.stages.lists import Alike

NEIGHBOURS: Final = 0.5
"""Cosine, the mean of the language taken off, from which documents ask on one side of the split. Of the Debian FAQ's
translations 95 % are nearer than that, of its other pairs one in 1,700 (docs/log.md)."""

TWINS: Final = 0.75
"""The same from which a document of the same language repeats another; of another language, `NEIGHBOURS` does."""


def alike_documents(own: Sequence[str], documents: Mapping[str, Document], vectors: Mapping[str, Floats]) -> Alike:
    """What `draw_lists` needs to know of the documents that queries were written from.

    Args:
        own: Their ids, each once; their order does not count.
        documents: All documents by id.
        vectors: Of all documents, of norm 1.
    """
    if not own:
        return Alike()
    ids = sorted(own, key=lambda doc_id: tie_key("cluster", doc_id))
    languages = [documents[doc_id].language for doc_id in ids]
    raw = np.asarray(matrix_of(vectors, ids)[:])
    means = group_means(raw, languages)
    near = directions(raw, languages, means)
    labels = clusters(near, NEIGHBOURS)
    first = {int(label): ids[row] for row, label in reversed(list(enumerate(labels)))}
    place = {doc_id: row for row, doc_id in enumerate(ids)}

    def repeats(seed: str, doc_ids: Sequence[str]) -> NDArray[np.bool_]:
        spoken = [documents[doc_id].language for doc_id in doc_ids]
        cosines = directions(np.asarray(matrix_of(vectors, doc_ids)[:]), spoken, means) @ near[place[seed]]
        bounds = [TWINS if language == documents[seed].language else NEIGHBOURS for language in spoken]
        return np.asarray(cosines >= np.array(bounds))

    target = {doc_id for doc_id, document in documents.items() if document.origin == "target"}
    covered = len(target.intersection(ids)) / max(len(target), 1)
    return Alike({doc_id: first[int(label)] for doc_id, label in zip(ids, labels, strict=True)}, covered, repeats)
