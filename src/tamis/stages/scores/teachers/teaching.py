"""What every teacher of a run answers for itself, what teachers share, and the servers that some of them ask."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, ClassVar, Final, Protocol

from tamis.context import RunContext
from tamis.costs.plan import Plan
from tamis.costs.work import Work
from tamis.records import Tokens
from tamis.remote.attempts import Answer, Request, RequestCodec
from tamis.remote.budget import Wording
from tamis.remote.endpoint import Endpoint
from tamis.remote.settings import PLACE_AND_PRICE, RequestsSettings
from tamis.remote.spending import Ledger
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.scores.score import ScorePairs, Unscored
from tamis.stages.scores.settings import OnServer
from tamis.stages.scores.teachers.rerankers import Rerankers

STAGES: Final = ("scores", "evaluate")
"""Where teachers are asked."""

SPEED: Final = PLACE_AND_PRICE | {"weight", "batch"}
"""Settings of a teacher behind a server that change none of its scores."""

Ahead = Callable[[], Iterable[Unscored]]
"""Gives all that will be asked, each time from the beginning; nothing where that is not known yet."""


@dataclass(frozen=True)
class Shared:
    """What the teachers of a run share.

    Attributes:
        first_stages: What searches, and the vectors of texts.
        rerankers: Models that score pairs on this machine.
        requests: How servers are asked.
        context: The run.
    """

    first_stages: FirstStages
    rerankers: Rerankers
    requests: RequestsSettings
    context: RunContext


@dataclass
class Connection:
    """A teacher's server, connected when there is first something to ask, and closed with the run.

    Attributes:
        teacher: Its settings.
        place: Its number among the recipe's teachers, from 0.
        shared: What teachers share.
        codec: What it is asked, and what that can cost.
        wording: What an address ends with, and the settings that may be wrong where it refuses a request.
    """

    teacher: OnServer
    place: int
    shared: Shared
    codec: RequestCodec[Any, Any]
    wording: tuple[str, str]
    _opened: Endpoint[Any, Any] | None = field(default=None, init=False)

    @property
    def section(self) -> str:
        """Where the recipe names it."""
        return f"scores.teachers.{self.place}"

    @property
    def ledger(self) -> Ledger:
        """What it has cost the run folder."""
        return Ledger(self.shared.context.items, f"{self.teacher.kind} {self.teacher.model}", self.teacher)

    def facts(self) -> dict[str, Any]:
        """All settings that a score depends on; the length at which texts are cut is seen in them."""
        return self.teacher.model_dump(mode="json", exclude=set(SPEED | {"template", "max_chars"}))

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer[Request, Any]]:
        """Send each request; answers come as they are finished. Without a request nothing is opened.

        Raises:
            SettingsError: The key cannot be sent in a header.
            ModelError: The server refuses a request, or fails all the time.
            RunError: The next request could exceed the budget.
        """
        wanted = iter(requests)
        first = next(wanted, None)
        for answer in self._endpoint().ask(chain([first], wanted)) if first is not None else ():
            if answer.tokens != Tokens():
                # Before the answer is kept: a kill between the two must not let the budget forget what was paid.
                self.ledger.items.put([self.ledger.entry(answer.tokens)])
            yield answer

    @property
    def money(self) -> float:
        """What it has cost the run folder; 0 where this run has not asked it."""
        return self._opened.budget.money if self._opened else 0.0

    def spent(self) -> dict[str, dict[str, Any]]:
        """What it has cost the run folder, by kind and model; nothing where this run has not asked it."""
        if self._opened is None:
            return {}
        budget, failures = self._opened.budget, dict(self._opened.failures.most_common())
        costs = {**asdict(budget.spent), "money": round(budget.money, 6), "failed_attempts": failures}
        return {self.ledger.name: costs}

    def _endpoint(self) -> Endpoint[Any, Any]:
        if self._opened is None:
            wording = Wording(self.section, "scores", "candidates.depth", *self.wording)
            self._opened = Endpoint(self.teacher, self.codec, self.shared.requests, self.ledger.spent, wording)
            self.shared.context.open.callback(self._opened.close)
        return self._opened


class Teaching(Protocol):
    """A teacher of a run. It is made of its section, its place among the teachers and what they share.

    Attributes:
        server: Where it is asked; None for this machine.
        of_pairs: Whether it reads query and document together; the opinions of such teachers are added last.
    """

    server: Connection | None = None
    of_pairs: ClassVar[bool]

    def identity(self) -> str:
        """Names what it is but its settings: the files of its model, or the prompt of a judge."""

    def open(self, queries: Mapping[str, str], ahead: Ahead) -> ScorePairs:
        """Make it ready to score documents for these queries, texts by id; a TamisError where it cannot be."""

    def cost(self, plan: Plan) -> Iterator[Work]:
        """What asking it will cost in the stages scores and evaluate; nothing where nobody can know."""
        return iter(())
