"""A query writer that asks a server which speaks OpenAI's protocol: vLLM, llama.cpp, TGI, DeepSeek, OpenAI itself."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tamis.records import QueryAnswer, QueryRequest, Tokens
from tamis.remote.attempts import nothing_in_the_answer
from tamis.remote.budget import Budget, Wording, estimated_tokens, usage
from tamis.remote.client import Json
from tamis.remote.endpoint import CHAT_TOKENS, Endpoint, Protocol, request_body
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.settings import EndpointSettings
from tamis.stages.queries.writers.answers import query_of

_WANTED: Final = "query"
NO_QUERY: Final = nothing_in_the_answer(_WANTED)
"""Why there is no query where a server answered without one, as a refusal."""


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
        protocol = Protocol(
            route_of(settings),
            dict,
            self._body,
            self._most,
            self._text,
            lambda text: estimated_tokens(text or ""),
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
            text = answer.value or ""
            yield QueryAnswer(answer.request.place, text, answer.reason, answer.final, answer.tokens)

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

    def _text(self, request: QueryRequest, answer: Json) -> str | None:
        return text_of(request, answer, self._settings)


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


def text_of(request: QueryRequest, answer: Json, settings: EndpointSettings) -> str | None:
    """The query in the answer to a request; None where none is there."""
    chat = settings.mode == "chat"
    try:
        choice = answer["choices"][0]  # type: ignore[call-overload]  # the client lets objects through only
        text = choice["message"]["content"] if chat else choice["text"]
    except (KeyError, IndexError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    return query_of(text, request.prompt.text) if chat else text.strip()


def answer_of(request: QueryRequest, answer: dict[str, Any], settings: EndpointSettings) -> QueryAnswer:
    """What became of a request whose answer came by another way than through the client, as if it had come by it."""
    used, text = usage(answer), text_of(request, answer, settings)
    tokens = used or Tokens(most_tokens(request, settings).prompt, estimated_tokens(text or ""), 1)
    if text is None:
        return QueryAnswer(request.place, "", NO_QUERY, used is not None, tokens)
    return QueryAnswer(request.place, text, tokens=tokens)


def most_tokens(request: QueryRequest, settings: EndpointSettings) -> Tokens:
    """What sending a request once can cost, rather too much than too little."""
    # Some of OpenAI's models want the limit under this name, in `extra` and with `max_tokens: null` beside it.
    named = settings.extra.get("max_completion_tokens")
    written = named if isinstance(named, int) else settings.max_tokens
    return Tokens(estimated_tokens(request.prompt.text) + CHAT_TOKENS, written, 1)
