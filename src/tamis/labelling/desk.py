"""What the page for grading is told and may change; several people sit at it, each request on a thread of its own."""

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final

from tamis.artifacts import writing
from tamis.errors import InputError, TamisError
from tamis.labelling.durable import ADVICE, put_file
from tamis.labelling.grade_log import Grade, GradeLog
from tamis.labelling.grading import Grading, qrels_text
from tamis.labelling.pools import Passage, Pools
from tamis.records import Document
from tamis.report.highlight import common_words
from tamis.text import words

logger = logging.getLogger(__name__)

QRELS: Final = "qrels/test.tsv"
"""Where people's judgements lie."""


class Desk:
    """The pools of a folder with everybody's grades.

    Attributes:
        grading: Who has graded what.
        folder: Where log and judgements lie.
    """

    def __init__(self, folder: Path, pools: Pools, log: GradeLog) -> None:
        """Read what was graded so far."""
        self.folder = folder
        self.grading = Grading(pools, log.entries, log)
        self._order = list(pools.pools)
        self._common = common_words(map(_document, pools.passages.values()))
        self._changing = Lock()
        self._writing = Lock()
        self._judged: dict[str, dict[str, int]] = {}
        self._changed = set(self._order)  # questions whose judgements are not those of the file

    def people(self) -> dict[str, Any]:
        """Who has graded, and how much there is."""
        pools = self.grading.pools
        with self._changing:
            return {"people": list(self.grading.sheets), "questions": len(pools.pools), "passages": pools.size}

    def state(self, person: str) -> dict[str, Any]:
        """How far a person is: passages and grades of each question, and the first one that is not finished."""
        pools = self.grading.pools.pools
        with self._changing:
            sheet = self.grading.sheet(person)
            done = [sheet.per_question.get(query_id, 0) for query_id in self._order]
            seconds = sheet.seconds
        sizes = [len(pools[query_id]) for query_id in self._order]
        left = (place for place, (some, whole) in enumerate(zip(done, sizes, strict=True)) if some < whole)
        return {"person": person, "sizes": sizes, "done": done, "at": next(left, 0), "seconds": seconds}

    def question(self, person: str, place: int) -> dict[str, Any]:
        """A question with its passages and a person's grades of them.

        Raises:
            InputError: There is none at this place.
        """
        if not 0 <= place < len(self._order):
            raise InputError(f"question {place + 1} is none of the {len(self._order)}")
        pools = self.grading.pools
        query_id = self._order[place]
        question, pool = pools.questions[query_id], pools.pools[query_id]
        passages = [pools.passages[doc_id] for doc_id in pool]
        frequent = frozenset[str]().union(*(self._common[passage.language] for passage in passages))
        with self._changing:
            grades = self.grading.sheet(person).grades
            given = [grades.get((query_id, doc_id)) for doc_id in pool]
        shown = [
            {"id": passage.doc_id, "title": passage.title, "text": passage.body, "grade": grade}
            for passage, grade in zip(passages, given, strict=True)
        ]
        common = sorted(frequent.intersection(words(question.text)))
        return {"place": place, "id": query_id, "query": question.text, "common": common, "passages": shown}

    def grade(self, person: str, query_id: str, doc_id: str, grade: Grade) -> dict[str, Any]:
        """Keep a grade; it is on the disk when this returns.

        Raises:
            InputError: There is no such passage.
            RunError: It could not be kept.
        """
        with self._changing:
            self.grading.grade(person, query_id, doc_id, grade)
            sheet = self.grading.sheet(person)
            told = {"done": sheet.per_question.get(query_id, 0), "seconds": sheet.seconds}
            self._changed.add(query_id)
        return told

    def undo(self, person: str) -> dict[str, Any]:
        """Take a person's newest grade back; says where it was, or nothing where there is none.

        Raises:
            RunError: It could not be kept.
        """
        with self._changing:
            entry = self.grading.undo(person)
            if entry is None:
                return {}
            grade = self.grading.sheet(person).grades.get((entry.query_id, entry.doc_id))
            done = self.grading.sheet(person).per_question.get(entry.query_id, 0)
            self._changed.add(entry.query_id)
        place = self._order.index(entry.query_id)
        return {"place": place, "document": entry.doc_id, "grade": grade, "done": done}

    def write_judgements(self) -> Mapping[str, Mapping[str, int]] | None:
        """Write `qrels/test.tsv` where something has changed since it was last written; what was written.

        Raises:
            RunError: It cannot be written; the grades are safe in the log.
        """
        with self._writing:
            with self._changing:  # no longer than the questions take that have changed
                changed, self._changed = self._changed, set()
                found = {query_id: self.grading.judgement(query_id) for query_id in changed}
            if not changed:
                return None
            try:
                self._put(found)
            except BaseException:
                with self._changing:
                    self._changed |= changed
                raise
            return self._judged

    def _put(self, found: Mapping[str, dict[str, int] | None]) -> None:
        every = {**self._judged, **found}
        judged = {query_id: grades for query_id in self._order if (grades := every.get(query_id)) is not None}
        if judged:
            put_file(self.folder / QRELS, qrels_text(judged))
        else:
            with writing(self.folder, ADVICE):
                (self.folder / QRELS).unlink(missing_ok=True)  # of questions that were taken back since
        self._judged = judged

    def try_to_write_judgements(self) -> None:
        """The same for whoever can wait for the next time."""
        try:
            self.write_judgements()
        except TamisError as error:
            logger.warning("%s", error)


def _document(passage: Passage) -> Document:
    return Document(passage.doc_id, passage.text, passage.language)
