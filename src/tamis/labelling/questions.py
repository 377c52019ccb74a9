"""The questions that are graded: those of a file, or, where nobody has any, some that the run wrote itself."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tamis.errors import InputError, RunError
from tamis.formats.pools import WRITTEN
from tamis.formats.queries import LoggedQuery, read_query_log
from tamis.formulas.ranking import tie_key
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import GIVEN, Query
from tamis.text import normalise, one_line

FROM_FILE: Final = "file"
"""Questions that the user brought: a list, rows, a log."""

FEW: Final = 30
"""Written questions that are drawn where nobody says how many."""


@dataclass(frozen=True)
class Asked:
    """Questions, and why others are none.

    Attributes:
        questions: In an order by hash, so that whoever stops half-way has graded a fair sample.
        source: `FROM_FILE`, or `WRITTEN`: written for training and held out of it.
        left_out: How many are left out, by reason.
        file: Name of the file; empty for written ones.
    """

    questions: Sequence[LoggedQuery]
    source: str
    left_out: dict[str, int] = field(default_factory=dict)
    file: str = ""


def questions_of_file(file: Path, most: int, language: Callable[[str], str]) -> Asked:
    """The questions of a file.

    Args:
        file: See `read_query_log`. Lines without ids are called q1, q2 and so on, as no document is.
        most: Questions to draw by hash; 0 for all.
        language: Tells the language of a text, for questions that do not say theirs.

    Raises:
        InputError: A file that is not understood or holds no question.
    """
    found, seen, repeated, empty = [], set[str](), 0, 0
    for one in read_query_log(file, "--queries", "q"):
        text = one_line(one.text)
        readable = normalise(text)
        if not readable:
            empty += 1
        elif readable in seen:
            repeated += 1
        else:
            seen.add(readable)
            tag = language(text) if one.language == UNKNOWN_LANGUAGE else one.language
            found.append(LoggedQuery(one.query_id, text, tag))
    if not found:
        raise InputError(f"{file}: no question in it has a letter or a digit; expected a question a line")
    drawn = drawn_of(found, most)
    reasons = {"without a word": empty, "the same as an earlier one": repeated, "not drawn": len(found) - len(drawn)}
    return Asked(drawn, FROM_FILE, {reason: count for reason, count in reasons.items() if count}, file.name)


def written_questions(queries: Iterable[Query], held_out: frozenset[str], most: int) -> Asked:
    """Some of the queries that a run wrote about its documents and never trained on.

    Args:
        queries: Of the run.
        held_out: Ids of those that it never trained on.
        most: Queries to draw by hash; 0 for `FEW`.

    Raises:
        RunError: There are none.
    """
    written = [q for q in queries if q.query_id in held_out and q.origin == "target" and q.generator != GIVEN]
    if not written:
        raise RunError("the run held out no query that it wrote about its documents; give questions with --queries")
    found = [LoggedQuery(query.query_id, one_line(query.text), query.language) for query in written]
    drawn = drawn_of(found, most or FEW)
    left = {"not drawn": len(found) - len(drawn)}
    return Asked(drawn, WRITTEN, {reason: count for reason, count in left.items() if count})


def drawn_of(questions: Iterable[LoggedQuery], most: int) -> list[LoggedQuery]:
    """At most so many questions, in an order by hash of their ids; 0 for all."""
    ordered = sorted(questions, key=lambda one: (tie_key("grading", one.query_id), one.query_id))
    return ordered[:most] if most else ordered
