"""One server: its key, its connections, its budget, and what to tell the user when it refuses."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Final, Generic

from tamis.errors import ModelError, SettingsError
from tamis.records import Tokens
from tamis.remote.attempts import Answer, Attempts, Request, RequestCodec, Server, Value
from tamis.remote.budget import Budget, Wording
from tamis.remote.client import Client, Outcome, Refusal
from tamis.remote.settings import RequestsSettings, ServerSettings

CHAT_TOKENS: Final = 16
"""What a chat template adds to a message, at most."""


class Endpoint(Generic[Request, Value]):
    """Asks one server with several requests under way. Call `close` when done.

    Attributes:
        budget: What it has cost so far, and what it may cost.
        failures: How often an attempt failed, by reason.
    """

    def __init__(
        self,
        settings: ServerSettings,
        codec: RequestCodec[Request, Value],
        requests: RequestsSettings,
        spent: Tokens,
        wording: Wording,
    ) -> None:
        """Read the key and start the client; nothing is sent yet.

        Args:
            settings: The server, and what may be spent.
            codec: How it is spoken to.
            requests: How it is asked.
            spent: What earlier runs cost.
            wording: For messages.

        Raises:
            SettingsError: The key cannot be sent in a header.
        """
        key = os.environ.get(settings.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise SettingsError(
                f"environment variable {settings.key_variable}: expected a key, got other characters too"
            )
        self.budget = Budget(settings, spent, wording)
        self.failures: Counter[str] = Counter()
        self._settings, self._codec, self._requests, self._wording = settings, codec, requests, wording
        self._url = settings.url + codec.route
        self._has_key = bool(key)
        self._client = Client(self._url, key, requests.timeout, requests.concurrency, codec.answer)

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer[Request, Value]]:
        """Send each request; answers come as they are finished.

        Raises:
            ModelError: The server refuses a request, or fails all the time.
            RunError: The next request could exceed the budget.
        """
        server = Server(self._url, self._codec, self._send, self._refused)
        attempts = Attempts(server, self._requests, self.budget, self.failures, requests)
        yield from attempts.answers()
        if attempts.stopped:
            raise attempts.stopped

    def close(self) -> None:
        """Break off what is under way and close the connections."""
        self._client.close()

    def _send(self, request: Request) -> "Future[Outcome]":
        return self._client.post(self._codec.body(request))

    def _refused(self, refusal: Refusal) -> ModelError:
        settings, status, wording = self._settings, refusal.status, self._wording
        section = wording.section
        key = f"the key in the environment variable {settings.key_variable}" + ("" if self._has_key else " (not set)")
        advice = {
            401: f"check {key}",
            403: f"check {key} and whether it may use {section}.model ({settings.model})",
            404: f"check {section}.url ({wording.url_hint}), model ({settings.model}), {wording.others}",
        }
        request = f"check {section}.model ({settings.model}), {wording.others}"
        moved = f"{section}.url has moved there"
        told = advice.get(status, moved if status < 400 else request)
        return ModelError(f"{self._url}: HTTP {status}: {refusal.detail or 'no text'}; {told}")


def request_body(ours: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request: ours, the recipe's beside or instead of them, and none that is null."""
    return {name: value for name, value in (ours | extra).items() if value is not None}
