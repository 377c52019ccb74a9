"""A query writer that asks a server which speaks OpenAI's protocol: vLLM, llama.cpp, TGI, DeepSeek, OpenAI itself."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Final

from tamis.errors import ModelError, SettingsError
from tamis.generators.answers import query_of
from tamis.generators.attempts import Attempts, Server
from tamis.generators.budget import Budget, estimated_tokens
from tamis.generators.client import Client, Outcome, Refusal
from tamis.records import QueryAnswer, QueryRequest, Tokens
from tamis.settings import EndpointSettings, RequestsSettings

_CHAT_TOKENS: Final = 16  # what a chat template adds to a message


class EndpointGenerator:
    """Writes queries with several requests under way. Call `close` when done, or use it in a `with` block.

    Attributes:
        name: The model's name without slashes.
        model: The model as the server calls it.
        budget: What it has cost so far, and what it may cost.
        failures: How often an attempt failed, by reason.
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
        key = os.environ.get(settings.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise SettingsError(
                f"environment variable {settings.key_variable}: expected a key, got other characters too"
            )
        self.name = settings.model.replace("/", "--")
        self.model = settings.model
        self.budget = Budget(settings, spent)
        self.failures: Counter[str] = Counter()
        self._settings, self._requests = settings, requests
        self._url = settings.url + ("/chat/completions" if settings.mode == "chat" else "/completions")
        self._has_key = bool(key)
        self._client = Client(self._url, key, requests.timeout, requests.concurrency)

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Ask for each query; answers come as they are finished.

        Raises:
            ModelError: The server refuses a request, or fails all the time.
            RunError: The next request could exceed the budget.
        """
        server = Server(self._url, self._send, self._most, self._text, self._refused)
        attempts = Attempts(server, self._requests, self.budget, self.failures, requests)
        yield from attempts.answers()
        if attempts.stopped:
            raise attempts.stopped

    def close(self) -> None:
        """Break off what is under way and close the connections."""
        self._client.close()

    def __enter__(self) -> "EndpointGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _send(self, request: QueryRequest) -> "Future[Outcome]":
        """Send the fields of a request, made anew each time: request i holds document i and nothing else."""
        settings = self._settings
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
        body = {name: value for name, value in (ours | settings.extra).items() if value is not None}
        return self._client.post(body)

    def _most(self, request: QueryRequest) -> Tokens:
        return Tokens(estimated_tokens(request.prompt.text) + _CHAT_TOKENS, self._settings.max_tokens)

    def _text(self, request: QueryRequest, answer: dict[str, Any]) -> str | None:
        chat = self._settings.mode == "chat"
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] if chat else choice["text"]
        except (KeyError, IndexError, TypeError):
            return None
        if not isinstance(text, str):
            return None
        return query_of(text, request.prompt.text) if chat else text.strip()

    def _refused(self, refusal: Refusal) -> ModelError:
        settings, status = self._settings, refusal.status
        key = f"the key in the environment variable {settings.key_variable}" + ("" if self._has_key else " (not set)")
        advice = {
            401: f"check {key}",
            403: f"check {key} and whether it may use queries.endpoint.model ({settings.model})",
            404: f"check queries.endpoint.url (most end with /v1), mode and model ({settings.model})",
        }
        request = f"check queries.endpoint.model ({settings.model}), mode ({settings.mode}) and extra"
        moved = "queries.endpoint.url has moved there"
        told = advice.get(status, moved if status < 400 else request)
        return ModelError(f"{self._url}: HTTP {status}: {refusal.detail or 'no text'}; {told}")
