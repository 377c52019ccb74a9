"""Who has graded what: read from the log, changed grade by grade, and put together to judgements."""

import math
import statistics
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tamis.errors import InputError
from tamis.formulas.agreement import krippendorff_alpha
from tamis.labelling.grade_log import CANNOT_TELL, TAKEN_BACK, Entry, Grade, GradeLog
from tamis.labelling.pools import Pools
from tamis.text import one_line

PAUSE: Final = 120.0
"""Seconds; a longer time between two grades is a pause, and says nothing about how long a passage takes."""

RECENT: Final = 50
"""Grades whose time is looked at."""

LONGEST_NAME: Final = 60

Pair = tuple[str, str]
"""Question id and document id."""


@dataclass
class Sheet:
    """What one person has graded.

    Attributes:
        grades: Grade by question and document.
        per_question: How many documents of each question have a grade.
        steps: Each grade with what stood there before, None for nothing: the newest is taken back first.
        gaps: Seconds between grades, the newest ones.
        last: When the newest was given.
    """

    grades: dict[Pair, Grade] = field(default_factory=dict)
    per_question: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[Pair, Grade | None]] = field(default_factory=list)
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    last: float = -math.inf

    @property
    def seconds(self) -> float | None:
        """Median seconds that a passage takes, None before three are known."""
        return statistics.median(self.gaps) if len(self.gaps) > 2 else None

    def take(self, entry: Entry) -> None:
        """Put a grade in."""
        pair = (entry.query_id, entry.doc_id)
        before = self.grades.pop(pair, None)
        if entry.grade != TAKEN_BACK:
            self.grades[pair] = entry.grade
        more = (pair in self.grades) - (before is not None)
        self.per_question[entry.query_id] = self.per_question.get(entry.query_id, 0) + more
        if not entry.undone:
            self.steps.append((pair, before))
        elif self.steps:
            self.steps.pop()
        if 0 < entry.time - self.last < PAUSE and not entry.undone:
            self.gaps.append(entry.time - self.last)
        self.last = entry.time


class Grading:
    """The grades of all people over the pools of a folder. What changes it is in the log before it is here.

    Attributes:
        pools: What is graded.
        sheets: By person, in the order in which they came.
        elsewhere: Entries of the log about passages that are in no pool.
    """

    def __init__(self, pools: Pools, entries: Iterable[Entry], log: GradeLog | None = None) -> None:
        """Read what was graded so far.

        Args:
            pools: What is graded.
            entries: Of the log.
            log: Where grades are kept; None for reading alone.
        """
        self.pools, self._log = pools, log
        self.sheets: dict[str, Sheet] = {}
        self.elsewhere = 0
        self._known = {(query_id, doc_id) for query_id, pool in pools.pools.items() for doc_id in pool}
        for entry in entries:
            if (entry.query_id, entry.doc_id) in self._known:
                self.sheets.setdefault(entry.person, Sheet()).take(entry)
            else:
                self.elsewhere += 1

    def sheet(self, person: str) -> Sheet:
        """What a person has graded; nothing yet is an empty sheet."""
        return self.sheets.get(person) or Sheet()

    def grade(self, person: str, query_id: str, doc_id: str, grade: Grade) -> None:
        """Take a grade.

        Raises:
            InputError: There is no such passage.
            RunError: It could not be kept; nothing has changed.
        """
        if (query_id, doc_id) not in self._known:
            raise InputError(f"passage {doc_id!r} is in no pool of question {query_id!r}; load the page again")
        self._keep(Entry(person, query_id, doc_id, grade, time.time()))

    def undo(self, person: str) -> Entry | None:
        """Take a person's newest grade back; what stood there before stands again. None where there is none.

        Raises:
            RunError: It could not be kept; nothing has changed.
        """
        steps = self.sheet(person).steps
        if not steps:
            return None
        (query_id, doc_id), before = steps[-1]
        entry = Entry(person, query_id, doc_id, TAKEN_BACK if before is None else before, time.time(), undone=True)
        self._keep(entry)
        return entry

    def _keep(self, entry: Entry) -> None:
        assert self._log is not None, "opened for reading alone"
        self._log.add(entry)
        self.sheets.setdefault(entry.person, Sheet()).take(entry)

    def finished(self) -> list[str]:
        """Questions of which somebody has looked at every passage."""
        return [query_id for query_id in self.pools.pools if self._is_finished(query_id)]

    def begun(self) -> int:
        """Questions of which somebody has looked at some passages, but nobody at all of them."""
        some = sum(any(sheet.per_question.get(q) for sheet in self.sheets.values()) for q in self.pools.pools)
        return some - len(self.finished())

    def _is_finished(self, query_id: str) -> bool:
        pool = self.pools.pools[query_id]
        if any(sheet.per_question.get(query_id, 0) == len(pool) for sheet in self.sheets.values()):
            return True
        return all(any((query_id, doc_id) in sheet.grades for sheet in self.sheets.values()) for doc_id in pool)

    def judgements(self) -> dict[str, dict[str, int]]:
        """Grade of each document of each finished question: the median of all people's, of two middle ones the lower.

        Questions that are begun only are left out: their other passages would count as not relevant. So are passages of
        which all who looked at them cannot tell.
        """
        found = ((query_id, self.judgement(query_id)) for query_id in self.pools.pools)
        return {query_id: judged for query_id, judged in found if judged is not None}

    def judgement(self, query_id: str) -> dict[str, int] | None:
        """The same of one question; None where it is not finished."""
        return self._medians(query_id) if self._is_finished(query_id) else None

    def medians(self) -> dict[str, dict[str, int]]:
        """The same of all questions, finished or not: for comparisons passage by passage."""
        return {query_id: self._medians(query_id) for query_id in self.pools.pools}

    def _medians(self, query_id: str) -> dict[str, int]:
        grades = {doc_id: self._given(query_id, doc_id) for doc_id in self.pools.pools[query_id]}
        return {doc_id: statistics.median_low(given) for doc_id, given in grades.items() if given}

    def _given(self, query_id: str, doc_id: str) -> list[int]:
        every = (sheet.grades.get((query_id, doc_id)) for sheet in self.sheets.values())
        return [grade for grade in every if isinstance(grade, int)]

    def undecided(self) -> int:
        """Passages of finished questions of which nobody could tell."""
        pools = ((query_id, doc_id) for query_id in self.finished() for doc_id in self.pools.pools[query_id])
        return sum(not self._given(*pair) for pair in pools)

    def agreement(self) -> tuple[float, int]:
        """Krippendorff's alpha of all people (ordinal), and how many passages have grades by two or more of them."""
        shared = [pair for pair in sorted(self._known) if len(self._given(*pair)) > 1] if len(self.sheets) > 1 else []
        if not shared:
            return float("nan"), 0
        rows = [[_number(sheet.grades.get(pair)) for pair in shared] for sheet in self.sheets.values()]
        return krippendorff_alpha(np.array(rows)), len(shared)


def person_of(name: object) -> str:
    """A person's name as it is kept.

    Raises:
        InputError: It is none, or longer than 60 characters.
    """
    person = one_line(name) if isinstance(name, str) else ""
    if not 0 < len(person) <= LONGEST_NAME:
        raise InputError(f"a name of 1 to {LONGEST_NAME} characters is needed, got {len(person)}")
    return person


def qrels_text(judgements: Mapping[str, Mapping[str, int]]) -> str:
    """Judgements in BEIR's form."""
    rows = (f"{query_id}\t{doc_id}\t{grade}\n" for query_id, of in judgements.items() for doc_id, grade in of.items())
    return "query-id\tcorpus-id\tscore\n" + "".join(rows)


def summary(grading: Grading) -> list[str]:
    """How far the grading is, a line each: questions, people, agreement."""
    finished, total = len(grading.finished()), len(grading.pools.pools)
    lines = [f"{finished:,} of {total:,} questions are graded whole" + _begun(grading.begun())]
    for person, sheet in grading.sheets.items():
        unsure = sum(grade == CANNOT_TELL for grade in sheet.grades.values())
        told = f", cannot tell {unsure:,} of them" if unsure else ""
        lines.append(f"{person}: {len(sheet.grades):,} of {grading.pools.size:,} passages{told}")
    alpha, shared = grading.agreement()
    if shared:
        lines.append(
            f"agreement on {shared:,} passages that two or more graded: Krippendorff's alpha {told_alpha(alpha)}"
        )
    if undecided := grading.undecided():
        lines.append(f"{undecided:,} passages have no judgement: nobody could tell")
    if grading.elsewhere:
        lines.append(
            f"{grading.elsewhere:,} grades in the log are about passages that are in no pool; they do not count"
        )
    return lines


def told_alpha(alpha: float | None) -> str:
    """Alpha with what is usually concluded from it (Krippendorff 2004: .8 to rely on, .667 for tentative words)."""
    if alpha is None or math.isnan(alpha):
        return "cannot be told (all grades are the same)"
    said = "reliable" if alpha >= 0.8 else "tentative" if alpha >= 2 / 3 else "too low to rely on"
    return f"{alpha:.2f} ({said})"


def _begun(count: int) -> str:
    return f"; {count:,} are begun and count once they are finished" if count else ""


def _number(grade: Grade | None) -> float:
    return float(grade) if isinstance(grade, int) else float("nan")
