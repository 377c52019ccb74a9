"""Files that are there whole after a power cut, or not at all."""

import os
from pathlib import Path

from tamis.artifacts import writing

ADVICE = "make room or choose another --out"


def put_file(file: Path, text: str) -> None:
    """Write a file in UTF-8 that replaces what is there in one step.

    Raises:
        RunError: The disk is full, or the folder cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.part")
    with writing(file, ADVICE):
        file.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
        keep_name(file.parent)


def keep_name(folder: Path) -> None:
    """Have the disk keep the names in a folder, without which a new file is not found again."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
