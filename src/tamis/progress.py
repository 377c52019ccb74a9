"""Progress on the terminal: a bar with rate and time left, or plain lines where there is no terminal."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_EVERY = 15.0
"""Seconds between two plain lines."""

RECENT = 8
"""Plain lines over which the rate is taken."""


Listen = Callable[[str, int, int], None]
"""Told what is done, in a few words, and how many items of how many are finished."""

_listening: ContextVar[Listen | None] = ContextVar("listening", default=None)


@contextmanager
def listening(listen: Listen | None) -> Iterator[None]:
    """Tell a function of progress instead of the terminal; None changes nothing."""
    token = _listening.set(listen or _listening.get())
    try:
        yield
    finally:
        _listening.reset(token)


class Advance:
    """Says that so many more items are done.

    Attributes:
        note: Shown beside the count, for instance the loss of a training.
    """

    def __init__(self, tell: Callable[[int, str], None]) -> None:
        self._tell = tell
        self.note = ""

    def __call__(self, count: int) -> None:
        """Count items that were just finished."""
        self._tell(count, self.note)


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
        yield Advance(lambda *_: None)
    elif listen := _listening.get():
        yield Advance(_told(listen, label, total))
    elif sys.stderr.isatty():
        columns = (
            TextColumn("  {task.description:<34}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(label, total=total, note="")
            yield Advance(lambda count, note: bars.update(task, advance=count, note=note))
    else:
        yield Advance(_plain(label, total))


def _told(listen: Listen, label: str, total: int) -> Callable[[int, str], None]:
    """A function that tells a listener of every advance."""
    done = 0

    def tell(count: int, note: str) -> None:
        nonlocal done
        done += count
        listen(label, done, total)

    return tell


def _plain(label: str, total: int) -> Callable[[int, str], None]:
    """A function that prints a line now and then: at the end, and every `PLAIN_EVERY` seconds."""
    start = last = time.monotonic()
    done = 0
    seen: deque[tuple[float, int]] = deque(maxlen=RECENT)

    def advance(count: int, note: str) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if done and not seen:  # the first items came with what was prepared for all of them, or from a cache
            seen.append((now, done))
        if now - last >= PLAIN_EVERY or (done == total and now - start >= PLAIN_EVERY):
            then, before = seen[0] if seen else (now, done)
            parts = [f"{done:,} of {total:,}", *_pace(done - before, now - then, total - done), *([note] * bool(note))]
            sys.stderr.write(f"  {label}: {', '.join(parts)}\n")
            sys.stderr.flush()
            last = now
            if done:
                seen.append((now, done))

    return advance


def _pace(items: int, seconds: float, left: int) -> list[str]:
    """Rate and time left of `items` done in `seconds`; nothing where there is no rate yet."""
    if items <= 0 or seconds <= 0:
        return []
    rate = items / seconds
    pace = f"{rate:,.1f}/s" if rate >= 0.1 else f"{rate * 60:,.1f}/min"
    return [pace, *([f"{lasting(left / rate)} left"] * (left > 0))]


def lasting(seconds: float) -> str:
    """A time rounded up as far as an estimate is good for: `42 s`, `6 min`, `2 h 5 min`."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
