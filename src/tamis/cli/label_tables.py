"""What `tamis label` says on the terminal."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tamis.formats.pools import WRITTEN, WRITTEN_NOTE
from tamis.labelling.grading import Grading, summary
from tamis.labelling.pools import Pools
from tamis.labelling.worth import NUMBERS, SPREADS, half_width


def print_pools(folder: Path, pools: Pools) -> None:
    """Say what is in the pools and how much it is worth, before anyone begins."""
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
    table = Table(
        "questions graded",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title="what a difference of nDCG@10 is known to, in points (95 %)",
        title_justify="left",
        caption="spread: standard deviation of the difference from question to question; ask few first, then look",
        caption_justify="left",
    )
    for spread in SPREADS:
        table.add_column(f"spread {spread:.2f}", justify="right")
    for number in NUMBERS:
        table.add_row(f"{number:,}", *(f"± {100 * half_width(number, spread):.1f}" for spread in SPREADS))
    console.print(table)


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
