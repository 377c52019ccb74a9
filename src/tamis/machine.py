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
    """Threads, device and memory. They change speed and no result, so they are in no stage's key."""

    threads: int = Field(default=2, ge=1, description="Number of processor threads for models and search.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run. auto: a GPU where there is one."
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
