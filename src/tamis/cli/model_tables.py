"""What exports, indexes and merges say on the terminal; nothing of the pipeline is imported for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tamis.exporting.int8 import DEPTH, LARGEST_LOSS, LEAST_TAU, Checked
from tamis.exporting.parity import Parity
from tamis.merging.merge import MergeReport

if TYPE_CHECKING:
    from tamis.models.known.indexing import Indexed  # brings the readers of documents
    from tamis.threshold import LevelRow, ThresholdResult


def print_parity(found: Parity, out: Path) -> None:
    """Print how far an export agrees with the model it was made from."""
    rows = (
        ("engine", found.engine),
        ("pairs compared", f"{found.pairs}"),
        ("largest difference", f"{found.largest:.1e}"),
        ("mean difference", f"{found.mean:.1e}"),
        ("bounded scores", f"{found.activation}, largest difference {found.bounded:.1e}"),
        ("constant left out", f"{found.offset:.4f}" if found.offset else "none"),
        ("Kendall tau", f"{found.tau:.4f}"),
        ("new ties", f"{100 * found.ties:.1f} %"),
    )
    _print_export(rows, out)


def print_int8(found: Checked, out: Path) -> None:
    """Print how far an export in int8 orders as float32 does."""
    rows = (
        ("engine", "openvino, int8"),
        ("calibrated by", f"{found.calibrating} pairs"),
        ("checked on", f"{found.queries} other queries of {DEPTH} documents"),
        ("Kendall tau within a query", f"{found.tau:.4f}, at least {LEAST_TAU:g}"),
        ("nDCG@10 against float32", f"{found.change:+.4f}, at least {-LARGEST_LOSS:g}"),
        ("products in int8", f"{found.in_int8} of {found.products}"),
    )
    _print_export(rows, out)


def _print_export(rows: Sequence[tuple[str, str]], out: Path) -> None:
    table = Table(box=None, show_header=False)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"export: {out}", soft_wrap=True)


def print_indexed(found: "Indexed", out: Path) -> None:
    """Print what became of the documents of a corpus, and what their index takes."""
    parts = [f"{found.new:,} new", f"{len(found.changed):,} with another text", f"{found.same:,} as they were"]
    parts += [f"{found.deleted:,} deleted"] * bool(found.deleted)
    table = Table(box=None, show_header=False)
    table.add_row("documents", f"{found.documents:,}: {', '.join(parts)}")
    if found.changed:
        table.add_row("another text", escape(_some(found.changed)))
    if found.left_out:
        table.add_row("left out", ", ".join(f"{count:,} {escape(reason)}" for reason, count in found.left_out.items()))
    if found.cut:
        table.add_row("cut", f"{found.cut:,} longer than the model reads: read by the beginning")
    if found.read:
        table.add_row(
            "read", f"{found.read:,} texts in {found.seconds:.1f} s, {found.read / found.seconds:,.1f} a second"
        )
    each = found.bytes / max(found.documents, 1)
    table.add_row(
        "on disk", f"{found.bytes:,} bytes, {each:,.0f} a document, {found.tokens:,} tokens in {found.values}"
    )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"index: {out}", soft_wrap=True)


def _some(ids: Sequence[str], most: int = 5) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most:,} more" if len(ids) > most else "")


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


def print_threshold(found: "ThresholdResult") -> None:
    """Print precision and recall by score, what is doubtful, and which level was kept where."""
    title = f"{found.questions:,} questions, {found.pairs:,} graded pairs, {found.relevant:,} relevant"
    caption = "95 % intervals (Clopper and Pearson), pairs taken one by one; probability: Platt's calibration"
    table = Table("lowest score", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, caption=caption)
    for heading in ("kept", "precision", "interval", "recall", "interval", "probability at it"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(*_level_cells(row))
    if found.chosen:
        table.add_section()
        table.add_row(*_level_cells(found.chosen), style="bold")
    console = Console(highlight=False)
    console.print(table)
    for note in found.notes:
        console.print(f"- {escape(note)}", soft_wrap=True)
    if found.chosen:
        score = f"{found.chosen.level.score:.4f}"
        console.print(f"level for {found.precision:.0%} precision: {score}, kept in {found.model}", soft_wrap=True)


def _level_cells(row: "LevelRow") -> list[str]:
    shares = row.level.precision, row.level.recall
    cells = [cell for one in shares for cell in (f"{one.value:.3f}", f"{one.lower:.3f} to {one.upper:.3f}")]
    return [f"{row.level.score:.4f}", f"{row.level.kept:,}", *cells, f"{row.probability:.3f}"]
