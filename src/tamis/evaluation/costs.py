"""What a model costs: speed, memory, parameters, bytes on disk."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tamis.artifacts import ItemStore, folder_bytes
from tamis.models.checkpoint import find_checkpoint
from tamis.models.precision import fastest_device
from tamis.models.reranker import Reranker
from tamis.process_memory import peak_memory, reset_peak_memory

REQUEST = 100
"""Documents of the request that is timed."""

REQUESTS = 3
"""How many of them."""


@dataclass(frozen=True)
class Cost:
    """What a model costs on this machine.

    Attributes:
        pairs_per_second: Speed of the whole scoring, tokenising included.
        pairs: How many pairs that was measured on.
        milliseconds_per_100: From a query and 100 documents to their scores, the median of three requests; where the
            candidates are fewer, what they took times 100 over how many they are.
        parameters: Number of weights of the whole model.
        active_parameters: Number of weights that a token passes; fewer where experts are chosen.
        peak_memory_bytes: Most memory the process held while the model was loaded and scored.
        device_memory_bytes: Most memory of the GPU; 0 without one.
        disk_bytes: Size of the checkpoint's files in bytes; 0 for a name on a hub.
        device: `cpu` or `cuda`.
        precision: Number format of the body.
    """

    pairs_per_second: float
    pairs: int
    milliseconds_per_100: float
    parameters: int
    active_parameters: int
    peak_memory_bytes: int
    device_memory_bytes: int
    disk_bytes: int
    device: str
    precision: str


class Meter:
    """Measures a model while it scores, and remembers what it measured on the most pairs."""

    def __init__(self, items: ItemStore, key: str) -> None:
        """Keep what is found under `key`."""
        self._items, self._key = items, key
        reset_peak_memory()

    def known(self) -> Cost | None:
        """The costs that were measured before."""
        found = self._items.get([self._key])
        return Cost(**json.loads(found[self._key])) if found else None

    def keep(self, reranker: Reranker, precision: str, pairs: int, seconds: float, request_seconds: float) -> None:
        """Keep a measurement, unless there is one on more pairs."""
        before = self.known()
        if before and before.pairs >= pairs:
            return
        active, total = reranker.parameters
        device = fastest_device().type
        cost = Cost(
            pairs_per_second=pairs / seconds,
            pairs=pairs,
            milliseconds_per_100=1000 * request_seconds,
            parameters=total,
            active_parameters=active,
            peak_memory_bytes=peak_memory(),
            device_memory_bytes=_device_memory(device),
            disk_bytes=folder_bytes(Path(find_checkpoint(reranker.path))),
            device=device,
            precision=precision,
        )
        self._items.put([(self._key, json.dumps(asdict(cost)).encode())])


def time_requests(
    score: Callable[[Sequence[tuple[str, str]]], object], requests: Sequence[list[tuple[str, str]]]
) -> float:
    """Median seconds of a request of 100 documents.

    Args:
        score: Scores the pairs of a request.
        requests: At least one, each with at least one pair.
    """
    taken = []
    for pairs in requests:
        start = time.perf_counter()
        score(pairs)
        taken.append((time.perf_counter() - start) * REQUEST / len(pairs))
    return statistics.median(taken)


def _device_memory(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else 0
