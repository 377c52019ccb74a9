"""Many requests to one server at a time: when each is sent, sent again or given up, and when all is stopped."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from tamis.errors import ModelError, TamisError
from tamis.records import Tokens
from tamis.remote.budget import Budget, usage
from tamis.remote.client import Failure, Json, Outcome, Refusal, piece
from tamis.remote.settings import RequestsSettings

Request = TypeVar("Request")
Value = TypeVar("Value")

logger = logging.getLogger(__name__)

_NOTHING: Final = Tokens()

MOST_IN_A_ROW: Final = 5
"""Requests given up without one answered between them after which the server is taken to be broken."""

OF_ONE_REQUEST: Final = (400, 413, 422, 451)
"""Statuses by which a server refuses one request for what it holds: too long, or words that it does not take."""

MOST_REFUSED: Final = 0.1
"""Share of such requests above which it is not the texts that are wrong."""

LONGEST_WAIT: Final = 600.0
"""Seconds; a server that asks for a longer rest will not be back within this run."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Request, Value]):
    """What became of a request.

    Attributes:
        request: The request.
        value: What was asked for, None where it did not come.
        reason: Why not, a few fixed words; empty where it came.
        final: Whether asking again would bring no other answer.
        tokens: What all attempts cost together.
    """

    request: Request
    value: Value | None = None
    reason: str = ""
    final: bool = True
    tokens: Tokens = _NOTHING


@dataclass(frozen=True, slots=True)
class RequestCodec(Generic[Request, Value]):
    """What a request looks like, and what is read in its answer.

    Attributes:
        route: Behind the server's address.
        answer: What a whole answer is: a JSON object or an array.
        body: Fields of a request, made anew each time.
        most: What sending it once can cost.
        value: What was asked for, None where the answer does not hold it. A ModelError stops the run.
        written: Tokens that a value is taken to have cost where the server does not say.
        wanted: What is asked for, in a word.
    """

    route: str
    answer: type[dict[str, Any]] | type[list[Any]]
    body: Callable[[Request], dict[str, Any]]
    most: Callable[[Request], Tokens]
    value: Callable[[Request, Json], Value | None]
    written: Callable[[Value | None], int]
    wanted: str


@dataclass(frozen=True, slots=True)
class Server(Generic[Request, Value]):
    """How to ask one server, as its protocol wants it.

    Attributes:
        url: For messages.
        codec: What a request can cost, and what is read in its answer.
        send: Sends a request once.
        refused: What to tell the user when the server refuses a request.
    """

    url: str
    codec: RequestCodec[Request, Value]
    send: Callable[[Request], "Future[Outcome]"]
    refused: Callable[[Refusal], ModelError]


@dataclass(slots=True)
class _Asked(Generic[Request]):
    """A request under way or waiting for its next attempt.

    Attributes:
        request: What is asked for.
        most: What one attempt can cost.
        attempts: How often it was sent.
        paid: What the attempts so far cost.
        due: When it may be sent again, on the monotonic clock.
    """

    request: Request
    most: Tokens
    attempts: int = 0
    paid: Tokens = _NOTHING
    due: float = 0.0


class Attempts(Generic[Request, Value]):
    """One pass over requests. All of it runs on the caller's thread; only the connections have their own.

    Attributes:
        stopped: Why it ended before all requests were answered, None if it did not.
    """

    def __init__(
        self,
        server: Server[Request, Value],
        settings: RequestsSettings,
        budget: Budget,
        failures: Counter[str],
        requests: Iterable[Request],
    ) -> None:
        """Send nothing yet.

        Args:
            server: Who is asked.
            settings: How many at a time, and how often.
            budget: What may be spent; what is spent is added to it.
            failures: Failed attempts by reason; those of this pass are added.
            requests: Read as they are needed.
        """
        self.stopped: TamisError | None = None
        self._server, self._settings, self._budget, self._failures = server, settings, budget, failures
        self._todo = iter(requests)
        self._running: dict[Future[Outcome], _Asked[Request]] = {}
        self._waiting: list[_Asked[Request]] = []
        self._in_a_row = 0
        self._refused: list[tuple[_Asked[Request], str]] = []
        self._denials = 0
        self._denial: ModelError | None = None
        self._rest_until = 0.0  # the server asked for it

    def answers(self) -> Iterator[Answer[Request, Value]]:
        """The answers as they come. When something stops the run, those under way are waited for: they are paid."""
        try:
            while True:
                self._start()
                if not self._running and not self._waiting:
                    yield from self._left_out()
                    return
                for future in self._finished():
                    answer = self._judged(self._running.pop(future), future.result())
                    if answer:
                        yield answer
                if self._few_are_refused():
                    yield from self._left_out()
                if self.stopped:
                    # No further attempts; what they have cost so far is told.
                    yield from (_given_up(asked, "not finished") for asked in self._waiting)
                    self._waiting.clear()
        finally:
            for future in self._running:
                future.cancel()

    def _start(self) -> None:
        """Send what may be sent now: due attempts first, then new requests."""
        most = self._settings.concurrency
        while not self.stopped and len(self._running) < most and time.monotonic() >= self._rest_until:
            asked = self._next(len(self._running) + len(self._waiting) < most)
            if asked is None:
                return
            reserved = sum((other.most for other in self._running.values()), asked.most)
            limit = self._budget.exceeded_by(reserved)
            if limit:
                self._waiting.append(asked)
                if not self._running:  # else it may fit once those under way have cost less than they could
                    self.stopped = self._budget.error(limit)
                return
            asked.attempts += 1
            self._running[self._server.send(asked.request)] = asked

    def _next(self, room: bool) -> _Asked[Request] | None:
        """The next attempt that is due, or where there is room the next request; None where there is neither."""
        due = min(self._waiting, key=lambda asked: asked.due, default=None)
        if due is not None and due.due <= time.monotonic():
            self._waiting.remove(due)
            return due
        request = next(self._todo, None) if room else None
        return None if request is None else _Asked(request, self._server.codec.most(request))

    def _finished(self) -> Iterable["Future[Outcome]"]:
        """Wait until a request under way is finished or another one may be sent; those that are finished."""
        now = time.monotonic()
        due = min((asked.due for asked in self._waiting), default=None)
        # What is due now and was not sent waits for an answer: only that makes room.
        seconds = self._rest_until - now if self._rest_until > now else None if due is None or due <= now else due - now
        if self._running:
            return wait(self._running, seconds, FIRST_COMPLETED).done
        if not self.stopped:
            time.sleep(seconds or 0.0)
        return ()

    def _judged(self, asked: _Asked[Request], outcome: Outcome) -> Answer[Request, Value] | None:
        """The answer to a request; None where it is tried again."""
        if isinstance(outcome, Refusal):
            return self._denied(asked, outcome)
        if isinstance(outcome, Failure):
            if outcome.paid:
                self._pay(asked, asked.most)
            return self._failed(asked, outcome, final=False)
        used = usage(outcome)
        try:
            value = self._server.codec.value(asked.request, outcome)
        except ModelError as error:
            self._pay(asked, used or asked.most)
            self.stopped = self.stopped or error
            return _given_up(asked, "not understood")
        self._pay(asked, used or Tokens(asked.most.prompt, self._server.codec.written(value), 1))
        if value is None:
            wanted = self._server.codec.wanted
            failure = Failure(nothing_in_the_answer(wanted), f"no {wanted} in {piece(repr(outcome))}")
            return self._failed(asked, failure, final=used is not None)
        self._in_a_row = 0
        return Answer(asked.request, value, tokens=asked.paid)

    def _denied(self, asked: _Asked[Request], refusal: Refusal) -> Answer[Request, Value] | None:
        """Stop, or put the request aside that is refused for what it holds; None where it is."""
        error = self._server.refused(refusal)
        if refusal.status not in OF_ONE_REQUEST:
            self.stopped = self.stopped or error
            return _given_up(asked, "refused")
        reason = f"HTTP {refusal.status}"
        self._failures[reason] += 1
        self._refused.append((asked, reason))
        self._denials += 1
        self._denial = self._denial or error
        if len(self._refused) >= MOST_IN_A_ROW and not self._few_are_refused():
            self.stopped = self.stopped or error
        return None

    def _few_are_refused(self) -> bool:
        """Whether the server answers most; what it answered in this folder before counts, which is not asked anew."""
        return self._denials <= MOST_REFUSED * (self._denials + self._budget.spent.requests)

    def _left_out(self) -> Iterator[Answer[Request, Value]]:
        """What was refused, where the server answers others; said once. Where it answers nothing, it is stopped."""
        if self._refused and not self._budget.spent.requests:
            self.stopped = self.stopped or self._denial
        if self._denial and not self.stopped and len(self._refused) == self._denials:
            logger.warning("%s; what is refused for what it holds is left out, and not asked again", self._denial)
        yield from (_given_up(asked, reason, final=not self.stopped) for asked, reason in self._refused)
        self._refused.clear()

    def _pay(self, asked: _Asked[Request], tokens: Tokens) -> None:
        asked.paid += tokens
        self._budget.spent += tokens

    def _failed(self, asked: _Asked[Request], failure: Failure, final: bool) -> Answer[Request, Value] | None:
        """Put the request aside for another attempt, or give it up."""
        self._failures[failure.reason] += 1
        if failure.wait > LONGEST_WAIT:
            self._stop(f"{failure.detail}; it asks to wait {failure.wait:,.0f} s", "run the same command again then")
        now = time.monotonic()
        self._rest_until = max(self._rest_until, now + min(failure.wait, LONGEST_WAIT))
        if asked.attempts < self._settings.attempts:
            # Jitter on top of what the server asks for, so that not all requests come back at once.
            backoff = min(self._settings.wait * 2 ** (asked.attempts - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0)
            asked.due = max(now, self._rest_until) + backoff
            self._waiting.append(asked)
            return None
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            self._stop(
                f"{self._in_a_row} requests in a row failed, each {asked.attempts} times, the last one with "
                f"{failure.detail}",
                "mend the server and run the same command again",
            )
        return _given_up(asked, failure.reason, final)

    def _stop(self, what: str, advice: str) -> None:
        error = ModelError(f"{self._server.url}: {what}; finished {self._budget.wording.results} are kept, {advice}")
        self.stopped = self.stopped or error


def nothing_in_the_answer(wanted: str) -> str:
    """The reason where an answer came without what was asked for."""
    return f"no {wanted} in the answer"


def _given_up(asked: _Asked[Request], reason: str, final: bool = False) -> Answer[Request, Value]:
    return Answer(asked.request, None, reason, final, asked.paid)
