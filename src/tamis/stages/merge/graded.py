"""Graded questions that judge a merge, in place of agreement with the teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tamis.artifacts import split_dropped
from tamis.errors import InputError, ModelError
from tamis.evaluation.judged import Question, read_questions
from tamis.formats.documents import read_documents
from tamis.formulas.ranking import agreement
from tamis.models.student import Student, score_prepared
from tamis.stages.corpus.clean import clean
from tamis.stages.merge.weigh import judged_files
from tamis.stages.student.factory import StudentFactory

DOMAIN: Final = "graded questions"
"""What stands in the place of domains where grades judge."""

_GRADED: Final = "graded:"


@dataclass(frozen=True)
class GradedQuestions:
    """Questions with the documents that were graded for them, the relevant ones and others.

    Attributes:
        questions: Those whose grades differ, in the order of the file.
        texts: Of the graded documents, by id.
    """

    questions: tuple[Question, ...]
    texts: Mapping[str, str]


def read_graded(folder: Path, max_chars: int) -> GradedQuestions:
    """Read graded questions.

    Args:
        folder: BEIR folder, as `tamis label` writes it; grades of 0 are among its judgements.
        max_chars: Longer documents are cut, as in the corpus.

    Raises:
        InputError: no judged set, or not one question has documents of different grades.
    """
    kept, _ = split_dropped(clean(read_documents(folder, "target"), max_chars))
    documents = {document.doc_id: document for document in kept}
    read, _ = read_questions(*judged_files(folder), dict.fromkeys(documents, ""), "any")
    questions = tuple(question for question in read if len(set(_gains(question))) > 1)
    if not questions:
        raise InputError(
            f"merge.judged: {folder}: no question has documents of different grades, so that every order is right; "
            "grade whole pools with tamis label"
        )
    wanted = {doc_id for question in questions for doc_id in question.relevant}
    return GradedQuestions(questions, {doc_id: documents[doc_id].text for doc_id in sorted(wanted)})


def _gains(question: Question) -> list[int]:
    """Grade of each judged document; junk, which TREC grades below 0, gains as little as what is not relevant."""
    return [max(grade, 0) for grade in question.relevant.values()]


class GradedJudge:
    """Ranks the graded documents of each question by a student: nDCG@10 by the grades."""

    def __init__(self, students: StudentFactory, graded: GradedQuestions) -> None:
        """Prepare the texts, under ids of their own: the run may know others by the same ones."""
        self._context = students.context
        self._questions = graded.questions
        queries = {f"{_GRADED}{q.query_id}": q.text for q in graded.questions}
        documents = {f"{_GRADED}{doc_id}": text for doc_id, text in graded.texts.items()}
        students.prepare(queries, documents)
        pairs = [(f"{_GRADED}{q.query_id}", f"{_GRADED}{d}") for q in graded.questions for d in q.relevant]
        self._queries = students.prepared.queries([query_id for query_id, _ in pairs], queries)
        self._documents = students.prepared.documents([doc_id for _, doc_id in pairs], documents)

    def __call__(self, student: Student) -> np.ndarray:
        """nDCG@10 of every question: [questions], in [0, 1].

        Raises:
            ModelError: a score is not finite.
        """
        logits = np.empty(len(self._queries))
        budget = self._context.machine.token_budget
        for batch, values in score_prepared(student, self._queries, self._documents, budget):
            logits[batch] = values
        if not np.isfinite(logits).all():
            raise ModelError("scores of graded questions are not finite; the weights are broken")
        parts = np.split(logits, np.cumsum([len(q.relevant) for q in self._questions])[:-1])
        grades = (np.array(_gains(q), np.float64) for q in self._questions)
        return np.array([agreement(part, own) for part, own in zip(parts, grades, strict=True)])
