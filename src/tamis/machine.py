"""The machine: what changes speed but not results, and what it comes to here."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from tamis.errors import SettingsError
from tamis.models.engines.choosing import ScoringEngine
from tamis.models.precision import CPU_TOKENS, LEARNING_GPU_TOKENS, Precision, fastest_device, fastest_precision
from tamis.remote.settings import RequestsSettings
from tamis.section import Section


def resolve_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """A recipe's precision, `auto` resolved for this machine."""
    return fastest_precision() if wanted == "auto" else wanted


class MachineSettings(Section):
    """Threads, device and memory. They change speed and no result, so they are in no stage's key."""

    threads: int = Field(default=2, ge=1, description="Number of processor threads for models and search.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run. auto: a GPU where there is one."
    )
    engine: ScoringEngine = Field(
        default="torch",
        description="Engine of rerankers that teach, on a processor: torch, openvino or onnx; auto: the faster one of "
        "torch and what is installed. A GPU stays with torch.",
    )
    token_budget: int = Field(
        default=0,
        ge=0,
        description="Most tokens of a forward pass. 0: 2,048 on a processor, 16,384 on a GPU. Lower it where memory "
        "runs out.",
    )
    recompute: bool = Field(
        default=False,
        description="Learn with the memory of one forward pass, in a third more time and with the same gradients.",
    )
    checkpointing: bool = Field(
        default=False,
        description="Keep no activations inside the body either, to save more memory. Not for the warm head.",
    )
    shard: bool = Field(
        default=False,
        description="Keep only a part of weights, gradients and optimiser state in each process (FSDP), for bodies "
        "larger than one GPU. Needs torchrun; not for the warm head.",
    )
    requests: RequestsSettings = RequestsSettings()
    cache: Path | None = Field(
        default=None,
        description="Folder of what teachers and language models answered, shared by all runs. Empty: tamis in "
        "$XDG_CACHE_HOME or ~/.cache. Use a disk of this machine, since sqlite does not lock across a "
        "network.",
    )


@dataclass(frozen=True)
class Machine:
    """Where models run and with how much at a time. A copy in another process finds its own device there.

    Attributes:
        settings: The recipe's section.
        precision: Number format of matrix products, resolved; unlike the settings it is part of keys.
        local_rank: Number of the GPU to use, where there are some.
    """

    settings: MachineSettings
    precision: Precision
    local_rank: int = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _elsewhere, (self.settings, self.precision)

    @cached_property
    def device(self) -> torch.device:
        """Where models run; of several processes each has a GPU of its own.

        Raises:
            SettingsError: A GPU is asked for where there is none.
        """
        wanted = self.settings.device
        found = fastest_device()
        if wanted != "auto":
            if wanted == "cuda" and found.type != "cuda":
                raise SettingsError("machine.device is cuda, but torch sees no GPU here; set it to auto or cpu")
            found = torch.device(wanted)
        return torch.device("cuda", self.local_rank) if found.type == "cuda" else found

    @property
    def token_budget(self) -> int:
        """Most tokens per forward pass: as many as a processor's cache holds; on a GPU, room is left to learn in."""
        fitting = CPU_TOKENS if self.device.type == "cpu" else LEARNING_GPU_TOKENS
        return self.settings.token_budget or fitting


def _elsewhere(settings: MachineSettings, precision: Precision) -> Machine:
    """The machine of another process, with as many threads as the recipe says."""
    torch.set_num_threads(settings.threads)
    return Machine(settings, precision)
