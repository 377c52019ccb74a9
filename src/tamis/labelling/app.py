"""The page for grading over HTTP: who may ask, and what each path does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tamis.errors import InputError, RunError
from tamis.labelling.desk import Desk
from tamis.labelling.grade_log import CANNOT_TELL, Grade, is_grade
from tamis.labelling.grading import person_of
from tamis.serving.hosts import is_own_name
from tamis.serving.playground.page import assemble, page_headers

MOST_BYTES: Final = 65_536
"""Of a request's body: names and ids."""

EVERY: Final = 1.0
"""Seconds between two looks at whether the judgements have to be written again."""

Answer = dict[str, Any]


def create_app(desk: Desk) -> Starlette:
    """The application of one folder."""
    page = assemble("tamis.labelling.page")
    headers = page_headers(page)

    async def shown(request: Request) -> Response:
        return Response(page.html, media_type="text/html", headers=headers)

    async def grade(request: Request) -> Answer:
        told = await _body(request)
        query_id, doc_id = _text(told, "question"), _text(told, "document")
        return await run_in_threadpool(desk.grade, _person(told), query_id, doc_id, _grade(told))

    async def undo(request: Request) -> Answer:
        return await run_in_threadpool(desk.undo, _person(await _body(request)))

    async def people(request: Request) -> Answer:
        return await run_in_threadpool(desk.people)

    async def state(request: Request) -> Answer:
        return await run_in_threadpool(desk.state, _person(request.query_params))

    async def question(request: Request) -> Answer:
        place = request.query_params.get("place", "")
        if not place.isascii() or not place.isdecimal():
            raise InputError(f"place: got {place[:20]!r}, expected a number from 0")
        return await run_in_threadpool(desk.question, _person(request.query_params), int(place[:9]))

    routes = [
        Route("/", shown),
        Route("/people", _answering(people)),
        Route("/state", _answering(state)),
        Route("/question", _answering(question)),
        Route("/grade", _answering(grade), methods=["POST"]),
        Route("/undo", _answering(undo), methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(OwnPageOnly)], lifespan=_written_now_and_then(desk))


class OwnPageOnly:
    """Lets through what comes from this server's own page: under a name that no other page can take."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refused = refusal(Request(scope)) if scope["type"] == "http" else ""
        answer: ASGIApp = JSONResponse({"message": refused}, 403) if refused else self._app
        await answer(scope, receive, send)


def refusal(request: Request) -> str:
    """Why a request is not from this server's own page; empty where it is.

    Another page can send a form here, or have its name point to this machine. It cannot send JSON without being asked
    for leave first, nor hide its `Origin` when it sends something.
    """
    host = request.headers.get("host", "")
    if not is_own_name(host):
        return f"this page answers to localhost and addresses only, not to {host[:100]!r}"
    if request.method != "POST":
        return ""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"only this server's own page may grade, not {origin[:100]!r}"
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "expected content-type: application/json"
    return ""


def _answering(work: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
    """A route of what answers with an object, or with one line that says what is wrong."""

    async def answered(request: Request) -> Response:
        try:
            return JSONResponse(await work(request), headers={"cache-control": "no-store"})
        except InputError as error:
            return JSONResponse({"message": str(error)}, 422)
        except RunError as error:
            return JSONResponse({"message": str(error)}, 507)

    return answered


def _written_now_and_then(desk: Desk) -> Callable[[Starlette], Any]:
    """While the server runs, judgements are written soon after a grade, and once more at its end."""

    async def write() -> None:
        while True:
            await run_in_threadpool(desk.try_to_write_judgements)
            await asyncio.sleep(EVERY)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(write())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await run_in_threadpool(desk.try_to_write_judgements)

    return lifespan


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise InputError(f"more than {MOST_BYTES:,} bytes")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise InputError("expected a JSON object")
    return told


def _person(told: Any) -> str:
    return person_of(told.get("person"))


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise InputError(f"{name}: expected text")
    return value


def _grade(told: dict[str, Any]) -> Grade:
    grade = told.get("grade")
    if not is_grade(grade):
        raise InputError(f"grade: got {str(grade)[:40]!r}, expected 0, 1, 2 or {CANNOT_TELL!r}")
    return grade  # type: ignore[return-value]  # it is one
