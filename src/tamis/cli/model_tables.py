"""What exports and merges say on the terminal; nothing of the pipeline is imported for it."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tamis.exporting.parity import Parity
from tamis.merging.merge import MergeReport


def print_parity(found: Parity, out: Path) -> None:
    """Print how far an export agrees with the model it was made from."""
    table = Table(box=None, show_header=False)
    for name, value in (
        ("engine", found.engine),
        ("pairs compared", f"{found.pairs}"),
        ("largest difference", f"{found.largest:.1e}"),
        ("mean difference", f"{found.mean:.1e}"),
        ("bounded scores", f"{found.activation}, largest difference {found.bounded:.1e}"),
        ("constant left out", f"{found.offset:.4f}" if found.offset else "none"),
        ("Kendall tau", f"{found.tau:.4f}"),
        ("new ties", f"{100 * found.ties:.1f} %"),
    ):
        table.add_row(name, value)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"export: {out}", soft_wrap=True)


def print_merge(found: MergeReport, out: Path) -> None:
    """Print what became of the tensors of each layer: copied, on the straight line, and the angle of each join."""
    slerp = found.method.name == "slerp"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer")
    of_joins = [f"angle to {Path(model).name}" for model in found.models[1:]] if slerp else []
    for heading in ("tensors", "equal", *(["linear", *of_joins] if slerp else [])):
        table.add_column(heading, justify="right")
    for row in found.by_layer():
        cells = [row.tensors, row.equal, *([row.linear] if slerp else [])]
        angles = [f"{angle:.1f}°" if angle is not None else "–" for angle in row.angles]
        table.add_row("others" if row.layer is None else str(row.layer), *map(str, cells), *angles)
    console = Console(highlight=False)
    console.print(table)
    total = f"{len(found.tensors):,} tensors, {found.equal:,} equal and copied"
    line = f"; {100 * found.linear_share:.1f} % of the others fell back to the straight line" if slerp else ""
    console.print(total + line, soft_wrap=True)
    console.print(f"merged: {out}", soft_wrap=True)
