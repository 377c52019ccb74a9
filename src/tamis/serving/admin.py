"""Paths for those who may change models, with keys of their own: load, swap, back, remove, split, read again."""

import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tamis.errors import TamisError
from tamis.serving.fleet import Fleet
from tamis.serving.request import RefusedError
from tamis.serving.settings import CHANCE, SplitBy
from tamis.serving.split import Split

ADMIN = "/admin"
"""What these paths begin with."""

LARGEST = 64 * 2**10
"""Most bytes of a body."""

Reread = Callable[[], Coroutine[Any, Any, list[str]]]
"""Reads settings again and follows them; gives a line for each thing that could not be done."""


Kind = TypeVar("Kind", bound=BaseModel)


class Named(BaseModel):
    """A model to load."""

    model_config = ConfigDict(strict=True, extra="forbid")

    folder: Annotated[str, Field(min_length=1)]


class Weighed(BaseModel):
    """A split."""

    model_config = ConfigDict(strict=True, extra="forbid")

    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    by: SplitBy = CHANCE


def admin_routes(fleet: Fleet, reread: Reread) -> list[Route]:
    """The routes; each answers with what is served then."""

    async def state(request: Request) -> Response:
        return JSONResponse(fleet.state())

    async def put(request: Request) -> Response:
        named = await _body(request, Named)
        return await _done(fleet, fleet.put(request.path_params["name"], named.folder))

    async def remove(request: Request) -> Response:
        return await _done(fleet, fleet.remove(request.path_params["name"]))

    async def back(request: Request) -> Response:
        return await _done(fleet, fleet.back(request.path_params["name"]))

    async def share(request: Request) -> Response:
        asked = await _body(request, Weighed)
        if not 0 < sum(asked.weights.values()) < math.inf:
            raise RefusedError("malformed", "weights: expected some above 0")
        await fleet.loaded.wait()
        return _told(fleet, lambda: fleet.share(Split(request.path_params["name"], asked.weights, asked.by)))

    async def unshare(request: Request) -> Response:
        await fleet.loaded.wait()
        return _told(fleet, lambda: fleet.unshare(request.path_params["name"]))

    async def again(request: Request) -> Response:
        failures = await reread()
        return JSONResponse({**fleet.state(), "failures": failures}, 422 if failures else 200)

    model, split = f"{ADMIN}/models/{{name:path}}", f"{ADMIN}/splits/{{name:path}}"
    return [
        Route(f"{ADMIN}/models", state),
        Route(f"{ADMIN}/back/{{name:path}}", back, methods=["POST"]),
        Route(f"{ADMIN}/reload", again, methods=["POST"]),
        Route(model, put, methods=["PUT"]),
        Route(model, remove, methods=["DELETE"]),
        Route(split, share, methods=["PUT"]),
        Route(split, unshare, methods=["DELETE"]),
    ]


async def _done(fleet: Fleet, change: Awaitable[Any]) -> Response:
    await fleet.loaded.wait()  # the first models would take the place of what is put there before
    try:
        await change
    except TamisError as error:
        raise RefusedError("not loaded", str(error)) from None
    return JSONResponse(fleet.state())


def _told(fleet: Fleet, change: Callable[[], None]) -> Response:
    try:
        change()
    except TamisError as error:
        raise RefusedError("malformed", str(error)) from None
    return JSONResponse(fleet.state())


async def _body(request: Request, kind: type[Kind]) -> Kind:
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > LARGEST:
            raise RefusedError("too large", f"the body is larger than {LARGEST} bytes")
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, found["loc"]))
        raise RefusedError("malformed", f"{place or 'body'}: {found['msg']}") from None
