"""Work for engines that other processes can import."""

import os
import signal
from pathlib import Path

from tamis.errors import ModelError


def square(number):
    return number * number


def deadly_once(marker: Path, number: int) -> tuple[int, int]:
    """The square, and the process; the fifth piece kills its process the first time that it is run."""
    if number == 5 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number, os.getpid()


def refuse(number):
    raise ModelError(f"models/{number}: not a model folder")
