"""The teacher of a run: the scorers that its recipe weighs, each asked about what is not known yet."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import tee

from tamis.artifacts import item_key
from tamis.context import RunContext
from tamis.executors.local import Executor
from tamis.own_parts import Teacher as OwnTeacher
from tamis.progress import track
from tamis.remote.attempts import Answer
from tamis.stages.candidates.embeddings import Embeddings, RemoteVectors
from tamis.stages.candidates.encoders import DENSE, USE
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.settings import EncoderSettings
from tamis.stages.scores.score import Teach, Unscored
from tamis.stages.scores.settings import (
    EncoderTeacher,
    JudgeTeacher,
    RemoteEncoderTeacher,
    RemoteRerankerTeacher,
    RerankerTeacher,
    ScoresSettings,
    Teacher,
)
from tamis.stages.scores.teachers.cached import CachedScores, CachedVectors, ScoreGroups
from tamis.stages.scores.teachers.fusion import FusionTeacher
from tamis.stages.scores.teachers.group import Group, GroupScores
from tamis.stages.scores.teachers.identity import teacher_facts, teacher_identity
from tamis.stages.scores.teachers.rerankers import Rerankers
from tamis.stages.scores.teachers.servers import Servers

PairTeacher = RerankerTeacher | JudgeTeacher | RemoteRerankerTeacher | OwnTeacher
"""Scores pairs; the other teachers have vectors."""


def by_name(teachers: Sequence[Teacher]) -> dict[str, Teacher]:
    """The teachers of a recipe, by the names of their vectors."""
    return {f"teacher {number}": teacher for number, teacher in enumerate(teachers, 1)}


def teaching_encoders(teachers: Sequence[Teacher]) -> dict[str, EncoderSettings]:
    """Those of them that are bi-encoders of this machine, by name."""
    return {by: teacher for by, teacher in by_name(teachers).items() if isinstance(teacher, EncoderTeacher)}


def remote_encoders(
    teachers: Sequence[Teacher], servers: Servers, context: RunContext
) -> dict[str, Callable[[], RemoteVectors]]:
    """Those of them that are bi-encoders behind a server, by name; nothing is opened before one is called."""

    def opened(teacher: RemoteEncoderTeacher) -> CachedVectors:
        return CachedVectors(teacher, partial(servers.ask, teacher), context.cache, servers.ledger(teacher))

    return {
        by: partial(opened, teacher)
        for by, teacher in by_name(teachers).items()
        if isinstance(teacher, RemoteEncoderTeacher)
    }


class TeacherPool:
    """The teachers of a recipe.

    Attributes:
        settings: Who teaches, with which weight.
        servers: Those that stand behind servers.
        rerankers: Those that score pairs on this machine.
        embeddings: Vectors of those that are bi-encoders.
    """

    def __init__(
        self,
        settings: ScoresSettings,
        first_stages: FirstStages,
        embeddings: Embeddings,
        servers: Servers,
        context: RunContext,
    ) -> None:
        """Open nothing yet."""
        self.settings, self.servers, self.embeddings = settings, servers, embeddings
        self.rerankers = Rerankers(context.machine)
        self._first_stages, self._context = first_stages, context

    def ready_for(self, query_texts: Mapping[str, str]) -> Teach:
        """The weighted teacher, ready for these queries, texts by id."""
        vectors = [
            (weight, self.embeddings.vectors("query", by, query_texts), self.embeddings.of_documents(by))
            for by, weight in self.encoders.items()
        ]
        rerankers = [(teacher.weight, self.cached(teacher)) for teacher in self.of_pairs]
        return FusionTeacher(self._first_stages.indexes, self.settings.bm25, vectors, rerankers)

    @property
    def encoders(self) -> dict[str, float]:
        """Weight of each bi-encoder that is part of the teacher, by name."""
        weights = {DENSE: self.settings.dense, USE: self.settings.use}
        kinds = EncoderTeacher | RemoteEncoderTeacher
        named = by_name(self.settings.teachers).items()
        weights |= {by: teacher.weight for by, teacher in named if isinstance(teacher, kinds)}
        return {by: weight for by, weight in weights.items() if weight}

    def remote_encoder(self, by: str) -> RemoteEncoderTeacher:
        """The settings of one of `embeddings.remote`."""
        teacher = by_name(self.settings.teachers)[by]
        assert isinstance(teacher, RemoteEncoderTeacher), "a name of another teacher"
        return teacher

    @property
    def of_pairs(self) -> list[PairTeacher]:
        """The teachers that score pairs, in the order of the recipe."""
        return [teacher for teacher in self.settings.teachers if isinstance(teacher, PairTeacher)]

    def cached(self, teacher: PairTeacher) -> CachedScores:
        """A teacher of pairs, which is asked about what the cache does not know."""
        documents, cache = self._context.documents, self._context.cache
        if isinstance(teacher, RerankerTeacher):
            model = self._context.identity_of(teacher.path)
            identity = item_key("reranker", model, self._context.machine.precision, teacher.instruction)
            return CachedScores(self._local(teacher), identity, documents, cache)
        if isinstance(teacher, OwnTeacher):  # kept for this run folder alone: others may mean something else by a name
            return CachedScores(self._own(teacher), teacher_identity(teacher), documents, self._context.items)
        return CachedScores(
            partial(self.servers.ask, teacher),
            item_key(teacher.kind, teacher_facts(teacher)),
            documents,
            cache,
            1 if isinstance(teacher, JudgeTeacher) else teacher.batch,
            teacher.max_chars,
            self.servers.ledger(teacher),
        )

    def _local(self, teacher: RerankerTeacher) -> ScoreGroups:
        """Logits of a reranker where the executor runs, query by query."""
        return _mapped(self._context.engine, partial(self.rerankers.score, teacher))

    def _own(self, teacher: OwnTeacher) -> ScoreGroups:
        """Scores by the user's function, query by query, where the executor runs if it can be sent there."""
        return _mapped(self._context.engine_for(teacher), partial(_score_group, teacher))

    def ask_ahead(self, asked: Callable[[], Iterable[Unscored]]) -> None:
        """Have rerankers elsewhere score all that the cache lacks, so that they are started and loaded once for it.

        In this process nothing is done: there they are asked when their scores are needed.

        Args:
            asked: Gives the queries and the ids of their documents, each time from the beginning.
        """
        elsewhere = self._context.engine.elsewhere
        there = [
            teacher for teacher in self.of_pairs if isinstance(teacher, RerankerTeacher | OwnTeacher) and elsewhere
        ]
        pairs = sum(len(doc_ids) for _, doc_ids in asked()) if there else 0
        for teacher in there:
            with track(f"scoring with {teacher.name}", pairs) as advance:
                self.cached(teacher).ask(asked(), advance)


def _mapped(engine: Executor, score: Callable[[Group], GroupScores]) -> ScoreGroups:
    """A function of one group, run for many where an executor runs."""

    def scored(groups: Iterable[Group]) -> Iterator[Answer[Group, GroupScores]]:
        asked, sent = tee(groups)
        for scores, group in zip(engine.mapped(score, sent), asked, strict=True):
            yield Answer(group, scores)

    return scored


def _score_group(teacher: OwnTeacher, group: Group) -> GroupScores:
    return teacher.score(group.query, group.documents)
