"""A query writer that asks a server which speaks OpenAI's protocol: vLLM, llama.cpp, TGI, DeepSeek, OpenAI itself."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tamis.records import QueryAnswer, QueryRequest, Tokens
from tamis.remote.attempts import nothing_in_the_answer
from tamis.remote.budget import Budget, Wording, estimated_tokens, usage
from tamis.remote.client import Json
from tamis.remote.endpoint import CHAT_TOKENS, Endpoint, RequestCodec, request_body
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.settings import EndpointSettings
from tamis.stages.queries.writers.answers import CUT, query_of

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


class EndpointGenerator:
    """Writes queries with several requests under way. Call `close` when done, or use it in a `with` block.

    Attributes:
        name: The model's name without slashes.
        model: The model as the server calls it.
    """

    def __init__(self, settings: EndpointSettings, requests: RequestsSettings, spent: Tokens) -> None:
        """Read the key and start the client; nothing is sent yet.

        Args:
            settings: The server, and what may be spent.
            requests: How it is asked.
            spent: What earlier runs cost.

        Raises:
            SettingsError: The key cannot be sent in a header.
        """
        self.name = settings.model.replace("/", "--")
        self.model = settings.model
        self._settings = settings
        protocol = RequestCodec(
            route_of(settings),
            dict,
            self._body,
            self._most,
            self._said,
            self._written,
            _WANTED,
        )
        wording = Wording(
            "queries.endpoint",
            "queries",
            "queries.documents",
            "most end with /v1",
            f"mode ({settings.mode}) and extra",
        )
        self._endpoint = Endpoint(settings, protocol, requests, spent, wording)

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

    def _body(self, request: QueryRequest) -> dict[str, Any]:
        return body_of(request, self._settings)

    def _most(self, request: QueryRequest) -> Tokens:
        return most_tokens(request, self._settings)

    def _said(self, request: QueryRequest, answer: Json) -> Reply | None:
        return said_in(request, answer, self._settings)

    def _written(self, said: Reply | None) -> int:
        return written_tokens(said, self._settings)


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
