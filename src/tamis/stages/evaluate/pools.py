"""What every system finds for the judged questions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from tamis.context import RunContext
from tamis.errors import ModelError
from tamis.evaluation.figures import model_facts
from tamis.evaluation.judged import Question
from tamis.evaluation.systems import STUDENTS, TRAINED, Pool, Run, pairs_to_score, runs_of, student_runs
from tamis.models.checkpoint import Deployment, find_checkpoint, read_facts
from tamis.progress import track
from tamis.records import Candidates, Facts
from tamis.retrievers.given_run import GivenRun, read_run
from tamis.retrievers.index import FIRST_STAGES
from tamis.retrievers.own_ids import own_ids
from tamis.retrievers.search import rank_candidates, search_indexes
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.lists.settings import GENERAL
from tamis.stages.scores.teachers.teacher import TeacherPool
from tamis.stages.student.factory import StudentFactory
from tamis.stages.student.scores import score_pairs

QUESTIONS_AT_ONCE = 128
"""How many questions a teacher is asked about together: enough to keep a server busy, few enough to see it move."""


@dataclass(frozen=True)
class Systems:
    """All that is measured: first stages, the user's own engines, the teacher, and students on top of them.

    Attributes:
        depth: Candidates that a student reranks.
        runs: TREC runs of the user's own engines, by name.
        domain_for: Domain of a language, whose specialist speaks it.
        first_stages: What searches.
        teachers: Rerank what the hybrid found.
        students: Make the student and prepare texts.
        context: The run; its stage merge is finished.
    """

    depth: int
    runs: Mapping[str, Path]
    domain_for: Callable[[str], str]
    first_stages: FirstStages
    teachers: TeacherPool
    students: StudentFactory
    context: RunContext

    @cached_property
    def external_runs(self) -> dict[str, GivenRun]:
        """What the user's own engines found for the judged questions, by the name of each run."""
        return {name: read_run(path, set(self.context.target)) for name, path in self.runs.items()}

    def find_pools(self, questions: Sequence[Question], own: Collection[str]) -> list[Pool]:
        """What every first stage and the teacher find for every question.

        Args:
            questions: What is asked.
            own: Ids of the questions that are documents of the corpus; none finds itself.
        """
        texts = {question.query_id: question.text for question in questions}
        vectors = self.first_stages.embeddings.vectors("query", texts)
        teach = self.teachers.open(texts)
        depth, executor = self.first_stages.settings.depth, self.context.executor
        queries = [question.as_query() for question in questions]
        indexes = self.first_stages.indexes
        itself = {query_id: query_id for query_id in own}
        ranked = list(search_indexes(queries, vectors, indexes, depth, FIRST_STAGES, executor=executor, itself=itself))
        taught: list[np.ndarray] = []
        with track("asking the teacher", len(ranked)) as advance:
            for start in range(0, len(ranked), QUESTIONS_AT_ONCE):
                asked = [(query, of["hybrid"].doc_ids) for query, of in ranked[start : start + QUESTIONS_AT_ONCE]]
                taught += teach(asked)
                advance(len(asked))
        self.teachers.release()
        found: dict[str, dict[str, Candidates]] = {}
        for (query, of), scores in zip(ranked, taught, strict=True):
            if not np.isfinite(scores).all():
                raise ModelError(
                    f"question {query.query_id}: a teacher behind a server gave no score; those that came are kept, "
                    "mend the server and run the same command again"
                )
            by_teacher = rank_candidates(query.query_id, of["hybrid"].doc_ids, scores, depth)
            given = self._external(query.query_id, depth, query.query_id in own)
            found[query.query_id] = {**of, **given, "teacher": by_teacher}
        return [Pool(question, found[question.query_id]) for question in questions]

    def own(self, questions: Sequence[Question]) -> frozenset[str]:
        """The questions that are documents of the corpus, by their ids and judgements; none finds itself."""
        return own_ids({question.query_id: question.relevant for question in questions}, self.context.target).ids

    def _external(self, query_id: str, depth: int, is_document: bool) -> dict[str, Candidates]:
        """What the user's own engines found for a question, by the name of each run; nothing where one is silent.

        A question that is a document of the corpus does not find itself.
        """
        every = {name: run.scores.get(query_id, {}) for name, run in self.external_runs.items()}
        scores = {
            name: {doc_id: s for doc_id, s in found.items() if not (is_document and doc_id == query_id)}
            for name, found in every.items()
        }
        return {
            name: rank_candidates(query_id, tuple(found), np.array(list(found.values())), depth)
            for name, found in scores.items()
        }

    def rank(
        self, pools: Sequence[Pool], students: Sequence[str] = tuple(STUDENTS)
    ) -> tuple[dict[str, Run], dict[str, float]]:
        """The ranking of every system for every question, and the share of questions whose best score is shared.

        Args:
            pools: What the first stages and the teacher found.
            students: Which students rank, names of `STUDENTS`.
        """
        given = tuple(self.external_runs)
        runs, ties = runs_of(pools, (*FIRST_STAGES, *given, "teacher"))
        merged = read_facts(self.context.folders["merge"] / "model").deployment
        untrained = deployment_of_start(self.students.settings.start, merged)
        for student, logits in self._logits(pools, students).items():
            deployment = untrained if student == "untrained" else merged
            found, tied = student_runs(student, pools, logits, deployment, self.depth, given)
            runs |= found
            ties |= tied
        return runs, ties

    def _logits(self, pools: Sequence[Pool], students: Sequence[str]) -> dict[str, dict[tuple[str, str], float]]:
        """Logits of every pair by the untrained student, by each language's specialist, and by the merged student."""
        student = self.students.untrained()
        train = self.context.folders["train"]
        files = {
            "untrained": train / "untrained.safetensors",
            "merged": self.context.folders["merge"] / "merged.safetensors",
        }

        def logits_of(path: Path, some: Sequence[Pool], label: str) -> dict[tuple[str, str], float]:
            student.load_trained(load_file(path))
            pairs = pairs_to_score(some, self.depth, tuple(self.external_runs))
            return score_pairs(self.students, student, pairs, label)

        def of_specialists() -> dict[tuple[str, str], float]:
            found: dict[tuple[str, str], float] = {}
            for domain in sorted({self.domain_for(pool.question.language) for pool in pools}):
                own = [pool for pool in pools if self.domain_for(pool.question.language) == domain]
                path = train / f"{domain}.safetensors"
                # A domain without a single training list has no specialist of its own.
                name = domain if path.exists() else GENERAL
                found |= logits_of(train / f"{name}.safetensors", own, f"scoring with {name}")
            return found

        return {
            name: logits_of(files[name], pools, f"scoring with {name}") if name in files else of_specialists()
            for name in students
        }

    def model_facts(self) -> dict[str, Facts]:
        """What each student comes from, by its name; see `tamis.evaluation.figures.model_facts`."""
        lineage = read_facts(self.context.folders["merge"] / "model").deployment.lineage
        untrained = {"start": lineage.get("start")}
        precision = self.context.machine.precision
        return {n: model_facts(None, precision, lineage if n in TRAINED else untrained, None) for n in STUDENTS}


def deployment_of_start(start: Path | None, merged: Deployment) -> Deployment:
    """How the untrained student would be served: as its own checkpoint says, or like the merged one.

    Args:
        start: What the student starts from.
        merged: What the merged student's checkpoint says; that counts where the start's names no weight at all, as one
            does that tamis did not make.
    """
    own = read_facts(find_checkpoint(start)).deployment if start else merged
    return own if own.first_stage_weights else merged
