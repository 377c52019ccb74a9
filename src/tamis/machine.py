"""What changes speed but not results: the machine's settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tamis.models.precision import Precision, fastest_precision
from tamis.remote.settings import RequestsSettings
from tamis.section import Section


def resolve_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """A recipe's precision, `auto` resolved for this machine."""
    return fastest_precision() if wanted == "auto" else wanted


class MachineSettings(Section):
    """What changes speed but not results; never part of a key."""

    threads: int = Field(default=2, ge=1)
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    token_budget: int = Field(
        default=0, ge=0, description="tokens per forward pass; 0: 2,048 on a processor, 16,384 on a GPU"
    )
    recompute: bool = Field(
        default=False, description="learn with the memory of one forward pass, for a third more time; same gradients"
    )
    checkpointing: bool = Field(
        default=False, description="keep no activations inside the body either (not for warm students)"
    )
    shard: bool = Field(
        default=False,
        description="each process keeps its part of weights, gradients and optimiser state (FSDP), for bodies larger "
        "than one GPU; needs torchrun (not for warm students)",
    )
    requests: RequestsSettings = RequestsSettings()
    cache: Path | None = Field(
        default=None,
        description="folder for what teachers and language models answered, shared by all runs; none: tamis in "
        "$XDG_CACHE_HOME or ~/.cache. On a disk of this machine: sqlite does not lock across a network",
    )
