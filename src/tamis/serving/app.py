"""HTTP: bodies in, dialects' answers out. Everything about scores is the engine's."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from tamis.serving.dialects.choosing import PATHS, choose
from tamis.serving.dialects.dialect import Dialect
from tamis.serving.engine import Engine, ScoredRequest
from tamis.serving.guard import Guard, not_here, path_of, refusal, told_refusal
from tamis.serving.keys import ApiKeys
from tamis.serving.metrics import Metrics
from tamis.serving.openapi import describe
from tamis.serving.playground.collection import Collection
from tamis.serving.playground.routes import playground_routes
from tamis.serving.request import Answered, RefusedError, RerankRequest, text_of

BODIES = 16
"""Bodies of full size that may be read and answered at a time; smaller ones are as many more."""

FIGURES = ("x-truncated-docs", "x-compute-tokens", "x-queue-time", "x-total-time")
"""Headers of an answer with scores: documents not read whole, tokens read, milliseconds waited and in all."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold.

    Attributes:
        body_bytes: Most bytes of a body.
        documents: Most documents of a request.
        characters: Most characters of a query, an instruction or a document.
        seconds: Most seconds from the first byte to the answer.
    """

    body_bytes: int = 16 * 2**20
    documents: int = 1000
    characters: int = 200_000
    seconds: float = 60.0

    def check(self, asked: RerankRequest) -> None:
        """Refuse what is too much.

        Raises:
            RefusedError: of kind `malformed`, with both numbers.
        """
        if len(asked.documents) > self.documents:
            raise RefusedError("malformed", f"{len(asked.documents)} documents, at most {self.documents} are taken")
        titles = [one.get("title", "") for one in asked.documents if not isinstance(one, str)]
        texts = [*asked.queries, asked.instruction or "", *titles, *map(text_of, asked.documents)]
        longest = max(map(len, texts))
        if longest > self.characters:
            raise RefusedError("malformed", f"a text of {longest} characters, at most {self.characters} are taken")


class Service:
    """The models, limits and keys behind the paths of the server.

    Attributes:
        engines: By name; the first one answers requests that name none.
        limits: Limits of each request.
        keys: Keys of those who may ask.
        metrics: Counters of what was done.
        collection: Documents that the playground searches.
        draining: Whether new requests are refused.
        under_way: Requests that are being answered.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        limits: Limits,
        keys: ApiKeys,
        metrics: Metrics,
        collection: Collection | None = None,
    ) -> None:
        self.engines = engines
        self.limits = limits
        self.keys = keys
        self.metrics = metrics
        self.collection = collection
        self.draining = False
        self.under_way = 0
        self._held = 0  # bytes of all bodies that are read or answered
        self._started = int(time.time())
        for name, engine in engines.items():
            metrics.waiting.labels(name).set_function(partial(attrgetter("pairs"), engine))

    async def rerank(self, request: Request) -> Response:
        """Answer one of the dialects' paths."""
        facts, path = request.state.facts, path_of(request)
        dialect = PATHS[path][0]
        facts["bytes"] = 0
        whole = False
        self.under_way += 1
        try:
            raw = await self._raw(request)
            whole = True
            body = _parsed(raw)
            dialect = choose(path, body)
            facts["dialect"] = dialect.name
            asked = dialect.asked(body)
            del raw, body  # they may hold much that nobody asked for
            self.limits.check(asked)
            return await self._answer(request, dialect, asked)
        except RefusedError as refused:
            facts["refused"] = refused.kind
            return refusal(dialect, refused, facts["request_id"], close=not whole)
        finally:
            self.under_way -= 1
            self._held -= facts["bytes"]

    async def _raw(self, request: Request) -> bytes:
        if self.draining:
            raise RefusedError("draining", "the server is about to stop", 1)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._read(request)
        except TimeoutError:
            raise RefusedError("too slow", f"the body did not come within {self.limits.seconds:g} seconds") from None

    async def _read(self, request: Request) -> bytes:
        """A whole body.

        Raises:
            RefusedError: it is too large, or too many are read and answered; read no further than that.
            ClientDisconnect: the client has left.
        """
        facts, most = request.state.facts, self.limits.body_bytes
        refused = RefusedError("too large", f"the body is larger than {most} bytes")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise refused
        parts = []
        async for part in request.stream():
            parts.append(part)
            facts["bytes"] += len(part)
            self._held += len(part)
            if facts["bytes"] > most:
                raise refused
            if self._held > BODIES * most:
                raise RefusedError("overloaded", "too many bodies are read and answered; try again later", 1)
        return b"".join(parts)

    async def _answer(self, request: Request, dialect: Dialect, asked: RerankRequest) -> Response:
        facts = request.state.facts
        name = asked.model or next(iter(self.engines))
        if name not in self.engines:
            known = ", ".join(self.engines)
            raise RefusedError("unknown model", f"model {name[:100]!r} is not served here; there are {known}")
        facts |= {"model": name, "pairs": len(asked.documents)}
        asked = await self.engines[name].with_texts(asked)
        left = self.limits.seconds - (time.monotonic() - facts["begun"])
        scores = await _while_wanted(request, self.engines[name].score(asked), left, self.limits.seconds)
        facts |= {"tokens": scores.tokens, "cut": len(scores.cut)}
        if scores.doubt:
            facts["warning"] = scores.doubt
        if len(asked.queries) == 1:
            self.metrics.ranked(name, len(asked.documents), scores.leading, scores.correlation)
        self.metrics.waited.labels(name).observe(scores.waited)
        self.metrics.cut.labels(name).inc(len(scores.cut))
        answered = Answered(
            id=facts["request_id"],
            model=name,
            created=int(time.time()),
            values=scores.values,
            order=scores.order,
            tokens=scores.tokens,
            cut=scores.cut,
            doubt=scores.doubt,
        )
        seconds = scores.waited, time.monotonic() - facts["begun"]
        values = len(scores.cut), scores.tokens, *(round(1000 * each) for each in seconds)
        headers = {name: str(value) for name, value in zip(FIGURES, values, strict=True)}
        return JSONResponse(dialect.answer(asked, answered), headers=headers)

    async def models(self, request: Request) -> Response:
        """Names of models, as OpenAI lists them."""
        data = [
            {
                "id": name,
                "object": "model",
                "created": self._started,
                "owned_by": "tamis",
                "family": engine.reranker.family,
                "activation": engine.reranker.activation,
                "first_stage": engine.first_stage,
                "long": engine.long,
                "min_score": engine.min_score if math.isfinite(engine.min_score) else None,
                "first_stage_weights": dict(engine.reranker.deployment.first_stage_weights),
                "known_documents": 0 if engine.reranker.index is None else len(engine.reranker.index),
            }
            for name, engine in self.engines.items()
        ]
        return JSONResponse({"object": "list", "data": data})

    async def health(self, request: Request) -> Response:
        """Whether every model's thread runs."""
        alive = all(engine.alive for engine in self.engines.values())
        return JSONResponse({"status": "ok" if alive else "a model's thread has ended"}, 200 if alive else 503)

    async def ready(self, request: Request) -> Response:
        """Whether new requests are taken."""
        if self.draining:
            return JSONResponse({"status": "draining"}, 503)
        return await self.health(request)

    async def told(self, request: Request) -> Response:
        """Metrics."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def described(self, request: Request) -> Response:
        """The interface's description."""
        return JSONResponse(describe(len(self.keys) > 0))


def create_app(service: Service, origins: Sequence[str] = (), local: bool = False) -> Starlette:
    """The application.

    Args:
        service: What answers.
        origins: Web pages that may ask from a browser; none by default.
        local: Whether only this machine reaches it; it is then asked by its own names, or with a key.
    """
    own_names = local and not len(service.keys)
    middleware = [Middleware(Guard, keys=service.keys, metrics=service.metrics, own_names=own_names)]
    if origins:
        allowed = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # clients of Cohere and OpenAI send a dozen of their own, and more with each version
            allow_private_network=True,  # a page that may ask may do so from the internet, too
            expose_headers=["x-request-id", "retry-after", *FIGURES],
        )
        middleware.insert(0, allowed)
    app = Starlette(
        routes=[
            *[Route(path, service.rerank, methods=["POST"]) for path in PATHS],
            Route("/v1/models", service.models),
            Route("/health", service.health),
            Route("/ready", service.ready),
            Route("/metrics", service.told),
            Route("/openapi.json", service.described),
            *playground_routes(len(service.keys) > 0, service.collection, service.limits.characters),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: not_here, RefusedError: told_refusal},
    )
    app.router.redirect_slashes = False  # it would lead a client, and its key, to whatever Host the request names
    return app


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        # Not JSON's, but RFC 8259 lets a reader pass over it, and clients on Windows write it.
        body = from_json(raw.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        raise RefusedError("malformed", f"body: not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RefusedError("malformed", f"body: expected an object, got {type(body).__name__}")
    return body


async def _while_wanted(
    request: Request, work: Coroutine[Any, Any, ScoredRequest], seconds: float, promised: float
) -> ScoredRequest:
    """The result of some work, which is cancelled when the client leaves or time is up.

    Raises:
        RefusedError: time is up.
        ClientDisconnect: the client has left.
    """
    scoring = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        done, _ = await asyncio.wait({scoring, leaving}, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        if scoring in done:
            return scoring.result()
        if leaving in done:
            raise ClientDisconnect
        raise RefusedError("too late", f"not done within {promised:g} seconds")
    finally:
        scoring.cancel()
        leaving.cancel()
        await asyncio.gather(scoring, leaving, return_exceptions=True)


async def _left(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
