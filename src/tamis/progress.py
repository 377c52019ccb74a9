"""Progress on the terminal: a bar with rate and time left, or plain lines where there is no terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_EVERY = 15.0
"""Seconds between two plain lines."""

Advance = Callable[[int], None]
"""Says that so many more items are done."""


class RateColumn(ProgressColumn):
    """Items a second, over the recent past."""

    def render(self, task: Task) -> Text:
        """The rate as text, empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="dim")


@contextmanager
def track(label: str, total: int) -> Iterator[Advance]:
    """Show how far a piece of work is, on standard error.

    Args:
        label: What is done, a few words.
        total: Number of items; 0 shows nothing.

    Yields:
        A function to call with the number of items just finished.
    """
    if total == 0:
        yield lambda _: None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("  {task.description:<34}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(label, total=total)
            yield lambda count: bars.advance(task, count)
    else:
        yield _plain(label, total)


def _plain(label: str, total: int) -> Advance:
    """A function that prints a line now and then: at the end, and every `PLAIN_EVERY` seconds."""
    start = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= PLAIN_EVERY or (done == total and now - start >= PLAIN_EVERY):
            rate = done / max(now - start, 1e-9)
            left = (total - done) / max(rate, 1e-9)
            sys.stderr.write(f"  {label}: {done:,} of {total:,}, {rate:,.1f}/s, {left:,.0f} s left\n")
            sys.stderr.flush()
            last = now

    return advance
