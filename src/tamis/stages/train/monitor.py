"""What a training shows while it runs: a line beside the progress bar, and TensorBoard files where it is installed."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tamis.process_memory import release_memory
from tamis.progress import Advance
from tamis.stages.train.train import Watch

RELEASED_EVERY = 4
"""Steps between two times that freed memory goes back to the system: lists differ in length, and what is freed of one
step seldom fits the next, so that a process of 2 GiB would grow to 7 within 200 steps."""

WINDOW = 60.0
"""Seconds of learning over which speed is a mean: of one step it says little, as steps differ in size and the machine
has other work too."""

STEADY = 10.0
"""Seconds of learning after which a mean may correct the measured rate of the machine."""

SHOWN = {
    "loss": "loss {:.3f}",
    "agreement": "agreement {:.4f}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "product_share": "{:.0%} of the matrix-product rate",
}
"""What stands beside the bar, in this order."""


@contextmanager
def watching(folder: Path | None, advance: Advance, rate: float) -> Iterator[Watch]:
    """Show the figures of a training.

    Args:
        folder: For TensorBoard's files; None writes none. Speeds are means over `WINDOW` there too.
        advance: Moves the progress bar.
        rate: Operations a second of the machine's matrix products.

    Yields:
        A function to call with a step and its figures.
    """
    board = _board(folder) if folder else None
    latest: dict[str, float] = {}
    speed = _Speed()

    def watch(step: int, figures: Mapping[str, float]) -> None:
        nonlocal rate
        if "seconds" in figures:
            means = speed.after(figures)
            if speed.seconds >= STEADY:
                rate = max(rate, means["operations_per_second"])  # the machine was slower while it was measured
            figures = {**figures, **means, "product_share": min(1.0, means["operations_per_second"] / rate)}
        if step % RELEASED_EVERY == 0:
            release_memory()
        latest.update(figures)
        advance.note = ", ".join(form.format(latest[name]) for name, form in SHOWN.items() if name in latest)
        if board:
            for name, value in figures.items():
                board.add_scalar(name, value, step)

    try:
        yield watch
    finally:
        if board:
            board.close()


class _Speed:
    """Mean speed of the latest steps, each by its time.

    Attributes:
        seconds: Of the steps that count: the fewest latest ones that took `WINDOW`, or all.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._steps: deque[tuple[float, float, float]] = deque()

    def after(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The means with one more step.

        Args:
            figures: `seconds` that it took, `tokens_per_second` and `operations_per_second`.
        """
        seconds = figures["seconds"]
        self._steps.append((seconds, figures["tokens_per_second"], figures["operations_per_second"]))
        self.seconds += seconds
        while self.seconds - self._steps[0][0] >= WINDOW:
            self.seconds -= self._steps.popleft()[0]
        whole = max(self.seconds, 1e-9)
        tokens, operations = (sum(step[0] * step[place] for step in self._steps) / whole for place in (1, 2))
        return {"tokens_per_second": tokens, "operations_per_second": operations}


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
