"""A teacher behind a server that scores documents for a query, one or several in a request."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tamis.artifacts import item_key
from tamis.costs.plan import Plan
from tamis.costs.requests import counted, expected
from tamis.costs.timing import QUERY_CHARACTERS
from tamis.costs.work import Work
from tamis.stages.candidates.cost import heads_of
from tamis.stages.scores.teachers.cached import CachedScores, Group
from tamis.stages.scores.teachers.teaching import Ahead, Connection, Shared, Teaching


class PairServer(Teaching):
    """Scores groups of pairs through a network, several requests at a time."""

    of_pairs = True

    def __init__(self, server: Connection, shared: Shared, batch: int, prompt: Mapping[str, Any] | None = None) -> None:
        """Ask nothing yet; at most `batch` documents at once. Beside the settings a score depends on `prompt`."""
        self.server: Connection = server
        self._batch, self._facts = batch, {**server.facts(), **(prompt or {})}
        self._context, self._candidates = shared.context, shared.first_stages.settings

    def identity(self) -> str:
        """What is told of the model, and its prompt."""
        return item_key(self._facts)

    def open(self, queries: Mapping[str, str], ahead: Ahead) -> CachedScores:
        """It is asked when scores are needed."""
        context, teacher = self._context, self.server.teacher
        where = (item_key(teacher.kind, self._facts), context.documents, context.cache)
        return CachedScores(self.server.ask, *where, self._batch, teacher.max_chars)

    def cost(self, plan: Plan) -> Iterator[Work]:
        """Requests; an estimate sends none."""
        context, teacher, section, most = (
            self._context,
            self.server.teacher,
            self.server.section,
            self.server.codec.most,
        )
        heads: dict[str, list[tuple[int, int]]] = {}
        if "scores" in plan.unfinished and "candidates" in context.folders:
            yield counted("scores", section, teacher, map(most, self.open({}, tuple).unscored(context)))
        elif "scores" in plan.unfinished:
            heads["scores"] = list(heads_of(self._candidates, plan.queries, context))
        if "evaluate" in plan.unfinished:
            heads["evaluate"] = [(plan.questions, self._candidates.depth)]
        shown = [document.text[: teacher.max_chars] for document in context.documents.values()] if heads else []
        each = [most(Group(text[:QUERY_CHARACTERS], (text,))) for text in shown]
        for stage, found in heads.items():
            requests = sum(queries * math.ceil(documents / self._batch) for queries, documents in found)
            pairs = sum(queries * documents for queries, documents in found)
            yield expected(stage, section, teacher, requests, pairs, each)
