"""From settings to a running server, and to its end: what is under way is answered first."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import ExitStack
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from tamis.errors import InputError, TamisError
from tamis.serving.app import Service, create_app, create_watching_app
from tamis.serving.connection import Connection
from tamis.serving.engine import log_failure
from tamis.serving.fleet import Fleet
from tamis.serving.hosts import is_loopback
from tamis.serving.keys import ApiKeys, read_admin_keys, read_keys
from tamis.serving.listening import listen
from tamis.serving.loading import Loaded, load_model, load_models
from tamis.serving.logs import log_to
from tamis.serving.metrics import Metrics
from tamis.serving.origins import check_origins
from tamis.serving.playground.collection import Collection
from tamis.serving.query_log import QueryLog
from tamis.serving.settings import AT_ONCE, Settings, Sources, Told
from tamis.serving.split import Split

logger = logging.getLogger(__name__)


def serve(sources: Sources) -> None:
    """Listen, load models, answer until a signal comes; then answer what is under way and return.

    SIGHUP reads the settings again.

    Args:
        sources: Where settings are told; a folder under several names is loaded once.

    Raises:
        TamisError: see `prepared`; or a model that cannot be loaded.
    """
    with ExitStack() as open_things:
        server, listening = prepared(sources, open_things)
        server.run(sockets=[listening])
        if server.failure:
            raise server.failure
    logger.info("stopped")


def prepared(sources: Sources, open_things: ExitStack) -> tuple["DrainingServer", socket.socket]:
    """A server that listens and loads its models as soon as it runs.

    Args:
        sources: Where settings are told.
        open_things: Closes what is open when the server has ended.

    Raises:
        SettingsError: settings that are not understood or do not fit.
        InputError: no model, origins that do not fit, keys or a folder that cannot be read, or an address that cannot
            be listened on.
    """
    told = sources.read()
    settings = told.settings
    if not settings.models:
        raise InputError("no model is named; name one behind the command, in TAMIS_MODELS or in --config FILE")
    check_origins(settings.cors)
    keys = read_keys(settings.keys, sources.environment)
    admin_keys = read_admin_keys(settings.admin_keys, sources.environment)
    listening = open_things.enter_context(listen(settings.host, settings.port))
    watched = None
    if settings.metrics_port is not None:
        watched = open_things.enter_context(listen(settings.host, settings.metrics_port, "--metrics-port"))
    service = _service(settings, keys, admin_keys, open_things)
    log_to(sys.stderr)
    for note in told.notes:
        logger.warning(note)
    _announce(listening, watched, service, settings)
    changes = Changes(service, sources, told)
    service.reread = changes.follow
    return DrainingServer(service, settings.cors, is_loopback(settings.host), changes.begin, watched), listening


def _service(settings: Settings, keys: ApiKeys, admin_keys: ApiKeys, open_things: ExitStack) -> Service:
    metrics = Metrics()
    collection = None if settings.on is None else Collection(settings.on)
    log = None
    if settings.log_queries is not None:
        log = QueryLog(settings.log_queries, settings.log_redact, settings.log_days, metrics.unlogged.inc)
        open_things.callback(log.close)

    def load(name: str, folder: str) -> Loaded:
        return load_model(name, folder, settings, metrics)

    fleet = Fleet(load, metrics)
    open_things.callback(fleet.close)
    return Service(fleet, settings.limits, keys, metrics, collection, admin_keys, log)


def splits_of(settings: Settings) -> dict[str, Split]:
    """The splits that settings name."""
    return {name: Split(name, weights, settings.split_by) for name, weights in settings.split.items()}


class Changes:
    """Follows what settings say: at the start, and whenever they are read again."""

    def __init__(self, service: Service, sources: Sources, told: Told) -> None:
        self._service = service
        self._sources = sources
        self._first = told.settings
        self._following = asyncio.Lock()

    async def begin(self) -> None:
        """Load the first models.

        Raises:
            TamisError: one of them cannot be loaded.
        """
        settings, service = self._first, self._service
        loading = partial(load_models, settings.models, settings, service.metrics)
        models = await asyncio.get_running_loop().run_in_executor(None, loading)
        service.fleet.begin(models, splits_of(settings))
        logger.info("ready", extra={"facts": {"models": list(models), "splits": list(settings.split)}})

    async def follow(self) -> list[str]:
        """Read settings again and do what they say; what cannot be done leaves things as they are.

        Returns:
            A line for each thing that could not be done.
        """
        await self._service.fleet.loaded.wait()
        async with self._following:
            failures = await self._followed()
        for failure in failures:
            logger.error(failure)
        logger.info("settings were read again", extra={"facts": {"failures": len(failures)}})
        return failures

    async def _followed(self) -> list[str]:
        try:
            told = self._sources.read()
            keys = read_keys(told.settings.keys, self._sources.environment)
            admin_keys = read_admin_keys(told.settings.admin_keys, self._sources.environment)
        except TamisError as error:
            return [f"{error}; everything stays as it is"]
        if not told.settings.models:  # a file that is being written; not all models but one shall go
            return ["no model is named; everything stays as it is"]
        for note in told.notes:
            logger.warning(note)
        failures = [*self._later(told), *self._change_keys(keys, admin_keys)]
        return failures + await self._service.fleet.take_over(told.settings.models, splits_of(told.settings))

    def _later(self, told: Told) -> list[str]:
        """A line for each setting that a running server cannot follow."""
        names = [name for name in Settings.model_fields if name not in AT_ONCE]
        changed = [name for name in names if getattr(told.settings, name) != getattr(self._first, name)]
        return [f"{name}: changes with the next start only" for name in changed]

    def _change_keys(self, keys: ApiKeys, admin_keys: ApiKeys) -> list[str]:
        failures = []
        for name, old, new in (
            ("keys", self._service.keys, keys),
            ("admin_keys", self._service.admin_keys, admin_keys),
        ):
            if bool(len(old)) == bool(len(new)):
                old.take_over(new)
            else:
                failures.append(
                    f"{name}: a server with keys cannot go on without, nor one without with; start it again"
                )
        return failures


def _config(app: Starlette, **changes: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,  # and no other parser, loop or protocol because of what else is installed
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        **changes,  # type: ignore[arg-type]
    )


class WatchingServer(uvicorn.Server):
    """Metrics and probes on a port of their own, in the loop of the server that they tell of."""

    def __init__(self, service: Service) -> None:
        super().__init__(_config(create_watching_app(service), timeout_graceful_shutdown=1))

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the other server."""
        yield


class DrainingServer(uvicorn.Server):
    """uvicorn, but for the first signal: new requests are refused, those under way answered, then it stops.

    A second signal stops it at once. SIGHUP lets settings be read again, unless the terminal is gone that the server
    was started from.

    Attributes:
        failure: Why there are no models; the server has ended then.
    """

    def __init__(
        self,
        service: Service,
        origins: Sequence[str],
        local: bool,
        begin: Callable[[], Awaitable[None]] | None = None,
        watched: socket.socket | None = None,
    ) -> None:
        """Make a server that does not run yet.

        Args:
            service: What answers.
            origins: See `create_app`.
            local: Likewise.
            begin: Loads the models while probes are answered already; None where they are there.
            watched: Where metrics and probes are answered, too.
        """
        super().__init__(_config(create_app(service, origins, local), timeout_graceful_shutdown=5))
        self.failure: Exception | None = None
        self._service = service
        self._begin = begin
        self._watched = watched
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._had_terminal = _has_terminal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop in which requests are answered, and begin to load models."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._begin:
            self._also(self._load(self._begin))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until the end; those who watch are answered until then, too."""
        if self._watched is None:
            await super().serve(sockets)
            return
        watching = WatchingServer(self._service)
        other = asyncio.create_task(watching.serve([self._watched]))
        try:
            await super().serve(sockets)
        finally:
            watching.should_exit = True
            await other

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGHUP, too."""
        with super().capture_signals():
            if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
                yield
                return
            before = signal.signal(signal.SIGHUP, self._hang_up)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: answer what is under way, then end."""
        if self._service.draining or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._service.draining = True
        logger.info("draining", extra={"facts": {"signal": signal.Signals(sig).name}})
        asyncio.run_coroutine_threadsafe(self._drain(), self._loop)

    def _hang_up(self, sig: int, frame: FrameType | None) -> None:
        if self._had_terminal and not _has_terminal():
            self.handle_exit(sig, frame)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: self._also(self._service.reread()))

    def _also(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log_failure(error, "settings could not be followed")

    async def _load(self, begin: Callable[[], Awaitable[None]]) -> None:
        try:
            await begin()
        except Exception as error:  # without models there is nothing to serve, whatever went wrong
            self.failure = error
            self.should_exit = True

    async def _drain(self) -> None:
        while self._service.under_way:
            await asyncio.sleep(0.02)  # each of them has a deadline
        self.should_exit = True


def _has_terminal() -> bool:
    return os.isatty(2)


def _announce(listening: socket.socket, watched: socket.socket | None, service: Service, settings: Settings) -> None:
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not is_loopback(settings.host):
        what = "with keys" if len(service.keys) else "without keys: whoever reaches this address may ask"
        logger.warning(f"listening beyond this machine, {what}", extra={"facts": {"host": settings.host}})
    facts: dict[str, object] = {"url": f"http://{host}:{port}", "models": list(settings.models)}
    if watched:
        facts["metrics"] = f"http://{host}:{watched.getsockname()[1]}/metrics"
    if service.log:
        facts["log_queries"] = str(service.log.folder)
    logger.info("listening", extra={"facts": facts})
