"""The parts of a run, put together from its recipe: what each is handed is all that it knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tamis.artifacts import ItemStore
from tamis.context import RunContext
from tamis.distributed import ALONE, ProcessGroup
from tamis.executors.local import LOCAL, Executor
from tamis.machine import Machine, resolve_precision
from tamis.pipeline.provenance import origin_of, provenance_of, recipe_text, shown_recipe
from tamis.pipeline.recipe import Recipe
from tamis.records import Facts
from tamis.stages.candidates.embeddings import Embeddings
from tamis.stages.candidates.encoders import Encoders, as_its_folder_says
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.settings import CandidatesSettings
from tamis.stages.candidates.stage import CandidatesStage
from tamis.stages.corpus.read_parts import ReadParts
from tamis.stages.corpus.stage import CorpusStage
from tamis.stages.evaluate.pools import Systems
from tamis.stages.evaluate.stage import EvaluateStage
from tamis.stages.lists.stage import ListsStage
from tamis.stages.merge.stage import MergeStage
from tamis.stages.merge.weigh import HeadScorer
from tamis.stages.queries.stage import QueriesStage
from tamis.stages.queries.writers.writers import QueryWriters
from tamis.stages.report.stage import ReportStage
from tamis.stages.scores.settings import EncoderTeacher, ScoresSettings
from tamis.stages.scores.stage import ScoresStage
from tamis.stages.scores.teachers.teacher import TeacherPool
from tamis.stages.student.factory import StudentFactory
from tamis.stages.train.stage import TrainStage, extracts_as_answers


class Stage(Protocol):
    """One arrow of the pipeline.

    Attributes:
        name: One word, everywhere the same.
        reads: Stages whose results it reads; their keys are part of its own.
        version: Raised when its code changes its result.
    """

    name: ClassVar[Any]
    reads: ClassVar[Any]
    version: ClassVar[Any]

    def key(self) -> object:
        """The part of the recipe that changes its result, with hashes of the files that it reads, JSON-like."""

    def run(self, folder: Path) -> Facts:
        """Fill its folder; returns counts and other facts for the manifest."""


@dataclass(frozen=True)
class Parts:
    """The parts of one run, each made when it is first asked for.

    Attributes:
        recipe: What to do.
        context: The state of the run.
    """

    recipe: Recipe
    context: RunContext

    @cached_property
    def candidates(self) -> CandidatesSettings:
        """Settings of the first stages, with what the bi-encoder's folder says of itself."""
        wanted = self.recipe.candidates
        return wanted.model_copy(update={"dense": as_its_folder_says(wanted.dense)})

    @cached_property
    def scores(self) -> ScoresSettings:
        """Settings of the teachers, with what the folders of bi-encoders say of themselves."""
        wanted = self.recipe.scores
        teachers = (as_its_folder_says(one) if isinstance(one, EncoderTeacher) else one for one in wanted.teachers)
        return wanted.model_copy(update={"teachers": tuple(teachers)})

    @cached_property
    def encoders(self) -> Encoders:
        """The bi-encoders."""
        return Encoders(self.candidates.dense, self.context.machine)

    @cached_property
    def embeddings(self) -> Embeddings:
        """Vectors of the run's texts."""
        return Embeddings(self.encoders, self.context)

    @cached_property
    def first_stages(self) -> FirstStages:
        """What searches."""
        return FirstStages(self.candidates, self.embeddings, self.context)

    @cached_property
    def teachers(self) -> TeacherPool:
        """What scores candidates."""
        return TeacherPool(self.scores, self.first_stages, self.recipe.machine.requests, self.context)

    @cached_property
    def students(self) -> StudentFactory:
        """What learns."""
        return StudentFactory(self.recipe.student, self.recipe.seed, self.encoders, self.context)

    @cached_property
    def writers(self) -> QueryWriters:
        """Who writes queries."""
        recipe = self.recipe
        parts = ReadParts(self.students.reading, self.context) if recipe.corpus.target else None
        return QueryWriters(recipe.queries, recipe.seed, parts, recipe.machine.requests, self.context)

    @cached_property
    def systems(self) -> Systems:
        """What the evaluation measures."""
        runs = self.recipe.evaluate.runs if self.recipe.evaluate else {}
        domain_for = self.recipe.lists.domain_for
        collaborators = (self.first_stages, self.teachers, self.students, self.context)
        return Systems(self.recipe.rerank_depth, runs, domain_for, *collaborators)

    @cached_property
    def corpus(self) -> CorpusStage:
        """The first stage."""
        recipe = self.recipe
        judged, runs = recipe.evaluate is not None, recipe.candidates.runs
        return CorpusStage(recipe.corpus, recipe.queries.keep_out, self.students.reading, judged, runs.keys())

    @cached_property
    def queries(self) -> QueriesStage:
        """The second stage."""
        return QueriesStage(self.recipe.queries, self.recipe.corpus, self.writers, self.context)

    @cached_property
    def lists(self) -> ListsStage:
        """The fifth stage."""
        recipe = self.recipe
        settings = (recipe.lists, recipe.scores.seed_bonus, recipe.seed, recipe.corpus.target)
        return ListsStage(*settings, self.embeddings, self.students, self.context)

    @cached_property
    def train(self) -> TrainStage:
        """The sixth stage."""
        recipe = self.recipe
        warnings = extracts_as_answers(recipe.queries.generator, recipe.scores.seed_bonus, recipe.train.loss)
        return TrainStage(recipe.train, recipe.merge.held_out, recipe.seed, warnings, self.students, self.context)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The whole pipeline, in the order in which it runs; without judged questions there is no evaluation."""
        recipe, context = self.recipe, self.context
        logs = frozenset(log.path.name for log in recipe.queries.logs)
        weighing = HeadScorer(recipe.rerank_depth, recipe.corpus, self.first_stages, self.students)
        merge = MergeStage(recipe.merge, recipe.train, provenance_of(recipe), weighing, self.students, context)
        cut = recipe.corpus.passages.by not in ("auto", "off")  # auto cuts nothing where questions are judged
        evaluate = recipe.evaluate and EvaluateStage(
            recipe.evaluate, recipe.name, recipe.seed, self.systems, context, cut
        )
        return (
            self.corpus,
            self.queries,
            CandidatesStage(self.first_stages, logs, context),
            ScoresStage(self.teachers, context),
            self.lists,
            self.train,
            merge,
            *((evaluate,) if evaluate else ()),
            ReportStage(recipe.name, shown_recipe(recipe), origin_of(recipe), recipe_text(recipe), context),
        )


@contextmanager
def open_parts(
    recipe: Recipe, items: ItemStore, team: ProcessGroup = ALONE, executor: Executor = LOCAL
) -> Iterator[Parts]:
    """The parts of a run; its stores and connections are closed afterwards.

    Args:
        recipe: What to do.
        items: Finished items of the run folder.
        team: The processes that train together.
        executor: Where models embed, score and write.
    """
    machine = Machine(recipe.machine, resolve_precision(recipe.precision), team.local_rank)
    context = RunContext(items, machine, team, executor)
    try:
        yield Parts(recipe, context)
    finally:
        context.close()
