"""A real server on a real socket, on a thread of this process."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from tamis.models.reranker import Reranker
from tamis.models.windows import Long
from tamis.serving.app import Service
from tamis.serving.engine import Engine
from tamis.serving.fleet import Fleet
from tamis.serving.keys import ApiKeys
from tamis.serving.limits import Limits
from tamis.serving.metrics import Metrics
from tamis.serving.playground.collection import Collection
from tamis.serving.serve import DrainingServer, listen, prepared
from tamis.serving.settings import Sources


@dataclass
class Running:
    """A server that runs.

    Attributes:
        url: Without a path.
        service: Behind it.
        server: In front of it.
    """

    url: str
    service: Service
    server: DrainingServer
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=self.url, timeout=20)

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.client.post(path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.client.get(path, headers=headers)


@contextmanager
def served(
    models: Mapping[str, Path | Reranker],
    limits: Limits | None = None,
    keys: tuple[str, ...] = (),
    queue_pairs: int = 4096,
    origins: tuple[str, ...] = (),
    on: Path | None = None,
    local: bool = True,
    long: Long = "first",
    min_score: float | None = None,
) -> Iterator[Running]:
    metrics, limits = Metrics(), limits or Limits()
    engines = {}
    for name, model in models.items():
        reranker = model if isinstance(model, Reranker) else Reranker(model)
        watch = partial(metrics.batch, name)
        engines[name] = Engine(reranker, queue_pairs, limits.seconds, watch, long=long, min_score=min_score)
    collection = Collection(on) if on else None
    service = Service(Fleet.of(engines, metrics), limits, ApiKeys(list(keys)), metrics, collection)
    server = DrainingServer(service, origins, local)
    listening = listen("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    running = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", service, server)
    try:
        yield running
    finally:
        running.client.close()
        server.should_exit = True
        thread.join(10)
        listening.close()
        for engine in engines.values():
            engine.close()


@contextmanager
def operated(admin_key: str = "", config: Path | None = None, wait: bool = True, **settings: Any) -> Iterator[Running]:
    """A server as the command makes it, which can load other models; unless nobody waits, its first ones are there."""
    environment = {"TAMIS_ADMIN_KEY": admin_key} if admin_key else {}
    sources = Sources({"port": 0, **settings}, environment, config)
    with ExitStack() as open_things:
        server, listening = prepared(sources, open_things)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        running = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", server._service, server)
        try:
            until(lambda: not wait or running.service.fleet.loaded.is_set())
            yield running
        finally:
            running.client.close()
            server.should_exit = True
            thread.join(10)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
