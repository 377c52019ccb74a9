"""Files that whoever the umask lets may read: whatever library wrote them, they have the mode of any new file.

safetensors makes files that only their owner may read. A server that runs as another user could not load them.

The umask itself is never asked for: to read it a process has to change it for a moment, for all its threads, and
`/proc` tells it on Linux alone. An empty file is made in the same folder and its mode is looked at, which also holds
where a folder's access list, not the umask, says what a new file's mode is.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; one that is there is replaced.

    Args:
        path: The file; its folder must be there.
        tensors: By name, [any]; each in one piece and with memory of its own.
        facts: For the header.

    Raises:
        OSError: The file cannot be written.
        SafetensorError: Likewise.
    """
    with usual_mode(path):
        save_file(dict(tensors), path, dict(facts) if facts else None)


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Whatever makes the file in the block, it has the mode of any new one afterwards; one that is there is removed."""
    mode = _mode_of_new(path)
    yield
    _change(path, mode)


def usual_modes(folder: Path) -> None:
    """Give all safetensors files of a folder the mode of any new file: for libraries that choose the names alone."""
    sample = folder / f".{os.getpid()}.mode"
    mode = _mode_of_new(sample)
    sample.unlink()
    for file in folder.glob("*.safetensors"):
        _change(file, mode)


def _mode_of_new(path: Path) -> int:
    """Make an empty file of it, and say which mode that has."""
    path.unlink(missing_ok=True)
    path.touch()
    return S_IMODE(path.stat().st_mode)


def _change(file: Path, mode: int) -> None:
    """Not where it has the mode: some file systems know one mode for all files and refuse to change it."""
    if S_IMODE(file.stat().st_mode) != mode:
        file.chmod(mode)
