"""From a command's words to a running server, and to its end: what is under way is answered first."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from tamis.errors import InputError
from tamis.models.checkpoint import ORDER, MinScore, model_identity
from tamis.models.first_stage import NONE, order_counts
from tamis.models.known.documents import index_of, refuse_unused
from tamis.models.reranker import Reranker
from tamis.models.windows import check_long
from tamis.serving.app import Limits, Service, create_app
from tamis.serving.connection import Connection
from tamis.serving.engine import Engine
from tamis.serving.hosts import is_loopback
from tamis.serving.keys import ApiKeys, read_keys
from tamis.serving.listening import listen
from tamis.serving.logs import log_to
from tamis.serving.metrics import Metrics
from tamis.serving.origins import check_origins
from tamis.serving.playground.collection import Collection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server.

    Attributes:
        host: Address to listen on.
        port: Port; 0 for any that is free.
        precision: Number format of the models: `float32`, `bfloat16` or `auto`.
        queue_pairs: Pairs that may wait at each model.
        limits: Limits of each request.
        keys: File of API keys.
        origins: Web pages that may ask from a browser.
        on: BEIR folder that the playground searches.
        first_stage: What is done with requests that say nothing of theirs: `order` or `none`; None for what each model
            says.
        scoring_engine: What computes the scores, as for `Reranker`.
        long: What becomes of documents that are longer than a model reads: `first` or `windows`, see `Reranker.rank`.
        min_score: Lowest published score of a result where a request names none: a number, `model` for the level that
            each model keeps, or None for all.
        indexes: Indexes of documents, each of one of the models.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    precision: str = "float32"
    queue_pairs: int = 4096
    limits: Limits = field(default_factory=Limits)
    keys: Path | None = None
    origins: Sequence[str] = ()
    on: Path | None = None
    first_stage: str | None = None
    scoring_engine: str = "torch"
    long: str = "first"
    min_score: MinScore | None = None
    indexes: Sequence[Path] = ()


def serve(models: Sequence[str], settings: Settings) -> None:
    """Load models, listen, answer until a signal comes; then answer what is under way and return.

    Args:
        models: `tamis-base`, folders or hub names, each perhaps as `NAME=FOLDER`; a folder under several names is
            loaded once.
        settings: See there.

    Raises:
        InputError: limits, names or origins that do not fit, keys or a folder that cannot be read, an index of no
            model here, an address that cannot be listened on.
        ModelError: a model that cannot be loaded.
    """
    if settings.queue_pairs < settings.limits.documents:
        raise InputError(
            f"--queue is {settings.queue_pairs}, expected at least the {settings.limits.documents} documents that one "
            "request may hold"
        )
    if settings.precision not in ("float32", "bfloat16", "auto"):
        raise InputError(f"--precision {settings.precision!r}: expected float32, bfloat16 or auto")
    if settings.first_stage not in (None, ORDER, NONE):
        raise InputError(f"--first-stage {settings.first_stage!r}: expected {ORDER} or {NONE}")
    check_long("--long", settings.long)
    check_origins(settings.origins)
    folders = folders_of(models)
    keys = read_keys(settings.keys, os.environ)
    collection = None if settings.on is None else Collection(settings.on)
    metrics = Metrics()
    with ExitStack() as open_things:
        listening = open_things.enter_context(listen(settings.host, settings.port))
        log_to(sys.stderr)
        engines = load_engines(folders, settings, metrics)
        for engine in set(engines.values()):
            open_things.callback(engine.close)
        _announce(listening, settings, keys, list(folders))
        service = Service(engines, settings.limits, keys, metrics, collection)
        DrainingServer(service, settings.origins, is_loopback(settings.host)).run(sockets=[listening])
    logger.info("stopped")


def folders_of(models: Sequence[str]) -> dict[str, str]:
    """Folder by name, of `NAME=FOLDER`, or of `FOLDER`, whose last part is the name.

    Raises:
        InputError: a name that is empty or comes twice.
    """
    found: dict[str, str] = {}
    for given in models:
        name, is_named, folder = given.partition("=")
        name, folder = (name, folder) if is_named else (Path(given).name, given)
        if not name or not folder:
            raise InputError(f"{given!r}: expected FOLDER or NAME=FOLDER")
        if name in found:
            raise InputError(f"{name!r} names two models; give one of them another name, as NAME=FOLDER")
        found[name] = folder
    return found


def load_engines(folders: Mapping[str, str], settings: Settings, metrics: Metrics) -> dict[str, Engine]:
    """An engine by name; a folder under several names is loaded once.

    Raises:
        InputError: the order of documents is to count, and a model has no weight for it; or an index of none of them.
        ModelError: a model that cannot be loaded.
    """
    indexes = _indexes(folders, settings.indexes)
    by_folder: dict[str, Engine] = {}
    for name, folder in folders.items():
        if folder not in by_folder:
            reranker = Reranker(
                folder,
                precision=settings.precision,  # type: ignore[arg-type]
                engine=settings.scoring_engine,  # type: ignore[arg-type]
                index=indexes[folder],
            )
            if settings.first_stage == ORDER and not order_counts(reranker.deployment):
                raise InputError(
                    f"--first-stage {ORDER}: {folder} has no weight for the order of documents; find one with tamis "
                    "weigh --order, or leave the option out"
                )
            watch = partial(metrics.batch, name)
            long = check_long("--long", settings.long)
            engine = Engine(
                reranker,
                settings.queue_pairs,
                settings.limits.seconds,
                watch,
                settings.first_stage,
                long,
                settings.min_score,
            )
            facts = {
                "model": name,
                "family": reranker.family,
                "first_stage": engine.first_stage,
                "long": engine.long,
                "engine": reranker.engine,
                **({"min_score": engine.min_score} if settings.min_score is not None else {}),
                "known_documents": 0 if reranker.index is None else len(reranker.index),
            }
            logger.info("model", extra={"facts": facts})
            by_folder[folder] = engine
    return {name: by_folder[folder] for name, folder in folders.items()}


def _indexes(folders: Mapping[str, str], indexes: Sequence[Path]) -> dict[str, Path | None]:
    """The index of each folder of a model.

    Raises:
        InputError: one of another model, or two of the same.
    """
    if not indexes:
        return dict.fromkeys(folders.values())
    found = {folder: index_of(indexes, model_identity(Path(folder))) for folder in set(folders.values())}
    refuse_unused(indexes, found.values(), folders)
    return found


class DrainingServer(uvicorn.Server):
    """uvicorn, but for the first signal: new requests are refused, those under way answered, then it stops.

    A second signal stops it at once.
    """

    def __init__(self, service: Service, origins: Sequence[str], local: bool) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(service, origins, local),
                http=Connection,  # and no other parser, loop or protocol because of what else is installed
                loop="asyncio",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
            )
        )
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop in which requests are answered."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: answer what is under way, then end."""
        if self._service.draining or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._service.draining = True
        logger.info("draining", extra={"facts": {"signal": signal.Signals(sig).name}})
        asyncio.run_coroutine_threadsafe(self._drain(), self._loop)

    async def _drain(self) -> None:
        while self._service.under_way:
            await asyncio.sleep(0.02)  # each of them has a deadline
        self.should_exit = True


def _announce(listening: socket.socket, settings: Settings, keys: ApiKeys, names: list[str]) -> None:
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not is_loopback(settings.host):
        what = "with keys" if len(keys) else "without keys: whoever reaches this address may ask"
        logger.warning(f"listening beyond this machine, {what}", extra={"facts": {"host": settings.host}})
    logger.info("listening", extra={"facts": {"url": f"http://{host}:{port}", "models": names}})
