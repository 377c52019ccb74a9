"""How many cores or replicas a load needs: a short probe of the model, and what waiting makes of it."""

import asyncio
import math
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from tamis.errors import InputError
from tamis.models.reranker import Reranker
from tamis.process_memory import peak_memory
from tamis.serving.engine import Engine
from tamis.serving.request import RerankRequest

UTILISATION: Final = 0.4
"""Share of the time that a replica may compute under the planned load. Of requests that take one like the other and
come at random (M/D/1), the 99th percentile at three quarters of such a load is below 3 times the median, at all of it
some 3.6 times; the time that clients wait at all grows from there (docs/capacity.md)."""

PROBE_SECONDS: Final = 5.0
"""Seconds of each probe, beyond its first requests, which warm the model up."""

LEAST: Final = 3
"""Fewest requests of a probe."""

_WORDS: Final = (
    *("the", "install", "package", "kernel", "module", "system", "print", "document", "daemon", "clock", "user"),
    *("account", "upgrade", "release", "network", "interface", "file", "service", "desktop", "log", "rotate"),
    *("folder", "password", "memory", "disk", "mount", "driver", "update", "server", "query", "answer", "light"),
)


@dataclass(frozen=True)
class Load:
    """A load as a user states it.

    Attributes:
        rate: Requests a second, above 0.
        documents: Documents of each request.
        tokens: Tokens of a pair, of query and document together, special ones included.
    """

    rate: float
    documents: int
    tokens: int

    def __post_init__(self) -> None:
        """See that it can be a load.

        Raises:
            InputError: it cannot.
        """
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"--plan is {self.rate:g}, expected requests a second above 0")


@dataclass(frozen=True)
class Probe:
    """What a request takes on so many cores.

    Attributes:
        cores: Threads of the model.
        seconds: Mean of a request, alone.
        slowest: The slowest one.
        requests: How many were measured.
        tokens: Mean tokens that the model read of a pair.
        memory_bytes: Most memory that the process held.
    """

    cores: int
    seconds: float
    slowest: float
    requests: int
    tokens: float
    memory_bytes: int

    @property
    def most(self) -> float:
        """Requests a second that a replica answers when it never pauses."""
        return 1 / self.seconds

    @property
    def planned(self) -> float:
        """Requests a second that a replica is planned for."""
        return UTILISATION / self.seconds

    def replicas(self, rate: float) -> int:
        """Replicas of this size that a rate needs; at least 1."""
        return max(1, math.ceil(rate / self.planned - 1e-9))


def plan(reranker: Callable[[], Reranker], load: Load, seconds: float = PROBE_SECONDS) -> list[Probe]:
    """Measure a request of a load on one core, and on all that this process may use.

    Args:
        reranker: Loads the model; called once.
        load: The load.
        seconds: How long each probe takes.
    """
    before = torch.get_num_threads()
    model = reranker()
    stream = requests_of(model, load)
    try:
        return [_probe(model, stream, load, cores, seconds) for cores in sorted({1, before})]
    finally:
        torch.set_num_threads(before)


def requests_of(reranker: Reranker, load: Load) -> Iterator[RerankRequest]:
    """Requests without end, of texts that never come twice: what is remembered of a text would flatter the model."""
    rng = random.Random(0)
    words = _words_for(reranker, load.tokens)

    def text(count: int) -> str:
        return " ".join(rng.choices(_WORDS, k=count))

    while True:
        yield RerankRequest(None, [text(_QUERY_WORDS)], [text(words) for _ in range(load.documents)])


_QUERY_WORDS: Final = 8


def _words_for(reranker: Reranker, tokens: int) -> int:
    """Words of a document with which a pair has so many tokens, or more where the model does not read so many."""
    return 1 + bisect_left(range(1, tokens), tokens, key=lambda count: _tokens(reranker, count))


def _tokens(reranker: Reranker, words: int) -> int:
    rng = random.Random(1)
    pair = (" ".join(rng.choices(_WORDS, k=_QUERY_WORDS)), " ".join(rng.choices(_WORDS, k=words)))
    (row,) = reranker.scorer.encode([pair])
    return int(row.length)


def _probe(model: Reranker, stream: Iterator[RerankRequest], load: Load, cores: int, seconds: float) -> Probe:
    torch.set_num_threads(cores)
    with Engine(model, most_pairs=10 * load.documents + 1) as engine:
        taken, tokens = asyncio.run(_alone(engine, stream, seconds))
    mean = sum(taken) / len(taken)
    return Probe(cores, mean, max(taken), len(taken), tokens / (len(taken) * load.documents), peak_memory())


async def _alone(engine: Engine, stream: Iterator[RerankRequest], seconds: float) -> tuple[Sequence[float], int]:
    """Seconds of each request, one after the other, and the tokens of all; the first one is not counted."""
    await engine.score(next(stream))
    taken: list[float] = []
    tokens, end = 0, time.perf_counter() + seconds
    while len(taken) < LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        found = await engine.score(next(stream))
        taken.append(time.perf_counter() - start)
        tokens += found.tokens
    return taken, tokens
