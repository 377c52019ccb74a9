"""HTTP: bodies in, dialects' answers out. Everything about scores is the engine's."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from tamis.serving.about import tei_info
from tamis.serving.admin import Reread, admin_routes
from tamis.serving.dialects.choosing import PATHS, choose
from tamis.serving.dialects.dialect import Dialect
from tamis.serving.dialects.tei import TEI
from tamis.serving.engine import Engine, ScoredRequest
from tamis.serving.fleet import Fleet, Served
from tamis.serving.guard import Guard, not_here, path_of, refusal, told_refusal
from tamis.serving.health import dead, not_scoring
from tamis.serving.keys import ApiKeys
from tamis.serving.limits import Limits
from tamis.serving.metrics import Metrics
from tamis.serving.openapi import describe
from tamis.serving.playground.collection import Collection
from tamis.serving.playground.routes import playground_routes
from tamis.serving.query_log import Logged, QueryLog
from tamis.serving.request import Answered, RefusedError, RerankRequest
from tamis.serving.split import Split

BODIES = 16
"""Bodies of full size that may be read and answered at a time; smaller ones are as many more."""

FIGURES = ("x-truncated-docs", "x-compute-tokens", "x-queue-time", "x-total-time")
"""Headers of an answer with scores: documents not read whole, tokens read, milliseconds waited and in all."""

ANSWERED_BY = ("x-model", "x-model-version")
"""Headers of an answer with scores: name of the model, percent-encoded, and what its folder held."""

Result = TypeVar("Result")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Service:
    """The models, limits and keys behind the paths of the server.

    Attributes:
        fleet: The models.
        limits: Limits of each request.
        keys: Keys of those who may ask.
        metrics: Counters of what was done.
        collection: Documents that the playground searches.
        admin_keys: Keys of those who may change models; nobody may where there are none.
        log: Log of queries; None for none.
        reread: Reads settings again and follows them.
        draining: Whether new requests are refused.
        under_way: Requests that are being answered.
    """

    def __init__(
        self,
        fleet: Fleet,
        limits: Limits,
        keys: ApiKeys,
        metrics: Metrics,
        collection: Collection | None = None,
        admin_keys: ApiKeys | None = None,
        log: QueryLog | None = None,
    ) -> None:
        self.fleet = fleet
        self.limits = limits
        self.keys = keys
        self.metrics = metrics
        self.collection = collection
        self.admin_keys = admin_keys or ApiKeys([])
        self.log = log
        self.reread: Reread = _nothing_to_read
        self.draining = False
        self.under_way = 0
        self._held = 0  # bytes of all bodies that are read or answered

    @property
    def engines(self) -> Mapping[str, Engine]:
        """What scores, by the name of the model."""
        return {name: one.engine for name, one in self.fleet.models.items()}

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
        facts, whole = request.state.facts, asked
        asked, cut = self.limits.taken(asked)
        facts["pairs"] = len(asked.documents)
        left = self.limits.seconds - (time.monotonic() - facts["begun"])
        served, asked, scores = await _while_wanted(request, self._scored(request, asked), left, self.limits.seconds)
        if cut:
            asked, scores = _with_whole(asked, whole, cut), replace(scores, cut=sorted({*scores.cut, *cut}))
        facts |= {"tokens": scores.tokens, "cut": len(scores.cut)}
        if scores.doubt:
            facts["warning"] = scores.doubt
        self._count(served, asked, scores)
        answered = Answered(
            id=facts["request_id"],
            model=served.name,
            created=int(time.time()),
            values=scores.values,
            order=scores.order,
            tokens=scores.tokens,
            cut=scores.cut,
            doubt=scores.doubt,
        )
        if self.log and len(asked.queries) == 1:
            self.log.add(_logged(served, asked, answered))
        seconds = scores.waited, time.monotonic() - facts["begun"]
        values = len(scores.cut), scores.tokens, *(round(1000 * each) for each in seconds)
        headers = {name: str(value) for name, value in zip(FIGURES, values, strict=True)}
        headers |= zip(ANSWERED_BY, (quote(served.name, safe="/"), served.version.short), strict=True)
        return JSONResponse(dialect.answer(asked, answered), headers=headers)

    async def _scored(self, request: Request, asked: RerankRequest) -> tuple[Served, RerankRequest, ScoredRequest]:
        """Choose a model and let it score; the request stays with it, whatever is swapped meanwhile.

        Raises:
            RefusedError: no such model, or it cannot.
        """
        await self.fleet.loaded.wait()
        served = self.fleet.choose(asked.model, asked.queries[0], request.headers)
        facts = request.state.facts
        facts |= {"model": served.name, "version": served.version.short}
        if served.split:
            facts["split"] = served.split
            self.metrics.split.labels(served.split, served.name).inc()
        with self.fleet.using(served.engine):
            asked = await served.engine.with_texts(asked)
            return served, asked, await served.engine.score(asked)

    def _count(self, served: Served, asked: RerankRequest, scores: ScoredRequest) -> None:
        if len(asked.queries) == 1:
            self.metrics.ranked(served.name, len(asked.documents), scores.leading, scores.correlation)
        self.metrics.waited.labels(served.name).observe(scores.waited)
        self.metrics.cut.labels(served.name).inc(len(scores.cut))

    async def models(self, request: Request) -> Response:
        """Names of models, as OpenAI lists them, and of splits, which are asked for in the same way."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.fleet.loaded.wait(), self.limits.seconds)
        data = [*map(_described, self.fleet.models.values()), *map(_shared, self.fleet.splits.values())]
        return JSONResponse({"object": "list", "data": data})

    async def info(self, request: Request) -> Response:
        """What clients of Text Embeddings Inference ask first, of the model that answers who names none."""
        if not self.fleet.loaded.is_set():
            refused = RefusedError("draining", "models are being loaded")
            return JSONResponse(TEI.refuse(refused, 503, request.state.facts["request_id"]), 503)
        served = self.fleet.choose(None, "", {})
        return JSONResponse(tei_info(served, self.limits.documents))

    async def live(self, request: Request) -> Response:
        """Whether the process should go on: every model's thread runs, or may yet recover."""
        reason = dead(self.engines)
        return JSONResponse({"status": reason or "ok"}, 503 if reason else 200)

    async def ready(self, request: Request) -> Response:
        """Whether new requests should be sent: models are there, and each of them scores."""
        if self.draining:
            reason = "draining"
        elif not self.fleet.loaded.is_set():
            reason = "models are being loaded"
        else:
            reason = await not_scoring(self.engines)
        return JSONResponse({"status": reason or "ok"}, 503 if reason else 200)

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
    guard = Middleware(
        Guard, keys=service.keys, metrics=service.metrics, own_names=own_names, admin_keys=service.admin_keys
    )
    middleware = [guard]
    if origins:
        allowed = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # clients of Cohere and OpenAI send a dozen of their own, and more with each version
            allow_private_network=True,  # a page that may ask may do so from the internet, too
            expose_headers=["x-request-id", "retry-after", *FIGURES, *ANSWERED_BY],
        )
        middleware.insert(0, allowed)
    app = Starlette(
        routes=[
            *[Route(path, service.rerank, methods=["POST"]) for path in PATHS],
            Route("/v1/models", service.models),
            Route("/info", service.info),
            *_probes(service),
            Route("/metrics", service.told),
            *admin_routes(service.fleet, lambda: service.reread()),
            Route("/openapi.json", service.described),
            *playground_routes(len(service.keys) > 0, service.collection, service.limits.characters),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: not_here, RefusedError: told_refusal},
    )
    app.router.redirect_slashes = False  # it would lead a client, and its key, to whatever Host the request names
    return app


def create_watching_app(service: Service) -> Starlette:
    """Metrics and probes alone, without keys, for a port that only a watcher reaches."""
    return Starlette(routes=[*_probes(service), Route("/metrics", service.told)])


def _probes(service: Service) -> list[Route]:
    """Paths of liveness and readiness, each by two names."""
    live = [Route(path, service.live) for path in ("/livez", "/health")]
    return [*live, *(Route(path, service.ready) for path in ("/readyz", "/ready"))]


async def _nothing_to_read() -> list[str]:
    return ["this server reads no settings again"]


def _with_whole(asked: RerankRequest, whole: RerankRequest, cut: Sequence[int]) -> RerankRequest:
    """A request with the documents as they came that were cut for it: answers and the log hold those."""
    documents = list(asked.documents)
    for number in cut:
        documents[number] = whole.documents[number]
    return replace(asked, documents=documents)


def _logged(served: Served, asked: RerankRequest, answered: Answered) -> Logged:
    return Logged(
        time=time.time(),
        request_id=answered.id,
        model=served.name,
        version=served.version.short,
        split=served.split,
        query=asked.queries[0],
        documents=asked.documents,
        ids=asked.ids,
        scores=answered.values,
    )


def _described(served: Served) -> dict[str, Any]:
    engine = served.engine
    return {
        "id": served.name,
        "object": "model",
        "created": served.since,
        "owned_by": "tamis",
        "version": served.version.short,
        "family": engine.reranker.family,
        "activation": engine.reranker.activation,
        "first_stage": engine.first_stage,
        "long": engine.long,
        "min_score": engine.min_score if math.isfinite(engine.min_score) else None,
        "first_stage_weights": dict(engine.reranker.deployment.first_stage_weights),
        "known_documents": 0 if engine.reranker.index is None else len(engine.reranker.index),
    }


def _shared(split: Split) -> dict[str, Any]:
    return {
        "id": split.name,
        "object": "model",
        "created": 0,
        "owned_by": "tamis",
        "split": dict(split.weights),
        "first_stage_weights": {},  # those of its models may differ
    }


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        # Not JSON's, but RFC 8259 lets a reader pass over it, and clients on Windows write it.
        body = from_json(raw.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        raise RefusedError("malformed", f"body: not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RefusedError("malformed", f"body: expected an object, got {type(body).__name__}")
    return body


async def _while_wanted(request: Request, work: Coroutine[Any, Any, Result], seconds: float, promised: float) -> Result:
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
