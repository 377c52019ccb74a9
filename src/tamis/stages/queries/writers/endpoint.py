"""A query writer that asks a server which speaks OpenAI's protocol: vLLM, llama.cpp, TGI, DeepSeek, OpenAI itself."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tamis.context import RunContext
from tamis.costs.requests import counted
from tamis.costs.work import Work
from tamis.records import Document, Facts, QueryAnswer, QueryRequest, Tokens
from tamis.remote.attempts import RequestCodec, nothing_in_the_answer
from tamis.remote.budget import Budget, Wording, estimated_tokens, usage
from tamis.remote.client import Json
from tamis.remote.endpoint import CHAT_TOKENS, Endpoint, request_body
from tamis.remote.settings import PLACE_AND_PRICE, RequestsSettings
from tamis.remote.spending import Ledger
from tamis.stages.queries.settings import EndpointSettings
from tamis.stages.queries.write import Generate
from tamis.stages.queries.writers.answers import CUT, query_of
from tamis.stages.queries.writers.writer import QueryWriter
from tamis.text import clip, one_line

_WANTED: Final = "query"
NO_QUERY: Final = nothing_in_the_answer(_WANTED)
"""Why there is no query where a server answered without one, as a refusal."""

_CUT: Final = "length"  # the reason to end, as servers call it


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    Attributes:
        text: The query in it; may be empty.
        reason: Why that is none, a few fixed words; empty where it is one.
    """

    text: str
    reason: str = ""


class EndpointWriter(QueryWriter):
    """The generator `endpoint`."""

    def __init__(self, settings: EndpointSettings, requests: RequestsSettings, context: RunContext) -> None:
        """Connect nowhere yet."""
        self.server: EndpointSettings = settings
        self.mode, self.own_temperature = settings.mode, "temperature" in settings.extra
        self._requests, self._context = requests, context
        self._opened: EndpointGenerator | None = None

    def identity(self) -> Facts:
        """All settings but place and price; no revision is as if there were no such setting."""
        facts = self.server.model_dump(mode="json", exclude=set(PLACE_AND_PRICE))
        return {name: value for name, value in facts.items() if value or name != "revision"}

    def open(self, documents: Sequence[Document]) -> "EndpointGenerator":
        """Ask from this process, whatever the executor: requests only wait, and the key stays here."""
        spent = Ledger(self._context.items, f"queries {self.server.model}", self.server).spent
        self._opened = EndpointGenerator(self.server, self._requests, spent)
        return self._opened

    def cost(self, left: Iterator[QueryRequest], cached: Callable[[Generate], Generate]) -> Iterator[Work]:
        """Requests; an estimate sends none."""
        yield counted("queries", "queries.endpoint", self.server, (most_tokens(one, self.server) for one in left))

    def money(self) -> float:
        """What it has cost this run folder so far; 0 before it is opened."""
        return self._opened.budget.money if self._opened else 0.0

    def spent(self) -> Facts:
        """What it has cost this run folder."""
        if self._opened is None:
            return {}
        spent = self._opened.budget.spent
        return {
            "prompt_tokens": spent.prompt,
            "completion_tokens": spent.completion,
            "requests": spent.requests,
            "money": round(self.money(), 6),
            "failed_attempts": dict(self._opened.failures.most_common()),
        }


class EndpointGenerator:
    """Writes queries with several requests under way. Call `close` when done, or use it in a `with` block.

    Attributes:
        name: The model's name without slashes.
        model: The model as the server calls it.
    """

    def __init__(self, settings: EndpointSettings, requests: RequestsSettings, spent: Tokens) -> None:
        """Read the key and start the client; nothing is sent yet, and earlier runs have `spent` so much.

        Raises:
            SettingsError: The key cannot be sent in a header.
        """
        self.name, self.model = settings.model.replace("/", "--"), settings.model
        codec: RequestCodec[QueryRequest, Reply] = RequestCodec(
            route_of(settings),
            dict,
            lambda request: body_of(request, settings),
            lambda request: most_tokens(request, settings),
            lambda request, answer: said_in(request, answer, settings),
            lambda said: written_tokens(said, settings),
            _WANTED,
        )
        wording = Wording(
            "queries.endpoint",
            "queries",
            "queries.documents",
            "most end with /v1",
            f"mode ({settings.mode}) and extra",
        )
        self._endpoint = Endpoint(settings, codec, requests, spent, wording)

    @property
    def budget(self) -> Budget:
        """What the model has cost so far, and what it may cost."""
        return self._endpoint.budget

    @property
    def failures(self) -> Counter[str]:
        """How often an attempt failed, by reason."""
        return self._endpoint.failures

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Ask for each query; answers come as they are finished.

        Raises:
            ModelError: The server refuses a request, or fails all the time.
            RunError: The next request could exceed the budget.
        """
        for answer in self._endpoint.ask(requests):
            said = answer.value or Reply("", answer.reason)
            yield QueryAnswer(answer.request.place, said.text, said.reason, answer.final, answer.tokens)

    def close(self) -> None:
        """Break off what is under way and close the connections."""
        self._endpoint.close()

    def __enter__(self) -> "EndpointGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def route_of(settings: EndpointSettings) -> str:
    """Where behind the server's address a request goes."""
    return "/chat/completions" if settings.mode == "chat" else "/completions"


def body_of(request: QueryRequest, settings: EndpointSettings) -> dict[str, Any]:
    """The fields of a request, made anew each time: request i holds document i and nothing else."""
    ours: dict[str, Any] = {
        "model": settings.model,
        "temperature": request.temperature,
        "seed": request.seed,
        "max_tokens": settings.max_tokens,
    }
    if settings.mode == "chat":
        ours["messages"] = [{"role": "user", "content": request.prompt.text}]
    else:
        ours |= {"prompt": request.prompt.text, "stop": ["\n"]}
    return request_body(ours, settings.extra)


def said_in(request: QueryRequest, answer: Json, settings: EndpointSettings) -> Reply | None:
    """What the model said in the answer to a request; None where it has no text, and was not cut before it came to one.

    An answer that was cut is no query, wherever the cut fell: models that think aloud are cut in their thoughts.
    """
    chat = settings.mode == "chat"
    try:
        choice = answer["choices"][0]  # type: ignore[call-overload]  # the client lets objects through only
        reason = CUT if choice.get("finish_reason") == _CUT else ""
        text = choice["message"].get("content") if chat else choice.get("text")
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if not isinstance(text, str):
        return Reply("", reason) if reason else None
    return Reply(query_of(text, request.prompt.text) if chat else text.strip(), reason)


def answer_of(request: QueryRequest, answer: dict[str, Any], settings: EndpointSettings) -> QueryAnswer:
    """What became of a request whose answer came by another way than through the client, as if it had come by it."""
    used, said = usage(answer), said_in(request, answer, settings)
    tokens = used or Tokens(most_tokens(request, settings).prompt, written_tokens(said, settings), 1)
    if said is None:
        return QueryAnswer(request.place, "", NO_QUERY, used is not None, tokens)
    return QueryAnswer(request.place, said.text, said.reason, tokens=tokens)


def other_model(answer: dict[str, Any], settings: EndpointSettings) -> list[str]:
    """The model that an answer says wrote it, where that is another than was asked for; else nothing.

    Servers put a date behind a name and leave a folder out: `gpt-4o-mini-2024-07-18`, `qwen3-8b` for `Qwen/Qwen3-8B`.
    """
    said = answer.get("model")
    if not isinstance(said, str):
        return []
    named, asked = (name.rpartition("/")[2].lower() for name in (said, settings.model))
    return [] if named.startswith(asked) or asked.startswith(named) else [clip(one_line(said), 60)]


def written_tokens(said: Reply | None, settings: EndpointSettings) -> int:
    """Tokens that an answer is taken to have cost where the server does not say."""
    if said and said.reason == CUT:
        return _limit(settings)[1]
    return estimated_tokens(said.text if said else "")


def most_tokens(request: QueryRequest, settings: EndpointSettings) -> Tokens:
    """What sending a request once can cost, rather too much than too little."""
    return Tokens(estimated_tokens(request.prompt.text) + CHAT_TOKENS, _limit(settings)[1], 1)


def cut_warning(count: int, settings: EndpointSettings) -> str:
    """What to tell the user of so many answers that were cut."""
    name, tokens = _limit(settings)
    answers = "1 answer was" if count == 1 else f"{count:,} answers were"
    return f"{answers} cut at {name.rpartition('.')[2]} {tokens}: raise queries.endpoint.{name}"


def _limit(settings: EndpointSettings) -> tuple[str, int]:
    """The setting that limits an answer, and how many tokens it allows."""
    # Some of OpenAI's models want the limit under this name, in `extra` and with `max_tokens: null` beside it.
    named = settings.extra.get("max_completion_tokens")
    return ("extra.max_completion_tokens", named) if isinstance(named, int) else ("max_tokens", settings.max_tokens)
