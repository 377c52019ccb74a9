"""Which models answer: loaded, swapped, taken away and put back while requests go on.

A change is made in one step, between two requests, once the new model is whole. A request ends on the model on which it
began; a model that nobody uses any more is closed, and its memory given back. What fails leaves everything as it was.
"""

import asyncio
import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import torch

from tamis.errors import InputError, ModelError, TamisError
from tamis.models.folders import check_scored
from tamis.process_memory import release_memory
from tamis.serving.engine import Engine, log_failure
from tamis.serving.loading import Loaded, Version, version_of
from tamis.serving.metrics import Metrics
from tamis.serving.request import RefusedError
from tamis.serving.split import Split

logger = logging.getLogger(__name__)

COLLECTED_AFTER: Final = 1.0
"""Seconds from the end of a model to the time when its memory goes back: its last request is over by then."""

Load = Callable[[str, str], Loaded]
"""From a name and a folder to a model; on any thread."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers.

    Attributes:
        name: What clients ask for.
        version: What its folder held.
        engine: What scores.
        since: Unix time in seconds.
        split: Name of the split by which a request came to it; empty for none.
    """

    name: str
    version: Version
    engine: Engine
    since: int
    split: str = ""


class Fleet:
    """The models of a server. All of it but loading happens in the event loop.

    Attributes:
        models: Those that answer, by name; the first one answers requests that name none, where there is no split.
        splits: By name; the first one answers requests that name no model.
        loaded: Whether the first models are there.
    """

    def __init__(self, load: Load, metrics: Metrics) -> None:
        self.models: dict[str, Served] = {}
        self.splits: dict[str, Split] = {}
        self.loaded = asyncio.Event()
        self._load = load
        self._metrics = metrics
        self._before: dict[str, Version] = {}
        self._users: Counter[Engine] = Counter()
        self._changing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    @classmethod
    def of(cls, engines: Mapping[str, Engine], metrics: Metrics) -> Self:
        """Models that are loaded and stay as they are."""

        def load(name: str, folder: str) -> Loaded:
            raise ModelError(f"{folder}: this server takes no other models")

        fleet = cls(load, metrics)
        fleet.begin({name: Loaded(version_of(str(one.reranker.path)), one) for name, one in engines.items()})
        return fleet

    def begin(self, models: Mapping[str, Loaded], splits: Mapping[str, Split] | None = None) -> None:
        """Let the first models answer."""
        for name, loaded in models.items():
            self._put(name, loaded)
        self.splits = dict(splits or {})
        self.loaded.set()

    def close(self) -> None:
        """Stop the threads of all models, each after the batch under way."""
        self._thread.shutdown(cancel_futures=True)
        for engine in {one.engine for one in self.models.values()} | set(self._users):
            engine.close()

    def choose(self, asked: str | None, query: str, headers: Mapping[str, str]) -> Served:
        """The model that answers a request.

        Raises:
            RefusedError: there is none of this name.
        """
        name = asked or next(iter(self.splits or self.models))
        if split := self.splits.get(name):
            one = self.models[split.choose(query, headers)]
            return Served(one.name, one.version, one.engine, one.since, name)
        if name not in self.models:
            known = ", ".join([*self.splits, *self.models])
            raise RefusedError("unknown model", f"model {name[:100]!r} is not served here; there are {known}")
        return self.models[name]

    @contextmanager
    def using(self, engine: Engine) -> Iterator[None]:
        """Keep a model at work until a request ends."""
        self._users[engine] += 1
        try:
            yield
        finally:
            self._users[engine] -= 1
            self._let_go(engine)

    async def put(self, name: str, folder: str) -> Served:
        """Load a model under a new name, or in place of the one that has it.

        Raises:
            TamisError: it cannot be loaded or does not score as a model does; everything is as it was.
        """
        async with self._changing:
            self._check_name(name)
            return await self._swap(name, folder)

    async def back(self, name: str) -> Served:
        """Put the model back that a name had before its last change.

        Raises:
            TamisError: there was none, or its files are others by now; everything is as it was.
        """
        async with self._changing:
            before = self._before.get(name)
            if before is None:
                raise InputError(f"{name}: no other model had this name before")
            return await self._swap(name, before.path, before)

    async def remove(self, name: str) -> None:
        """Take a model away; requests under way end on it.

        Raises:
            InputError: there is none, or the server needs it.
        """
        async with self._changing:
            self._check_removable(name)
            self._drop(name)

    def share(self, split: Split) -> None:
        """Set the weights of a split, or make a new one.

        Raises:
            InputError: a model's name, or weights of models that are not there.
        """
        if split.name in self.models:
            raise InputError(f"{split.name!r} is a model; give the split another name")
        if unknown := [name for name in split.weights if name not in self.models]:
            raise InputError(f"{split.name} has a weight for {unknown[0]!r}; there are {', '.join(self.models)}")
        self.splits[split.name] = split
        logger.info("split", extra={"facts": {"split": split.name, "weights": dict(split.weights), "by": split.by}})

    def unshare(self, name: str) -> None:
        """Take a split away.

        Raises:
            InputError: there is none.
        """
        if name not in self.splits:
            raise InputError(f"{name}: no such split")
        del self.splits[name]
        logger.info("split", extra={"facts": {"split": name, "weights": {}}})

    async def take_over(self, folders: Mapping[str, str], splits: Mapping[str, Split]) -> list[str]:
        """Serve what settings name, and nothing else; each model that cannot be loaded leaves the old one.

        Args:
            folders: Folder by name.
            splits: By name, of these models.

        Returns:
            A line for each thing that could not be done.
        """
        async with self._changing:
            failures = [line for name, folder in folders.items() if (line := await self._tried(name, folder))]
            missing = [name for split in splits.values() for name in split.weights if name not in self.models]
            if missing:
                failures.append(f"splits stay as they are, since {missing[0]} is not there")
                self.splits = {name: one for name, one in self.splits.items() if name not in self.models}
            else:
                self.splits = dict(splits)
            self.models = {name: self.models[name] for name in (*folders, *self.models) if name in self.models}
            for name in [name for name in self.models if name not in folders]:
                try:
                    self._check_removable(name)
                except InputError as error:
                    failures.append(str(error))
                else:
                    self._drop(name)
            return failures

    async def _tried(self, name: str, folder: str) -> str | None:
        try:
            await self._swap(name, folder)  # where the name was a split's, that answers until it is taken away
        except TamisError as error:
            return str(error)
        return None

    async def _swap(self, name: str, folder: str, expected: Version | None = None) -> Served:
        start = time.monotonic()
        old = self.models.get(name)
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._loaded, name, folder, expected
            )
        except TamisError as error:
            self._metrics.changes.labels("swap" if old else "load", "failed").inc()
            stays = f"{name} stays as it is" if old else f"{name} is not served"
            logger.error(f"{error}; {stays}", extra={"facts": {"model": name}})
            raise type(error)(f"{error}; {stays}") from None
        if old and loaded.engine is old.engine:
            return old
        served = self._put(name, loaded)
        self._metrics.changes.labels("swap" if old else "load", "done").inc()
        facts = {"model": name, "version": loaded.version.short, "seconds": round(time.monotonic() - start, 3)}
        logger.info(
            "swapped" if old else "added", extra={"facts": facts | ({"before": old.version.short} if old else {})}
        )
        return served

    def _loaded(self, name: str, folder: str, expected: Version | None) -> Loaded:
        """A model of a folder: one that answers already, or a new one; on the thread that loads.

        Raises:
            TamisError: it cannot be loaded, or is another one than expected.
        """
        try:
            check_scored(folder)  # before all files of a folder are read that is none of a model
            version = version_of(folder)
            if expected and not version.same(expected):
                raise ModelError(f"{folder}: its files are not those that were served before")
            for one in list(self.models.values()):
                if one.version.same(version):
                    return Loaded(version, one.engine)
            return self._load(name, folder)
        except TamisError:
            raise
        except Exception as error:  # whatever a library raises over broken files
            log_failure(error, "a model could not be loaded")
            raise ModelError(f"{folder}: cannot be loaded ({type(error).__name__}, see the log)") from None

    def _put(self, name: str, loaded: Loaded) -> Served:
        old = self.models.get(name)
        served = Served(name, loaded.version, loaded.engine, int(time.time()))
        self.models[name] = served
        self._metrics.watch(name, loaded.version.short, lambda: self._pairs(name))
        if old:
            self._before[name] = old.version
            if old.version.short != loaded.version.short:
                self._metrics.forget(name, old.version.short, gone=False)
            self._let_go(old.engine)
        return served

    def _drop(self, name: str) -> None:
        old = self.models.pop(name)
        self._before[name] = old.version
        self._metrics.changes.labels("remove", "done").inc()
        self._metrics.forget(name, old.version.short, gone=True)
        logger.info("removed", extra={"facts": {"model": name, "version": old.version.short}})
        self._let_go(old.engine)

    def _let_go(self, engine: Engine) -> None:
        """Close a model that no name and no request needs; the thread that loads does it."""
        if self._users[engine] or any(one.engine is engine for one in self.models.values()):
            return
        del self._users[engine]
        self._thread.submit(engine.close)
        asyncio.get_running_loop().call_later(COLLECTED_AFTER, self._thread.submit, _give_memory_back)

    def _pairs(self, name: str) -> float:
        return self.models[name].engine.pairs if name in self.models else 0

    def _is_shared(self, name: str) -> bool:
        return any(name in split.weights for split in self.splits.values())

    def _check_name(self, name: str) -> None:
        if name in self.splits:
            raise InputError(f"{name!r} is a split; give the model another name, or take the split away")

    def _check_removable(self, name: str) -> None:
        if name not in self.models:
            raise InputError(f"{name}: no such model; there are {', '.join(self.models)}")
        if self._is_shared(name):
            raise InputError(f"{name}: a split sends requests to it; change the split first")
        if len(self.models) == 1:
            raise InputError(f"{name}: the only model cannot be taken away; add another one first")

    def state(self) -> dict[str, Any]:
        """Models, what each name had before, and splits."""
        models = {
            name: {
                "folder": one.version.folder,
                "version": one.version.short,
                "since": one.since,
                "requests": self._users[one.engine],
                "before": before.folder if (before := self._before.get(name)) else None,
            }
            for name, one in self.models.items()
        }
        splits = {name: {"weights": dict(one.weights), "by": one.by} for name, one in self.splits.items()}
        return {"models": models, "splits": splits}


def _give_memory_back() -> None:
    gc.collect()
    release_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
