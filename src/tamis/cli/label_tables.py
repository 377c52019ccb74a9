"""What `tamis label` says on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tamis.evaluation.tables import print_widths
from tamis.formats.pools import WRITTEN, WRITTEN_NOTE
from tamis.labelling.grading import Grading, summary
from tamis.labelling.pools import Pools


def print_pools(folder: Path, pools: Pools, modelled: int = 0) -> None:
    """Say what is in the pools and how sure a verdict by them will be, before anyone begins.

    Args:
        folder: Where they lie.
        pools: What is graded.
        modelled: Questions that a model grades; 0 for a person alone.
    """
    console = Console(stderr=True, highlight=False)
    mean = pools.size / len(pools.pools)
    found = f"{len(pools.pools):,} questions, {pools.size:,} passages ({mean:.0f} a question)"
    console.print(
        f"{escape(str(folder))}: {found}, the best {pools.depth} of {', '.join(pools.systems)}", soft_wrap=True
    )
    for reason, count in pools.asked.get("left_out", {}).items():
        console.print(f"- {count:,} questions are left out: {escape(reason)}", soft_wrap=True)
    for note in (*pools.notes, *([WRITTEN_NOTE] if pools.asked["from"] == WRITTEN else ())):
        console.print(f"- {escape(note)}", soft_wrap=True)
    print_widths(modelled, console)


def print_start(url: str, grading: Grading) -> None:
    """Say where the page is, and what was graded before."""
    console = Console(stderr=True, highlight=False)
    if grading.sheets:
        _print_lines(console, summary(grading))
    console.print(f"grade at [bold]{url}[/] (Ctrl-C ends it; grades are kept one by one)", soft_wrap=True)


def print_end(folder: Path, grading: Grading) -> None:
    """Say what is graded, and what it is good for now."""
    console = Console(highlight=False)
    _print_lines(console, summary(grading))
    if grading.finished():
        console.print(
            f"judged set: {escape(str(folder))} (tamis evaluate MODEL --on {escape(str(folder))})", soft_wrap=True
        )


def _print_lines(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(f"- {escape(line)}", soft_wrap=True)
