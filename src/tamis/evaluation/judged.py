"""Judged questions: how they are read, and which ones are drawn."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.errors import InputError
from tamis.formats.qrels import grades_of, has_relevant, read_qrels
from tamis.formulas.ranking import tie_key
from tamis.records import Query
from tamis.retrievers.index import Languages


@dataclass(frozen=True, slots=True)
class Question:
    """A judged question.

    Attributes:
        query_id: Its id.
        text: Its text.
        language: The question's own language, as far as it is known.
        relevant: Grade of each judged document, above 0 is relevant.
        domain: What it is about, as its set says; empty where that says nothing.
    """

    query_id: str
    text: str
    language: str
    relevant: Mapping[str, int]
    domain: str = ""

    def as_query(self, prefix: str = "") -> Query:
        """What a first stage is asked; `prefix` before the id keeps it apart from other queries of a run."""
        return Query(f"{prefix}{self.query_id}", self.text, self.language, "target", "", "question")


def read_questions(
    queries: Path, qrels: Path, language_of: Mapping[str, str], languages: Languages = "same"
) -> tuple[list[Question], int]:
    """Read judged questions that have a relevant document among those that they search.

    Args:
        queries: BEIR queries.jsonl.
        qrels: BEIR qrels file: a header line, then query-id, corpus-id and score, separated by tabs.
        language_of: Language of every document of the corpus by id.
        languages: Which documents a question searches. A question that does not say its language counts as one of a
            relevant document's.

    Returns:
        Those questions, in the order of the file, and how many the file holds in all.

    Raises:
        InputError: a missing file or a broken line, named by number; where languages are crossed, a question that
            does not say its own.
    """
    grades = grades_of(read_qrels(qrels), qrels)
    questions = []
    asked = 0
    for query_id, text, own in _read_queries(queries):
        asked += 1
        judged = {doc_id: grade for doc_id, grade in grades.get(query_id, {}).items() if doc_id in language_of}
        if languages == "cross" and not own:
            raise InputError(
                f"{queries}: question {query_id!r} does not say its language, which candidates.languages cross needs; "
                'add "metadata": {"lang": ...}'
            )
        if languages == "cross":
            judged = {doc_id: grade for doc_id, grade in judged.items() if language_of[doc_id] != own}
        found = {language_of[doc_id] for doc_id, grade in judged.items() if grade > 0}
        if not found:
            continue
        language = own if own in found or (own and languages != "same") else min(found)
        if languages == "same":
            judged = {doc_id: grade for doc_id, grade in judged.items() if language_of[doc_id] == language}
        questions.append(Question(query_id, text, language, judged))
    if not questions:
        raise InputError(
            f"{qrels}: no judged question has a relevant document in the corpus; do the ids belong together?"
        )
    return questions, asked


def check_questions(queries: Path, qrels: Path) -> None:
    """Read questions and judgements as `read_questions` does, without the documents that they are about.

    Raises:
        InputError: a missing file, a broken line, or not one question that has a relevant document.
    """
    grades = grades_of(read_qrels(qrels), qrels)
    asked = {query_id for query_id, _, _ in _read_queries(queries)}
    if not any(has_relevant(grades[query_id]) for query_id in asked & grades.keys()):
        raise InputError(f"{qrels}: no question of {queries} has a relevant document; do the ids belong together?")


def _read_queries(path: Path) -> Iterator[tuple[str, str, str]]:
    """Id, text and language (empty where none is given) of each question."""
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            entry = json.loads(line)
            query_id, text, metadata = str(entry["_id"]), entry["text"], entry.get("metadata") or {}
            said = metadata.get("lang") or entry.get("lang") or entry.get("language") or ""
            language = str(said).lower().replace("_", "-")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            raise _not_a_question(path, number, line) from None
        if not isinstance(text, str) or not text.strip():
            raise _not_a_question(path, number, line)
        if query_id in seen:
            raise InputError(
                f"{path}: id {query_id!r} stands on line {seen[query_id]} and on line {number}; remove one of them"
            )
        seen[query_id] = number
        yield query_id, text, language


def _not_a_question(path: Path, number: int, line: str) -> InputError:
    return InputError(f'{path}, line {number}: expected {{"_id": ..., "text": ...}}, got {line[:60]!r}')


def draw_questions(questions: Sequence[Question], most: int) -> list[Question]:
    """At most `most` questions of each language, drawn by a hash of their ids; 0 is all. Order is kept."""
    if not most:
        return list(questions)
    ranked: dict[str, list[int]] = {}
    for question in questions:
        ranked.setdefault(question.language, []).append(tie_key("question", question.query_id))
    border = {language: sorted(keys)[:most][-1] for language, keys in ranked.items()}
    return [q for q in questions if tie_key("question", q.query_id) <= border[q.language]]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank. Only a line feed ends one: JSON may hold U+2028 and its like as they are."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())
