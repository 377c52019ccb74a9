"""What `tamis serve --plan` says on the terminal."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from tamis.serving.planning import UTILISATION, Load, Probe

CUT: Final = 0.9
"""Share of the tokens below which the model does not read all of a pair; texts of a probe come out by some per cent."""


def print_plan(load: Load, probes: Sequence[Probe]) -> None:
    """Print what a request takes, and how many replicas of each size the load needs."""
    console = Console(highlight=False)
    tokens = probes[0].tokens
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{load.rate:g} requests a second of {load.documents:,} documents, {tokens:.0f} tokens a pair",
        caption=f"a replica of so many cores; planned: {UTILISATION:.0%} of the most, so that waiting stays short",
    )
    for heading in ("cores", "request", "slowest", "most", "planned", "replicas", "cores in all", "memory"):
        table.add_column(heading, justify="right")
    for probe in probes:
        table.add_row(*_row(load, probe))
    console.print(table)
    if tokens < CUT * load.tokens:
        read = f"of {load.tokens:,} tokens a pair the model reads {tokens:.0f}; the rest costs nothing"
        console.print(read, soft_wrap=True)
    best = min(probes, key=lambda probe: probe.replicas(load.rate) * probe.cores)
    count = best.replicas(load.rate)
    console.print(
        f"{count:,} replica{'s' * (count != 1)} of {best.cores} core{'s' * (best.cores != 1)}, measured on this "
        f"machine by {best.requests} requests one after the other; see docs/capacity.md",
        soft_wrap=True,
    )


def _row(load: Load, probe: Probe) -> list[str]:
    count = probe.replicas(load.rate)
    return [
        f"{probe.cores}",
        f"{probe.seconds:.2f} s",
        f"{probe.slowest:.2f} s",
        f"{probe.most:.2f}/s",
        f"{probe.planned:.2f}/s",
        f"{count:,}",
        f"{count * probe.cores:,}",
        f"{probe.memory_bytes / 2**30:.1f} GiB",
    ]
