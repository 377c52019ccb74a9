"""Passages, `DOC#3`, judged as the documents that they were cut from: the best passage of a document counts."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tamis.records import Candidates, Document

_PASSAGE: Final = re.compile(r"(.+)#[1-9]\d*", re.DOTALL)
"""As `corpus.passages` numbers them."""

Grades = Mapping[str, int]
"""Grade of each judged document by id."""


def document_of(doc_id: str) -> str:
    """The document that a passage was cut from, by its id; empty where that is no passage's."""
    found = _PASSAGE.fullmatch(doc_id)
    return found[1] if found else ""


def passages_in(documents: Mapping[str, Document], judged: Collection[str]) -> dict[str, Document]:
    """What is searched where judgements name documents that the corpus has in passages only.

    Args:
        documents: Those of the corpus by id.
        judged: Ids that the judgements name.

    Returns:
        All of them by id, each passage with the document that it was cut from; nothing where no judged document is
        there in passages only: ids that merely look like those of passages, as in MIRACL, stay as they are.
    """
    parents = {doc_id: document_of(doc_id) for doc_id in documents}
    cut = {*parents.values()} - documents.keys()
    if cut.isdisjoint(judged):
        return {}
    return {
        doc_id: replace(document, document=parents[doc_id] if parents[doc_id] in cut else "")
        for doc_id, document in documents.items()
    }


def whole_documents(passages: Mapping[str, Document]) -> dict[str, Document]:
    """The documents that passages were cut from, and those that were not cut, by id.

    The text of a document is that of its passages, one below the other.
    """
    parts: dict[str, list[Document]] = {}
    for doc_id, passage in passages.items():
        parts.setdefault(passage.document or doc_id, []).append(passage)
    return {
        doc_id: replace(some[0], doc_id=doc_id, document="", text="\n".join(passage.text for passage in some))
        for doc_id, some in parts.items()
    }


def grades_of_documents(grades: Grades, passages: Mapping[str, Document]) -> dict[str, int]:
    """Judgements of documents and passages as those of documents: the best grade of a document counts."""
    found: dict[str, int] = {}
    for doc_id, grade in grades.items():
        whole = (passages[doc_id].document or doc_id) if doc_id in passages else doc_id
        found[whole] = max(grade, found.get(whole, grade))
    return found


def grades_of_passages(grades: Grades, parts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Judgements of documents and passages as those of passages.

    Args:
        grades: As the set has them.
        parts: The passages of each document that was cut.

    Returns:
        A passage's own grade, or that of its document.
    """
    inherited = {part: grade for doc_id, grade in grades.items() for part in parts.get(doc_id, [doc_id])}
    return inherited | {doc_id: grade for doc_id, grade in grades.items() if doc_id in inherited}


def parts_of(passages: Mapping[str, Document]) -> dict[str, list[str]]:
    """The passages of each document that was cut, by its id."""
    parts: dict[str, list[str]] = {}
    for doc_id, passage in passages.items():
        if passage.document:
            parts.setdefault(passage.document, []).append(doc_id)
    return parts


def notes_of(passages: Mapping[str, Document]) -> tuple[str, ...]:
    """What a reader of the figures should know of passages; nothing where there are none."""
    parts = parts_of(passages)
    if not parts:
        return ()
    cut = sum(map(len, parts.values()))
    return (f"{len(parts):,} documents are there in {cut:,} passages; each counts with its best passage",)


def best_of_each(doc_ids: Iterable[str], whole: Mapping[str, str]) -> list[str]:
    """A ranking of passages as one of documents: each stands where its best passage stood.

    Args:
        doc_ids: Best first.
        whole: The document of each passage; what is not there stays as it is.
    """
    return list(dict.fromkeys(whole.get(doc_id, doc_id) for doc_id in doc_ids))


def of_whole_documents(found: Candidates, documents: Collection[str], known: Collection[str]) -> Candidates:
    """Candidates with passages of documents that the corpus holds whole put back together, the best one first.

    Args:
        found: Of a run, best first.
        documents: Ids of whole documents.
        known: Ids that stay as they are.
    """
    scores: dict[str, float] = {}
    for doc_id, score in zip(found.doc_ids, found.scores, strict=True):
        whole = document_of(doc_id)
        scores.setdefault(whole if doc_id not in known and whole in documents else doc_id, score)
    return Candidates(found.query_id, tuple(scores), tuple(scores.values()))
