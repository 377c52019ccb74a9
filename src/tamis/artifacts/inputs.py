"""The files that a recipe names: whether they are there, and their hashes for the keys of stages."""

from collections.abc import Sequence
from pathlib import Path

from tamis.artifacts import file_hash
from tamis.errors import InputError

_WHAT_TO_GIVE = (
    "Give a BEIR folder, or for documents a file of rows or a folder of texts, or run `make demo` to fetch the "
    "demo's data"
)


def input_hashes(paths: Sequence[Path], section: str) -> list[str]:
    """sha256 of each input file that a section of the recipe names.

    Raises:
        InputError: one of them does not exist or cannot be read.
    """
    check_files(paths, section)
    hashes = []
    for path in paths:
        try:
            hashes.append(file_hash(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return hashes


def check_files(paths: Sequence[Path], section: str) -> None:
    """Look for input files that a section of the recipe names; nothing is opened.

    Raises:
        InputError: one of them does not exist.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path}: not found; the recipe's {section} section names it. "
                + ("Correct the path, or leave it out" if section == "candidates" else _WHAT_TO_GIVE)
            )
