"""Processes that end, and disks that fail, at a chosen call: below Python, sqlite, Arrow and safetensors.

A small library (`failing_disk.c`) stands before the C library and counts each call that changes a file below a folder.
A process has to be started with it; it then forks for each try, so that imports are paid once.
"""

import ctypes
import errno
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("failing_disk.c")
SIGKILLED = -signal.SIGKILL
STUCK = 120.0
"""Seconds after which a try says where it stands, and is ended."""

_FAULTS = ("pass", "before", "half", "after", "fail", "short", "full")


@dataclass(frozen=True)
class Call:
    """A call that changed a file.

    Attributes:
        number: From 1.
        name: `create`, `write`, `truncate`, `fsync`, `rename`, `remove`, `mkdir` or `link`.
        path: Below the watched folder.
        size: Bytes that a write was given.
    """

    number: int
    name: str
    path: str
    size: int


@dataclass(frozen=True)
class Fault:
    """What happens at one call.

    Attributes:
        at: Its number.
        what: The process ends `before` it, in the middle (`half`) or `after` it; it fails (`fail`), is done by half and
            says so (`short`), or the disk is `full` from there on.
        error: The errno of a failure.
    """

    at: int
    what: str
    error: int = 0

    def __str__(self) -> str:
        return f"{self.what} {errno.errorcode.get(self.error, '')} at {self.at}"


@dataclass(frozen=True)
class Ended:
    """How a try ended.

    Attributes:
        status: Exit status, or minus the signal.
        said: Standard output and error.
        calls: What changed files, in order.
    """

    status: int
    said: str
    calls: Sequence[Call]


def start_again_watched() -> None:
    """Replace this process by one that has the library; nothing where it has it already."""
    if hasattr(ctypes.CDLL(None), "disk_watch"):
        return
    library = Path(tempfile.gettempdir()) / f"failing_disk-{os.getpid()}.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "LD_PRELOAD": str(library)})


def forget_library() -> None:
    """Remove the file of the library, which stays in memory: processes of our own need none."""
    Path(os.environ.pop("LD_PRELOAD")).unlink()


def attempt(
    work: Callable[[], object],
    watched: Path,
    fault: Fault | None = None,
    skip: str = "",
    killed_after: float | None = None,
) -> Ended:
    """Do something in a process of its own.

    Args:
        work: What it does; a `SystemExit` is its exit status.
        watched: Folder below which calls count; it must be there.
        fault: What happens to one of them.
        skip: Text in the names of files below it that do not count.
        killed_after: Seconds after which the process is killed.
    """
    with tempfile.TemporaryFile("w+b") as said, tempfile.TemporaryFile("w+b") as calls:
        sys.stdout.flush()
        sys.stderr.flush()
        if not (child := os.fork()):
            _work(work, watched, fault, skip, said.fileno(), calls.fileno())
        status = _wait(child, killed_after)
        said.seek(0)
        calls.seek(0)
        rows = [line.split("\t", 3) for line in calls.read().decode().splitlines()]
        text = said.read().decode(errors="replace")
    return Ended(status, text, [Call(int(number), name, path, int(size)) for number, name, size, path in rows])


def _wait(child: int, killed_after: float | None) -> int:
    if killed_after is not None:
        until = time.monotonic() + killed_after
        while time.monotonic() < until:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(min(0.002, max(0.0, until - time.monotonic())))
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _work(work: Callable[[], object], watched: Path, fault: Fault | None, skip: str, said: int, calls: int) -> None:
    """The child: never returns."""
    status = 1
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        faulthandler.dump_traceback_later(STUCK, exit=True)
        at, what, error = (fault.at, _FAULTS.index(fault.what), fault.error) if fault else (-1, 0, 0)
        ctypes.CDLL(None).disk_watch(os.fsencode(watched), os.fsencode(skip), ctypes.c_long(at), what, error, calls)
        work()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
