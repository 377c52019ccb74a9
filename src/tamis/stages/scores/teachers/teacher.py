"""The teacher of a run: the scorers that its recipe weighs, each asked about what is not known yet."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from tamis.context import RunContext
from tamis.costs.plan import Plan
from tamis.costs.work import Work
from tamis.remote.settings import RequestsSettings
from tamis.stages.candidates.cost import embedding_cost
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.scores.score import ScorePairs
from tamis.stages.scores.settings import ScoresSettings
from tamis.stages.scores.teachers.fusion import FusionTeacher, bm25_scores, cosines
from tamis.stages.scores.teachers.judge import judge_teacher
from tamis.stages.scores.teachers.local import LocalEncoder, LocalReranker, OwnFunction
from tamis.stages.scores.teachers.remote_encoder import RemoteEncoder
from tamis.stages.scores.teachers.remote_reranker import remote_reranker
from tamis.stages.scores.teachers.rerankers import Rerankers
from tamis.stages.scores.teachers.teaching import STAGES, Ahead, Connection, Shared, Teaching

KINDS: Final[Mapping[str, Callable[[Any, int, Shared], Teaching]]] = {
    "encoder": LocalEncoder,
    "reranker": LocalReranker,
    "judge": judge_teacher,
    "remote-reranker": remote_reranker,
    "remote-encoder": RemoteEncoder,
    "own": OwnFunction,
}
"""By the word that a recipe has for it: makes a teacher of its section, its place and what teachers share."""


class TeacherPool:
    """The teachers of a recipe.

    Attributes:
        settings: Who teaches, with which weight.
    """

    def __init__(
        self, settings: ScoresSettings, first_stages: FirstStages, requests: RequestsSettings, context: RunContext
    ) -> None:
        """Open nothing yet."""
        self.settings = settings
        self._shared = Shared(first_stages, Rerankers(context.machine), requests, context)

    @cached_property
    def members(self) -> list[Teaching]:
        """Those that the recipe names beside the first stages, in its order."""
        return [KINDS[one.kind](one, place, self._shared) for place, one in enumerate(self.settings.teachers)]

    def open(self, queries: Mapping[str, str], ahead: Ahead = tuple) -> ScorePairs:
        """The weighted teacher, ready for these queries, texts by id; models elsewhere are asked `ahead` at once."""
        settings, first_stages = self.settings, self._shared.first_stages
        embeddings = first_stages.embeddings
        parts = [(settings.bm25, bm25_scores(first_stages.indexes))]
        embedded = ((settings.dense, embeddings.dense), (settings.use, embeddings.use))
        parts += [(weight, cosines(*embeddings.both(by, queries))) for weight, by in embedded if weight]
        named = sorted(zip(settings.teachers, self.members, strict=True), key=lambda one: one[1].of_pairs)
        return FusionTeacher([*parts, *((wanted.weight, member.open(queries, ahead)) for wanted, member in named)])

    def release(self) -> None:
        """Forget the models of this machine, so that what follows has their memory."""
        self._shared.rerankers.release()

    @property
    def servers(self) -> list[Connection]:
        """Those of the teachers that stand behind one."""
        return [member.server for member in self.members if member.server]

    def cost(self, plan: Plan) -> Iterator[Work]:
        """What asking the teachers will cost; the first stage's bi-encoder costs what searching does."""
        embeddings = self._shared.first_stages.embeddings
        if self.settings.use:
            yield from embedding_cost(embeddings.use, STAGES, embeddings, plan)
        for member in self.members:
            yield from member.cost(plan)
