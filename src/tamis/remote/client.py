"""JSON over HTTP, many requests at a time: what came back, sorted by what can be done about it.

The connections live on a thread of their own, so that the rest of tamis stays plain functions and generators (and works
where an event loop runs already, as in notebooks).
"""

import asyncio
import json
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from tamis.errors import SettingsError

if TYPE_CHECKING:
    import httpx2

_BUSY: Final = (408, 425, 429)
_PIECE: Final = 200  # characters of a body that are shown
_OF_CONNECTIONS: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SECRET: Final = 8  # characters of a key: what is shorter (`EMPTY`, `none`) is none, and may be a word of an answer


@dataclass(frozen=True, slots=True)
class Failure:
    """No usable answer, though there may be one the next time.

    Attributes:
        reason: A few fixed words, for counting.
        detail: What came, a piece of it.
        wait: Seconds that the server asks to wait, 0 where it does not say.
        paid: Whether the server may have done the work all the same.
    """

    reason: str
    detail: str
    wait: float = 0.0
    paid: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that will be the same the next time: the request, the key or the address is wrong.

    Attributes:
        status: Status of HTTP.
        detail: A piece of the answer's body.
    """

    status: int
    detail: str


Json = dict[str, Any] | list[Any]

Outcome = Json | Failure | Refusal


class Client:
    """Posts JSON to one server. Call `close` when done."""

    def __init__(
        self, url: str, key: str, timeout: float, concurrency: int, answer: type[dict[str, Any]] | type[list[Any]]
    ) -> None:
        """Start the thread; nothing is sent yet.

        Args:
            url: Where every request goes.
            key: Sent as a bearer token with every request and shown nowhere; empty: none is sent.
            timeout: Seconds for a whole answer.
            concurrency: Most connections.
            answer: What a whole answer is: an object or an array.

        Raises:
            SettingsError: The address is none, or the environment names a proxy or certificates that are of no use.
        """
        self._secret = key if len(key) >= _SECRET else ""
        self._url, self._timeout, self._answer = url, timeout, answer
        self._http = _connections(url, key, concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tamis requests", daemon=True)
        self._thread.start()

    def post(self, body: dict[str, Any]) -> "Future[Outcome]":
        """Send a request; redirects are not followed, so that the key goes nowhere else."""
        return asyncio.run_coroutine_threadsafe(self._post(body), self._loop)

    def close(self) -> None:
        """Break off what is under way."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.aclose()

    async def _post(self, body: dict[str, Any]) -> Outcome:
        import httpx2

        try:
            async with asyncio.timeout(self._timeout):
                # ASCII, as a text may hold half a surrogate pair, which UTF-8 cannot carry.
                response = await self._http.post(self._url, content=json.dumps(body).encode("ascii"))
        except TimeoutError:
            return Failure("no answer in time", f"none within {self._timeout:g} s", paid=True)
        except httpx2.ConnectError as error:
            return Failure("no connection", piece(self._hidden(str(error))))
        except httpx2.HTTPError as error:
            return Failure("broken connection", piece(self._hidden(str(error)) or type(error).__name__), paid=True)
        return self._sorted(response)

    def _sorted(self, response: "httpx2.Response") -> Outcome:
        status, whole = response.status_code, self._hidden(response.text)
        text = piece(whole)
        if status in _BUSY or status >= 500:
            return Failure(f"HTTP {status}", f"HTTP {status}: {text}", retry_after(response.headers.get("Retry-After")))
        if not 200 <= status < 300:
            return Refusal(status, piece(self._hidden(response.headers.get("Location", "")) or whole))
        try:
            answer = json.loads(whole)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, self._answer):
            wanted = "object" if self._answer is dict else "array"
            return Failure("malformed answer", f"no JSON {wanted} but {text!r}", paid=True)
        return answer

    def _hidden(self, text: str) -> str:
        """The text without the key, should a server repeat it."""
        return text.replace(self._secret, "***") if self._secret else text


def _connections(url: str, key: str, concurrency: int) -> "httpx2.AsyncClient":
    """What keeps the connections.

    Raises:
        SettingsError: See `Client`.
    """
    import httpx2

    try:
        httpx2.URL(url)
        return httpx2.AsyncClient(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=None,  # one clock for the whole answer, see _post
            verify=url.startswith("https:"),  # reading all certificates takes a second, which plain http can spare
            limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        )
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        named = [name for name in os.environ if name.upper() in _OF_CONNECTIONS and os.environ[name]]
        advice = f"check the environment variables {', '.join(sorted(named))}, or unset them" if named else "check it"
        raise SettingsError(f"{url}: no connection can be made: {piece(str(error))}; {advice}") from None


def piece(text: str) -> str:
    """The beginning of a text as one printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * _PIECE]).split())
    return line if len(line) <= _PIECE else line[: _PIECE - 1] + "…"


def retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, given as a number or as a date (RFC 9110, 10.2.3); 0 where there is none."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            told = parsedate_to_datetime(header)  # the oldest of its forms names no zone: all are in GMT
            seconds = told.replace(tzinfo=told.tzinfo or UTC).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0
