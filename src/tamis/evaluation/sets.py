"""Judged sets: documents, queries and judgements that belong together, checked before anything is computed."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tamis.errors import InputError
from tamis.evaluation.judged import Question
from tamis.evaluation.passages import (
    Grades,
    best_of_each,
    grades_of_documents,
    grades_of_passages,
    notes_of,
    parts_of,
    passages_in,
    whole_documents,
)
from tamis.formats.qrels import Judgement, grades_of, has_relevant
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Candidates, Document
from tamis.retrievers.index import Languages
from tamis.retrievers.own_ids import OwnIds, own_ids
from tamis.text import quoted

TASK = "task"
"""First stage of the candidates that a reranking task brings."""

PASSAGES = "-passages"
"""Behind the name of a set whose passages are judged as such."""


class SetQueries(NamedTuple):
    """A query of a set, before it is known whether it is judged; see `Question`."""

    text: str
    language: str
    domain: str = ""


@dataclass(frozen=True)
class JudgedSet:
    """Documents, and questions with the judgements that count.

    Attributes:
        name: Names its folder and its column.
        source: What was given on the command line.
        documents: What is judged, by id.
        questions: Those that are judged, by id, in the order of the judgements.
        given: First stages that come with the set, by name.
        notes: What a reader of the figures should know, a line each.
        own: Ids of the questions that are documents themselves; such a document is no candidate of its own question.
        passages: What is searched and scored, by id, where that are passages of the documents; a document then counts
            with its best passage. Empty where the documents are searched themselves.
        passage_grades: Grade of each judged passage by query id, where there are passages.
    """

    name: str
    source: str
    documents: Mapping[str, Document]
    questions: Mapping[str, Question]
    given: Mapping[str, Mapping[str, Candidates]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    passages: Mapping[str, Document] = field(default_factory=dict)
    passage_grades: Mapping[str, Grades] = field(default_factory=dict)

    @property
    def searched(self) -> Mapping[str, Document]:
        """What is searched and scored, by id: the passages, or the documents."""
        return self.passages or self.documents

    @cached_property
    def whole(self) -> Mapping[str, str]:
        """The document of each passage, by the passage's id."""
        return {doc_id: passage.document for doc_id, passage in self.passages.items() if passage.document}

    def text_of(self, doc_id: str) -> str:
        """The text of a passage or document."""
        return (self.passages.get(doc_id) or self.documents[doc_id]).text

    def judged_ranking(self, query_id: str, doc_ids: Sequence[str]) -> Sequence[str]:
        """A ranking, best first, as it is judged: of passages, that of their documents."""
        if not self.passages:
            return doc_ids
        ranked = best_of_each(doc_ids, self.whole)
        return [doc_id for doc_id in ranked if doc_id != query_id or query_id not in self.own]

    @property
    def grades(self) -> dict[str, Mapping[str, int]]:
        """Grade of each judged document by query id and document id."""
        return {query_id: question.relevant for query_id, question in self.questions.items()}

    def fingerprint(self) -> str:
        """Hash of what is searched, with ids and languages, in any order; hex."""
        digest = hashlib.sha256()
        for doc_id in sorted(self.searched):
            document = self.searched[doc_id]
            for part in (doc_id, document.language, document.text):
                raw = part.encode()
                digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()


def join_set(
    name: str,
    source: str,
    documents: Mapping[str, Document],
    queries: Mapping[str, SetQueries],
    judgements: Iterable[Judgement],
    file: Path,
    others: tuple[Path, Path],
    own: bool | None = None,
) -> JudgedSet:
    """Put documents, queries and judgements together.

    Args:
        name: Name of the set.
        source: As it was given.
        documents: By id.
        queries: By id.
        judgements: The judgements in `file`.
        file: Where the judgements stand, for messages.
        others: Where documents and queries stand, for messages.
        own: Whether a question's own id is no candidate of it, as a task says; None: by the ids, see `own_ids`.

    Returns:
        The set. A judged document that the corpus lacks stays judged: it belongs to the best ranking there is.

    Raises:
        InputError: a judgement of a query that is not there, a document with two grades, no judgement; or judgements of
            documents that are not there, where that are all or most of them are written otherwise than the corpus has
            them.
    """
    read = list(judgements)
    for each in read:
        where = f"{file}, line {each.line}"
        if each.query_id not in queries:
            raise _unknown(where, "query", each.query_id, queries, others[1])
    grades = grades_of(read, file)
    if not grades:
        raise InputError(f"{file}: no judgements in it; expected query-id, corpus-id and score, by tabs")
    passages = passages_in(documents, {each.doc_id for each in read})
    documents = whole_documents(passages) if passages else documents
    notes = _lacking(read, {**passages, **documents}, file, others[0])
    if twice := len(read) - sum(map(len, grades.values())):
        notes.append(f"{twice:,} judgements are said twice, with the same grade; each counts once")
    below = [each for each in read if each.grade < 0]
    if below:
        notes.append(
            f"{len(below):,} judgements are below 0, the first on line {below[0].line} of {file}: not relevant, and "
            "Bpref, infAP and judged_only take them for not judged, as trec_eval does"
        )
    parts = parts_of(passages)
    of_passages = {q: grades_of_passages(judged, parts) for q, judged in grades.items()} if passages else {}
    if passages:
        grades = {q: grades_of_documents(judged, passages) for q, judged in grades.items()}
        notes += notes_of(passages)
    questions = {
        q: Question(q, queries[q].text, queries[q].language, judged, queries[q].domain) for q, judged in grades.items()
    }
    unanswered = sum(not has_relevant(question.relevant) for question in questions.values())
    if unanswered:
        notes.append(f"{unanswered:,} questions have no relevant document; they count as 0 in every system")
    found = (
        own_ids(grades, documents) if own is None else OwnIds(frozenset(q for q in grades if own and q in documents))
    )
    notes += _told(found)
    return JudgedSet(
        name,
        source,
        documents,
        questions,
        notes=tuple(notes),
        own=found.ids,
        passages=passages,
        passage_grades=of_passages,
    )


def as_passages(found: JudgedSet) -> JudgedSet:
    """A set of passages judged as such: each has its own grade, or that of its document."""
    questions = {q: replace(question, relevant=found.passage_grades[q]) for q, question in found.questions.items()}
    said = notes_of(found.passages)
    note = "passages are judged as such: one that has no grade of its own has that of its document"
    return replace(
        found,
        name=f"{found.name}{PASSAGES}",
        documents=found.passages,
        questions=questions,
        notes=(*(one for one in found.notes if one not in said), note),
        passages={},
        passage_grades={},
    )


def _lacking(read: Sequence[Judgement], documents: Mapping[str, Document], file: Path, corpus: Path) -> list[str]:
    """A note about judged documents that are not in the corpus, where there are any.

    Raises:
        InputError: the ids do not belong together.
    """
    lacking = {each.doc_id: each for each in reversed(read) if each.doc_id not in documents}
    if not lacking:
        return []
    first = min(lacking.values(), key=lambda each: each.line)
    where = f"{file}, line {first.line}"
    spelt = sum(alike(doc_id, documents) is not None for doc_id in lacking)
    if 2 * spelt > len(lacking) or not any(each.doc_id in documents for each in read):
        first = next((each for each in read if each.doc_id in lacking and alike(each.doc_id, documents)), first)
        raise _unknown(f"{file}, line {first.line}", "document", first.doc_id, documents, corpus)
    return [
        f"{len(lacking):,} judged documents are not in {corpus.name}, the first is {quoted(first.doc_id)} ({where}); "
        "no system can find them, and they count as missed"
    ]


def _told(own: OwnIds) -> list[str]:
    """Notes about questions that have the id of a document."""
    if own.ids:
        return [
            f"{len(own.ids):,} questions are documents of the corpus, by their ids; none is a candidate of its own "
            "question"
        ]
    if own.relevant:
        return [
            f"{own.relevant:,} questions have the id of a document that is relevant to them: questions and documents "
            "are numbered apart, and no candidate is left out for its id"
        ]
    return []


def _unknown(where: str, what: str, wanted: str, known: Mapping[str, object], file: Path) -> InputError:
    """A judgement of something that is not there; says so where the ids differ in form only."""
    hint = alike(wanted, known)
    like = f"; did you mean {hint!r}?" if hint else f", whose ids look like {next(iter(known), '')!r}"
    return InputError(f"{where}: {what} {wanted!r} is not in {file.name}{like} (add it, or remove the line)")


def alike(wanted: str, known: Mapping[str, object]) -> str | None:
    """A known id that is the same number, or the same but for white space and letter case."""
    number = re.fullmatch(r"\s*0*(\d+)(?:\.0+)?\s*", wanted)
    guesses = (number[1] if number else "", wanted.strip(), wanted.lower(), wanted.upper())
    return next((guess for guess in guesses if guess in known), None)


def of_languages(found: JudgedSet, languages: Languages) -> JudgedSet:
    """The set as questions see it that search the documents of their own language, or of all others, only."""
    if languages == "any":
        return found
    searched: Callable[[str, str], bool] = (
        (lambda own, other: own == other) if languages == "same" else (lambda own, other: own != other)
    )
    questions = {}
    for query_id, question in found.questions.items():
        if question.language == UNKNOWN_LANGUAGE:
            raise InputError(
                f"--on {found.source}: question {query_id!r} does not say its language, which --languages {languages} "
                'needs; add "metadata": {"lang": ...}'
            )
        judged = {
            doc_id: grade
            for doc_id, grade in question.relevant.items()
            if (languages == "same" and doc_id not in found.documents)
            or (doc_id in found.documents and searched(question.language, found.documents[doc_id].language))
        }
        if has_relevant(judged):
            questions[query_id] = replace(question, relevant=judged)
    if not questions:
        raise InputError(
            f"--on {found.source}: no question has a relevant document where --languages {languages} looks for it"
        )
    left = len(found.questions) - len(questions)
    unsaid = sum(document.language == UNKNOWN_LANGUAGE for document in found.documents.values())
    notes = [*found.notes]
    if left:
        notes.append(
            f"{left:,} questions have no relevant document where --languages {languages} looks; they are left out"
        )
    if unsaid:
        notes.append(
            f"{unsaid:,} documents do not say their language; with --languages {languages} that is one of its own"
        )
    return replace(found, questions=questions, notes=tuple(notes))
