"""The teachers of a recipe that stand behind servers: how each is spoken to, its connections, and what it costs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from typing import Any

from tamis.artifacts import ItemStore
from tamis.remote.attempts import Answer, Request
from tamis.remote.budget import Wording
from tamis.remote.endpoint import Endpoint, RequestCodec
from tamis.remote.settings import RequestsSettings
from tamis.remote.spending import Ledger
from tamis.stages.scores.settings import JudgeTeacher, RemoteEncoderTeacher, RemoteRerankerTeacher, Teacher
from tamis.stages.scores.teachers.judge import LLMJudge, load_judge_prompt
from tamis.stages.scores.teachers.remote_encoder import encoder_protocol
from tamis.stages.scores.teachers.remote_reranker import reranker_protocol

OnServer = JudgeTeacher | RemoteRerankerTeacher | RemoteEncoderTeacher


def teacher_protocol(teacher: OnServer) -> RequestCodec[Any, Any]:
    """What a teacher is asked and what that can cost: a judge and a reranker groups, an encoder texts.

    Raises:
        InputError: The judge's template cannot be read.
    """
    if isinstance(teacher, JudgeTeacher):
        return LLMJudge(teacher, load_judge_prompt(teacher.template)).protocol
    return reranker_protocol(teacher) if isinstance(teacher, RemoteRerankerTeacher) else encoder_protocol(teacher)


class Servers:
    """The connections of a run's teachers, each opened when there is first something to ask. Call `close` when done."""

    def __init__(self, teachers: Sequence[Teacher], requests: RequestsSettings, items: ItemStore) -> None:
        """Open nothing yet.

        Args:
            teachers: All teachers of the recipe, in its order.
            requests: How servers are asked.
            items: Of the run folder, where it is written down what was paid.
        """
        self._teachers, self._requests, self._items = teachers, requests, items
        self._opened: dict[int, Endpoint[Any, Any]] = {}
        self._open = ExitStack()

    def ask(self, teacher: OnServer, requests: Iterable[Request]) -> Iterator[Answer[Request, Any]]:
        """Send each request; answers come as they are finished. Without a request nothing is opened.

        Raises:
            SettingsError: The key cannot be sent in a header.
            ModelError: The server refuses a request, or fails all the time.
            RunError: The next request could exceed the budget.
        """
        wanted = iter(requests)
        first = next(wanted, None)
        if first is not None:
            yield from self._endpoint(teacher).ask(chain([first], wanted))

    def ledger(self, teacher: OnServer) -> Ledger:
        """What a teacher has cost the run folder."""
        return Ledger(self._items, f"{teacher.kind} {teacher.model}", teacher)

    def section(self, teacher: OnServer) -> str:
        """Where the recipe names a teacher."""
        return f"scores.teachers.{self._place(teacher)}"

    @property
    def money(self) -> float:
        """What the servers have cost the run folder, as far as this run asked them."""
        return sum(server.budget.money for server in self._opened.values())

    def spent(self) -> dict[str, dict[str, Any]]:
        """What each server has cost the run folder, as far as this run asked it, by kind and model."""
        return {
            f"{teacher.kind} {teacher.name}": {
                **asdict(self._opened[place].budget.spent),
                "money": round(self._opened[place].budget.money, 6),
                "failed_attempts": dict(self._opened[place].failures.most_common()),
            }
            for place, teacher in enumerate(self._teachers)
            if place in self._opened
        }

    def close(self) -> None:
        """Close the connections."""
        self._open.close()

    def _place(self, teacher: OnServer) -> int:
        return next(place for place, one in enumerate(self._teachers) if one is teacher)

    def _endpoint(self, teacher: OnServer) -> Endpoint[Any, Any]:
        place = self._place(teacher)
        if place not in self._opened:
            spent = self.ledger(teacher).spent
            words = _wording(teacher, self.section(teacher))
            opened = Endpoint(teacher, teacher_protocol(teacher), self._requests, spent, words)
            self._open.callback(opened.close)
            self._opened[place] = opened
        return self._opened[place]


def _wording(teacher: OnServer, section: str) -> Wording:
    hint, others = "most end with /v1", "batch, max_chars and extra"
    if isinstance(teacher, JudgeTeacher):
        others = "max_chars and extra"
    elif isinstance(teacher, RemoteRerankerTeacher):
        hint, others = "without /rerank", f"protocol ({teacher.protocol}), {others}"
    return Wording(section, "scores", "candidates.depth", hint, others)
