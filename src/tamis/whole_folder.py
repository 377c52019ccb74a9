"""A result folder that appears whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tamis.errors import InputError, RunError


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Fill a hidden folder next to `out` and rename it to `out` when the block ends without an error.

    What an earlier, killed run left in the hidden folder is removed first.

    Args:
        out: The folder to make; it may exist only if it is empty.

    Yields:
        The empty folder to write into.

    Raises:
        InputError: Something already lies at `out`.
        RunError: The disk cannot be written.
    """
    require_free(out)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.replace(out)
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error}); free the disk or name another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_free(out: Path) -> None:
    """Raise an InputError when something lies at `out`; an empty folder is nothing."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out}: already holds something else; remove it or name another folder")
