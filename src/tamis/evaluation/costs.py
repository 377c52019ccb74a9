"""What a model costs: speed, memory, parameters, bytes on disk."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

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
        measured: When, in UTC; empty where an earlier version measured it.
        processor_share: Processor time that this process got while requests were timed, of all that its threads could
            have had: much less than 1 on a machine that does other work too. None on a GPU.
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
    measured: str = ""
    processor_share: float | None = None


class Timing(NamedTuple):
    """How long requests took.

    Attributes:
        seconds: Median of a request of 100 documents.
        processor_share: See `Cost`; a process that scores on a GPU has it too.
    """

    seconds: float
    processor_share: float


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

    def keep(self, reranker: Reranker, precision: str, pairs: int, seconds: float, request: Timing) -> None:
        """Keep a measurement, unless there is one on more pairs."""
        before = self.known()
        if before and before.pairs >= pairs:
            return
        active, total = reranker.parameters
        device = fastest_device().type
        cost = Cost(
            pairs_per_second=pairs / seconds,
            pairs=pairs,
            milliseconds_per_100=1000 * request.seconds,
            parameters=total,
            active_parameters=active,
            peak_memory_bytes=peak_memory(),
            device_memory_bytes=_device_memory(device),
            disk_bytes=folder_bytes(Path(find_checkpoint(reranker.path))),
            device=device,
            precision=precision,
            measured=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            processor_share=request.processor_share if device == "cpu" else None,
        )
        self._items.put([(self._key, json.dumps(asdict(cost)).encode())])


def time_requests(
    score: Callable[[Sequence[tuple[str, str]]], object], requests: Sequence[list[tuple[str, str]]]
) -> Timing:
    """Time requests of 100 documents.

    Args:
        score: Scores the pairs of a request.
        requests: At least one, each with at least one pair.
    """
    import torch

    taken, whole, processor = [], 0.0, time.process_time()
    for pairs in requests:
        start = time.perf_counter()
        score(pairs)
        seconds = time.perf_counter() - start
        whole += seconds
        taken.append(seconds * REQUEST / len(pairs))
    share = (time.process_time() - processor) / max(whole * torch.get_num_threads(), 1e-9)
    return Timing(statistics.median(taken), min(1.0, round(share, 3)))


def _device_memory(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else 0
