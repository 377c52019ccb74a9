"""Judged sets: documents, queries and judgements that belong together, checked before anything is computed."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from tamis.errors import InputError
from tamis.evaluation.judged import Question
from tamis.formats.qrels import Judgement, grades_of
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Candidates, Document
from tamis.retrievers.index import Languages

TASK = "task"
"""First stage of the candidates that a reranking task brings."""


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
        documents: By id.
        questions: Those that are judged, by id, in the order of the judgements.
        given: First stages that come with the set, by name.
        notes: What a reader of the figures should know, a line each.
    """

    name: str
    source: str
    documents: Mapping[str, Document]
    questions: Mapping[str, Question]
    given: Mapping[str, Mapping[str, Candidates]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def grades(self) -> dict[str, Mapping[str, int]]:
        """Grade of each judged document by query id and document id."""
        return {query_id: question.relevant for query_id, question in self.questions.items()}

    def fingerprint(self) -> str:
        """Hash of the documents with their ids and languages, in any order; hex."""
        digest = hashlib.sha256()
        for doc_id in sorted(self.documents):
            document = self.documents[doc_id]
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

    Raises:
        InputError: a judgement of a query or document that is not there, a document judged twice, or no judgement.
    """
    read = list(judgements)
    for each in read:
        where = f"{file}, line {each.line}"
        if each.query_id not in queries:
            raise _unknown(where, "query", each.query_id, queries, others[1])
        if each.doc_id not in documents:
            raise _unknown(where, "document", each.doc_id, documents, others[0])
    grades = grades_of(read, file)
    if not grades:
        raise InputError(f"{file}: no judgements in it; expected query-id, corpus-id and score, by tabs")
    notes = []
    below = [each for each in read if each.grade < 0]
    if below:
        notes.append(
            f"{len(below):,} judgements below 0 count as 0; the first stands on line {below[0].line} of {file}"
        )
        grades = {q: {d: max(grade, 0) for d, grade in judged.items()} for q, judged in grades.items()}
    questions = {
        q: Question(q, queries[q].text, queries[q].language, judged, queries[q].domain) for q, judged in grades.items()
    }
    unanswered = sum(not any(question.relevant.values()) for question in questions.values())
    if unanswered:
        notes.append(f"{unanswered:,} questions have no relevant document; they count as 0 in every system")
    return JudgedSet(name, source, documents, questions, notes=tuple(notes))


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
            if searched(question.language, found.documents[doc_id].language)
        }
        if any(judged.values()):
            questions[query_id] = replace(question, relevant=judged)
    if not questions:
        raise InputError(
            f"--on {found.source}: no question has a relevant document where --languages {languages} looks for it"
        )
    left = len(found.questions) - len(questions)
    note = (f"{left:,} questions have no relevant document where --languages {languages} looks; they are left out",)
    return replace(found, questions=questions, notes=(*found.notes, *(note if left else ())))
