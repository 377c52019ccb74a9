"""`tamis index`: the documents of a corpus are read once by a warm model, and what it made of them is kept."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tamis.errors import InputError, ModelError
from tamis.formats.documents import Corpus
from tamis.models.arguments import listed
from tamis.models.checkpoint import model_identity
from tamis.models.known.documents import CATALOGUE, IndexFacts, KnownDocuments, checked_ids, facts_of_file
from tamis.models.known.values import VALUES, factors_of
from tamis.models.known.writing import Entry, IndexWriter, create_index, open_index
from tamis.models.reranker import Reranker
from tamis.models.warm_scorer import WarmScorer
from tamis.progress import track
from tamis.records import Document

BATCH: Final = 256
"""Documents read between two writes: what a kill can lose."""

_SAMPLE: Final = 32
"""Documents that the factors of 8 bits are taken from."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of a corpus.

    Attributes:
        new: Documents that were not there.
        changed: Ids of those that were there with another text.
        same: Documents that were there as they are.
        deleted: Documents that the corpus no longer holds.
        left_out: Of the corpus by reason: what gives no document.
        cut: Documents that are longer than the model reads.
        documents: In the index now.
        tokens: Of all texts in the index, each once.
        values: Form of the states.
        bytes: On disk.
        read: Texts whose states were computed.
        seconds: That took.
    """

    new: int
    changed: list[str]
    same: int
    deleted: int
    left_out: Mapping[str, int]
    cut: int
    documents: int
    tokens: int
    values: str
    bytes: int
    read: int
    seconds: float


def index_corpus(
    reranker: Reranker, corpus: Path, folder: Path, values: str | None = None, prune: bool = False
) -> Indexed:
    """Put the documents of a corpus into an index, which is made where there is none.

    Documents are kept batch by batch: a killed call goes on where it was. One whose id is there with another text takes
    its place.

    Args:
        reranker: A warm model.
        corpus: See `Corpus`.
        folder: The index.
        values: Form of the states, `float16` or `int8`; None for that of the index, or float16 where it is new.
        prune: Also delete documents that the corpus lacks.

    Raises:
        InputError: the corpus cannot be read, or an index of another model or form.
        ModelError: a model of another family.
        RunError: the disk fails, or another process writes there.
    """
    scorer = warm_scorer(reranker)
    _check_place(Path(reranker.path), folder)
    found = Corpus(corpus)
    read = list(found.documents("target"))
    documents = [one for one in read if isinstance(one, Document)]
    left_out = Counter(one.reason for one in read if not isinstance(one, Document))
    if not documents:
        raise InputError(f"{corpus}: no document can be read")
    _find_index(reranker, scorer, documents, folder, values)
    files = {str(file.resolve()): facts_of_file(file) for file in found.files}
    with open_index(folder) as writer:
        told = _keep(writer, scorer, documents)
        if prune:
            told = replace(told, deleted=writer.delete({*writer.ids()} - {one.doc_id for one in documents}))
        writer.source(corpus.resolve(), files, prune)
        writer.tidy()
    return replace(told, left_out=dict(left_out), **_size(folder))


def warm_scorer(reranker: Reranker) -> WarmScorer:
    """What reads and scores for a warm model.

    Raises:
        ModelError: a model of another family.
    """
    if not isinstance(reranker.scorer, WarmScorer):
        raise ModelError(
            f"{reranker.path}: an index is for warm models, such as tamis-base; one of the family {reranker.family} "
            "reads both texts together from the start, and has nothing to keep"
        )
    return reranker.scorer


def delete_documents(folder: Path, ids: Iterable[str]) -> int:
    """Delete documents from an index; returns how many of them were there.

    Raises:
        InputError: there is no index, or what is no list of ids.
        RunError: the disk fails, or another process writes there.
    """
    given = checked_ids(listed("ids", ids, "strings"))
    with open_index(folder) as writer:
        there = set(writer.ids())
        count = writer.delete([one for one in given if one in there])
        writer.tidy()
    return count


def _check_place(model: Path, folder: Path) -> None:
    """Refuse a folder inside the model's own, which would be another model then, and a name that is none."""
    try:
        folder.exists()  # asks the system, which says what it thinks of the name
        inside = model.is_dir() and folder.resolve().is_relative_to(model.resolve())
    except OSError as error:
        raise InputError(f"{folder}: cannot be a folder: {error.strerror}; name another one") from None
    if inside:
        raise InputError(f"{folder}: lies in the folder of the model, which would be another model then; name another")


def _find_index(
    reranker: Reranker, scorer: WarmScorer, documents: Sequence[Document], folder: Path, values: str | None
) -> None:
    """See to it that there is an index of this model and form."""
    if values is not None and values not in VALUES:
        raise InputError(f"--values {values}: expected {' or '.join(VALUES)}")
    identity = model_identity(Path(reranker.path))
    if not (folder / CATALOGUE).exists():
        sample = documents[: _SAMPLE if values == "int8" else 1]
        states = scorer.student.read([row.document for row in _rows(scorer, sample)])
        tokens = np.concatenate([one.float().cpu().numpy() for one in states])
        factors = tuple(factors_of(tokens).tolist()) if values == "int8" else ()
        name = str(reranker.path)
        create_index(folder, IndexFacts(identity, name, tokens.shape[1], values or "float16", factors))
        return
    known = KnownDocuments(folder)
    known.close()
    known.check_model(identity, str(reranker.path))
    if values not in (None, known.facts.values):
        raise InputError(f"--values {values}: {folder} holds {known.facts.values}; leave it out, or make another index")


def _rows(scorer: WarmScorer, documents: Sequence[Document]) -> list[Any]:
    """What the model reads of documents."""
    return scorer.encode([("", one.text) for one in documents])


def _keep(writer: IndexWriter, scorer: WarmScorer, documents: Sequence[Document]) -> Indexed:
    """Put documents into an index, batch by batch."""
    started = time.perf_counter()
    new = same = cut = read = 0
    changed: list[str] = []
    with track("reading documents", len(documents)) as advance:
        for start in range(0, len(documents), BATCH):
            batch = documents[start : start + BATCH]
            there = writer.keys([one.doc_id for one in batch])
            wanted = [one for one in batch if one.doc_id not in there or there[one.doc_id][1] != one.text]
            new += sum(one.doc_id not in there for one in wanted)
            changed += [one.doc_id for one in wanted if one.doc_id in there]
            same += len(batch) - len(wanted)
            rows = _rows(scorer, wanted) if wanted else []
            cut += sum(row.cut for row in rows)
            unread = writer.unread(row.document for row in rows)
            states = dict(zip(unread, scorer.student.read(unread), strict=True))
            entries = [Entry(one.doc_id, one.text, row.document) for one, row in zip(wanted, rows, strict=True)]
            writer.put(entries, states)
            read += len(unread)
            advance(len(batch))
    seconds = time.perf_counter() - started
    return Indexed(new, changed, same, 0, {}, cut, 0, 0, writer.facts.values, 0, read, seconds)


def _size(folder: Path) -> dict[str, Any]:
    """Documents, tokens and bytes of an index."""
    known = KnownDocuments(folder)
    found = {"documents": len(known), "tokens": known.tokens}
    known.close()
    return {**found, "bytes": sum(file.stat().st_size for file in folder.iterdir())}
