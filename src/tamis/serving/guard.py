"""Around every request: its id, its key, its line in the log, and refusals in the shape of its dialect."""

import asyncio
import logging
import re
import time
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamis.serving.admin import ADMIN
from tamis.serving.dialects.choosing import PATHS
from tamis.serving.dialects.dialect import Dialect
from tamis.serving.dialects.vllm import VLLM_RERANK
from tamis.serving.engine import log_failure
from tamis.serving.hosts import is_own_name
from tamis.serving.keys import ApiKeys
from tamis.serving.metrics import Metrics
from tamis.serving.request import Kind, RefusedError
from tamis.serving.targets import plain_target

logger = logging.getLogger(__name__)

PROBES = ("/livez", "/readyz", "/health", "/ready")
"""Paths that are asked every few seconds."""

OPEN_PATHS = ("/", *PROBES)
"""Paths that need no key: the playground's page holds nothing, and asks the others with the key that is typed in."""

LINGERING: Final = 30.0
"""Seconds for which a client may send on that was refused before its body was read; what comes is left unread."""

SILENT: Final = 5.0
"""Seconds without a word of it after which it is no longer waited for."""

LEFT = 499
"""Status in the logs of a request whose client did not wait for the answer."""


class Guard:
    """Around every request: its id, its key, its line in the log, and an answer whatever goes wrong."""

    def __init__(
        self, app: ASGIApp, keys: ApiKeys, metrics: Metrics, own_names: bool, admin_keys: ApiKeys | None = None
    ) -> None:
        self._app = app
        self._keys = keys
        self._admin_keys = admin_keys or ApiKeys([])
        self._metrics = metrics
        self._own_names = own_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = plain_target(scope)
        request = Request(scope, receive)
        facts: dict[str, Any] = {"request_id": _request_id(request), "begun": time.monotonic()}
        if path_of(request) in PATHS:
            facts["dialect"] = _dialect(request).name
        request.state.facts = facts
        status, unread = LEFT, False

        async def noted(message: Message) -> None:
            nonlocal status, unread
            if message["type"] == "http.response.start":
                status = message["status"]
                unread = (b"connection", b"close") in message["headers"] and status != HTTPStatus.REQUEST_TIMEOUT
                message["headers"].append((b"x-request-id", facts["request_id"].encode()))
            elif unread and not message.get("more_body"):
                await send({**message, "more_body": True})  # all of the answer; only the end is put off
                await _pass_over(receive)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self._within(request)(scope, receive, noted)
        except ClientDisconnect:
            self._metrics.abandoned.labels(facts.get("dialect", "")).inc()
        except Exception as error:  # a fault of ours: told as such, in the dialect's shape, and the server goes on
            log_failure(error, "a request failed")
            if status == LEFT:
                refused = RefusedError("failed", "the server failed on this request")
                await refusal(_dialect(request), refused, facts["request_id"])(scope, receive, noted)
        finally:
            self._note(request, facts, status)

    def _within(self, request: Request) -> ASGIApp:
        refused = self._refused(request)
        if refused is None:
            return self._app
        return refusal(_dialect(request), refused, request.state.facts["request_id"], close=request.method != "GET")

    def _refused(self, request: Request) -> RefusedError | None:
        if path_of(request) in OPEN_PATHS:
            return None
        if path_of(request).startswith(f"{ADMIN}/"):
            return self._refused_admin(request)
        if not self._keys.accept(request.headers.get("authorization", "")):
            return RefusedError("unauthorized", "invalid api token; send Authorization: Bearer KEY")
        host = request.headers.get("host", "")
        if self._own_names and not is_own_name(host):
            what = f"this server has no keys and answers to localhost and addresses only, not to {host[:100]!r}"
            return RefusedError("forbidden", f"{what}; set keys, or let your proxy send another Host")
        return None

    def _refused_admin(self, request: Request) -> RefusedError | None:
        """Whoever may change models has a key of another list; without one nobody may."""
        if not len(self._admin_keys):
            return RefusedError("forbidden", "nobody may change models here; set TAMIS_ADMIN_KEY or --admin-keys")
        if not self._admin_keys.accept(request.headers.get("authorization", "")):
            return RefusedError("unauthorized", "invalid admin key; send Authorization: Bearer KEY")
        return None

    def _note(self, request: Request, facts: dict[str, Any], status: int) -> None:
        seconds = time.monotonic() - facts.pop("begun")
        if dialect := facts.get("dialect"):
            self._metrics.requests.labels(dialect, facts.get("model", ""), str(status)).inc()
            self._metrics.seconds.labels(dialect).observe(seconds)
        if path_of(request) in PROBES and status == HTTPStatus.OK:
            return  # probes every few seconds would bury the rest
        facts |= {"method": request.method, "path": path_of(request)[:200], "status": status}
        logger.info("request", extra={"facts": facts | {"seconds": round(seconds, 4)}})


async def _pass_over(receive: Receive) -> None:
    """Let a client send the rest of its body: cut off while it writes, it would lose the answer (RFC 9112, 9.6)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGERING):
            more = True
            while more:
                async with asyncio.timeout(SILENT):
                    message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)


def refusal(dialect: Dialect, refused: RefusedError, request_id: str, close: bool = False) -> Response:
    """The answer that says why there are no scores; `close` where the rest of the body is not read."""
    status = dialect.status(refused.kind)
    headers = {"retry-after": str(refused.retry_after)} if refused.retry_after else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"  # RFC 9110, 15.5.2; some clients fail on an answer without it
    if close:
        headers["connection"] = "close"
    body = dialect.refuse(refused, status, request_id)
    return Response(status_code=status, headers=headers) if body is None else JSONResponse(body, status, headers)


async def not_here(request: Request, error: Exception) -> Response:
    """The answer where there is no such path, or none with this method."""
    assert isinstance(error, HTTPException)
    allowed = error.headers or {}
    kind: Kind = "wrong method" if error.status_code == 405 else "not found"
    why = f"expected {allowed.get('Allow')}" if allowed else "no such path here; /openapi.json lists them"
    refused = RefusedError(kind, f"{request.method} {path_of(request)[:200]}: {why}")
    answer = refusal(_dialect(request), refused, request.state.facts["request_id"])
    answer.headers.update(allowed)
    return answer


async def told_refusal(request: Request, error: Exception) -> Response:
    """The answer of a path that is no dialect's."""
    assert isinstance(error, RefusedError)
    return refusal(_dialect(request), error, request.state.facts["request_id"])


def _dialect(request: Request) -> Dialect:
    return PATHS.get(path_of(request), (VLLM_RERANK,))[0]


def path_of(request: Request) -> str:
    """The path by which routes are found: below the prefix under which the application is mounted.

    Not that of `request.url`, which holds the prefix, and in older Starlettes whatever a client writes behind the host.
    """
    path: str = request.scope["path"]
    prefix: str = request.scope.get("root_path", "")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if re.fullmatch(r"[\w.:-]{1,100}", given, re.ASCII) else str(uuid.uuid4())
