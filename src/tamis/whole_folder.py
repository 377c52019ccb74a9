"""Result folders and files that appear whole or not at all."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

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
        RunError: The disk cannot be written, or another process makes the same folder.
    """
    require_free(out)
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with locked(partial, wait=False):
            try:
                for left in partial.iterdir():
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
                yield partial
                partial.replace(out)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except BlockingIOError:
        raise RunError(f"{out}: another process is making it; wait for it, or name another folder") from None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{out}: cannot be written ({error}); free the disk or name another folder") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Fill a file in a hidden folder next to `path` and put it into its place when the block ends without an error.

    Whoever reads the file meanwhile reads the older one, and so does everybody where the block is left by an error or a
    kill. What a kill left in the hidden folder is removed the next time: safetensors writes to files of names of its
    own first, which nobody would find again beside `path`. A link or a device (`/dev/stdout`) is written as it is:
    nothing may take its place.

    Args:
        path: The file to make or to replace; its folder must be there.

    Yields:
        The file to write.

    Raises:
        OSError: It cannot be put into its place.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        yield path
        return
    forget_unfinished(path)
    unfinished(path).mkdir()
    try:
        partial = unfinished(path) / path.name
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(unfinished(path), ignore_errors=True)


def unfinished(path: Path) -> Path:
    """The hidden folder of `whole_file`, which a kill may leave."""
    return path.with_name(f".{path.name}.part")


def forget_unfinished(path: Path) -> None:
    """Remove what a kill left of `whole_file`; earlier versions left a file there."""
    left = unfinished(path)
    if left.is_dir():
        shutil.rmtree(left)
    else:
        left.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Keep other processes out that lock the same folder or file. The system lets go of it when the process ends.

    Args:
        path: It has to be there.
        wait: Until the others are done; where they are not, a `BlockingIOError` is raised otherwise.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system that locks nothing which is only read, as NFS: nobody is kept out there
        yield
    finally:
        os.close(opened)


def require_free(out: Path) -> None:
    """Raise an InputError when something lies at `out`; an empty folder is nothing, unless one stands in it."""
    if out.resolve() == Path.cwd():
        raise InputError(f"{out}: the working directory cannot be replaced; name a new folder")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out}: already holds something else; remove it or name another folder")


@contextmanager
def system_errors(file: Path) -> Iterator[None]:
    """Raise what the tokenizers library says of a file that it writes as the OSError that it was.

    It raises a bare `Exception` that ends in `(os error 28)`.

    Raises:
        OSError: with its number and the file.
    """
    try:
        yield
    except Exception as error:
        found = re.search(r"\(os error (\d+)\)$", str(error))
        if type(error) is not Exception or found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(file)) from error
