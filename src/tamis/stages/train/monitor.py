"""What a training shows while it runs: a line beside the progress bar, and TensorBoard files where it is installed."""

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

SHOWN = {
    "loss": "loss {:.3f}",
    "agreement": "agreement {:.4f}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "product_share": "{:.0%} of the product rate",
}
"""What stands beside the bar, in this order."""


@contextmanager
def watching(folder: Path | None, advance: Advance, rate: float) -> Iterator[Watch]:
    """Show the figures of a training.

    Args:
        folder: For TensorBoard's files; None writes none.
        advance: Moves the progress bar.
        rate: Operations a second of the machine's matrix products.

    Yields:
        A function to call with a step and its figures.
    """
    board = _board(folder) if folder else None
    latest: dict[str, float] = {}

    def watch(step: int, figures: Mapping[str, float]) -> None:
        nonlocal rate
        if "operations_per_second" in figures:
            rate = max(rate, figures["operations_per_second"])  # the machine was slower while it was measured
            figures = {**figures, "product_share": figures["operations_per_second"] / rate}
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


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
