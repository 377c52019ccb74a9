"""Every grade in the order in which it was given: lines that are only ever added, each on the disk at once."""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tamis.artifacts import writing
from tamis.artifacts.line_log import append_line, cut_torn_line
from tamis.errors import InputError, RunError
from tamis.formats.lines import objects
from tamis.labelling.durable import ADVICE, keep_name
from tamis.text import one_line, quoted

CANNOT_TELL: Final = "cannot tell"
"""Given where somebody has looked and does not know."""

TAKEN_BACK: Final = "taken back"
"""Given where nothing stands any more."""

GRADES: Final = (0, 1, 2)
"""Not relevant; partly, or about it without answering; answers it."""

Grade = int | str
"""One of `GRADES`, `CANNOT_TELL` or `TAKEN_BACK`."""

LOG: Final = "grades.jsonl"

_LATEST: Final = 1e12
"""Seconds since 1970 that may be a time; whatever else stands there says nothing of how long a passage takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One grade.

    Attributes:
        person: Who gave it.
        query_id: The question.
        doc_id: The document.
        grade: What was given.
        time: When, in seconds since 1970.
        undone: Whether it was given by taking the newest one back.
    """

    person: str
    query_id: str
    doc_id: str
    grade: Grade
    time: float
    undone: bool = False


class GradeLog:
    """The log of a folder, kept from other processes while it is open.

    Attributes:
        entries: What stood in it when it was opened.
        cut: Bytes of a last line that a kill had left unfinished, and that were cut off; nobody was told of it as kept.
    """

    def __init__(self, folder: Path) -> None:
        """Open or make the log.

        Raises:
            RunError: Another process has it open, or it cannot be written.
            InputError: A line that is not understood.
        """
        self.path = folder / LOG
        with writing(self.path, ADVICE):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            keep_name(folder)
        try:
            self._keep_others_out()
            with writing(self.path, ADVICE):
                self.cut = cut_torn_line(self._file)
            self.entries = read_entries(self.path)
        except BaseException:
            os.close(self._file)
            raise

    def add(self, entry: Entry) -> None:
        """Keep a grade; it is on the disk when this returns.

        Raises:
            RunError: The disk is full or cannot be written; the log is as it was before.
        """
        with writing(self.path, ADVICE):
            append_line(self._file, f"{_line(entry)}\n".encode(), sync=True)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)

    def _keep_others_out(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{self.path}: another tamis label has it open; use its page (several people may), or end it"
            ) from None
        except OSError:
            pass  # a file system that locks nothing


def read_entries(file: Path) -> Sequence[Entry]:
    """The grades of a log in their order; none where there is no log.

    Raises:
        InputError: A line that is not understood.
    """
    if not file.exists():
        return []
    return [_entry(content, f"{file}, line {number}") for number, content in objects(file)]


def is_grade(value: object) -> bool:
    """Whether something is a grade that a person can give."""
    return value == CANNOT_TELL or (type(value) is int and value in GRADES)


def _line(entry: Entry) -> str:
    content = {
        "person": entry.person,
        "query": entry.query_id,
        "document": entry.doc_id,
        "grade": entry.grade,
        "time": round(entry.time, 3),
        **({"undone": True} if entry.undone else {}),
    }
    return json.dumps(content, ensure_ascii=False)


def _entry(content: dict[str, object], where: str) -> Entry:
    grade, time = content.get("grade"), content.get("time")
    person, query_id, doc_id = (content.get(name) for name in ("person", "query", "document"))
    texts = isinstance(person, str) and isinstance(query_id, str) and isinstance(doc_id, str)
    named = texts and bool(person) and one_line(str(person)) == person
    if not named or not (is_grade(grade) or grade == TAKEN_BACK):
        raise InputError(
            f"{where}: got {quoted(json.dumps(content))}, expected person, query, document and a grade of 0, 1, 2, "
            f"{CANNOT_TELL!r} or {TAKEN_BACK!r}; remove the line or mend it"
        )
    known = float(time) if isinstance(time, int | float) and 0 <= time < _LATEST else 0.0
    undone = content.get("undone") is True
    return Entry(str(person), str(query_id), str(doc_id), cast(Grade, grade), known, undone)
