"""The engine of one process: every piece of work where it is asked for, one after the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Piece = TypeVar("Piece")
Done = TypeVar("Done")


class Mapped(Protocol):
    """Gives the result of a function for each piece of work, in the order of the work.

    The function has to give the same result wherever it runs, and as often as it is run. An engine may read work ahead.
    """

    def __call__(self, function: Callable[[Piece], Done], work: Iterable[Piece], /) -> Iterator[Done]:
        """Yield each result as soon as it and all before it are there."""
        ...


@dataclass(frozen=True)
class Executor:
    """Where the pieces of the long stages run.

    Attributes:
        mapped: Runs them.
        elsewhere: Whether that is in other processes, which get a copy of the function and load models of their own.
    """

    mapped: Mapped
    elsewhere: bool


def run_here(function: Callable[[Piece], Done], work: Iterable[Piece], /) -> Iterator[Done]:
    """Run each piece of work when its result is asked for."""
    return map(function, work)


LOCAL = Executor(run_here, elsewhere=False)
"""This process."""
