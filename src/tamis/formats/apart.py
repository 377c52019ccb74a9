"""Files whose readers are other people's code are read in a process of its own, which may hang, swell or end.

It is started when the first such file comes, and again after it had to be ended. PDF is parsed by native code, and any
reader may take for ever on a file that was made to do so: the run tells such a file and goes on.
"""

import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from signal import SIGXCPU
from types import TracebackType
from typing import Final

from tamis.formats.file_text import LeftOut
from tamis.formats.folder import Found, left_out
from tamis.formats.texts import read_file
from tamis.records import Document, Dropped

SECONDS: Final = 120
"""Processor time of one file."""

PATIENCE: Final = 10 * SECONDS
"""Seconds on the clock, for a reader that waits for something."""

MEMORY: Final = 4 << 30
"""Bytes that the process may take."""

_START: Final = "import sys; from tamis.formats.apart import answer; answer(int(sys.argv[1]))"


class ReaderApart:
    """Reads files in another process; use it as a context, which ends that process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> "ReaderApart":
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def read(self, found: Found, origin: str) -> Document | Dropped:
        """As `read_file`, or a file that was left out because its reader did not come to an end."""
        try:
            pipe = self._started()
            pipe.send_bytes(json.dumps([str(found.file), found.name, found.kind, origin]).encode())
            if not pipe.poll(PATIENCE):
                raise LeftOut(f"took longer than {PATIENCE // 60} minutes")
            read, values = json.loads(pipe.recv_bytes())
        except (EOFError, OSError) as error:  # it ended
            return self._lost(found, LeftOut("its reader ended", error))
        except LeftOut as error:
            return self._lost(found, error)
        return Document(**values | {"headings": tuple(values["headings"])}) if read else Dropped(**values)

    def _started(self) -> Connection:
        """The pipe to the process, which is started if there is none."""
        if self._pipe is None:
            self._pipe, theirs = Pipe()
            with theirs:
                # Where this process finds modules, whatever it was told of later than it was started.
                environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _START, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        return self._pipe

    def _lost(self, found: Found, error: LeftOut) -> Dropped:
        """A file that gave no document, and an end to the process that read it."""
        status = self._end()
        if status == -SIGXCPU:
            error = LeftOut(f"took longer than {SECONDS} s")
        detail = error.detail or f"status {status}"
        return left_out(found.name, error.reason, detail)

    def _end(self) -> int | None:
        """End the process; its status, negative for a signal."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if process is None or pipe is None:
            return None
        pipe.close()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(1)  # it ends where nothing more comes
        process.kill()
        return process.wait()


def answer(place: int) -> None:
    """What the other process does: read each file that it is asked for, until nobody asks.

    Args:
        place: Number of the pipe among the open files.
    """
    with suppress(ValueError, OSError):  # some systems bound no memory
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with Connection(place) as pipe, suppress(EOFError):
        while True:
            file, name, kind, origin = json.loads(pipe.recv_bytes())
            _allow_more_time()
            read = read_file(Found(Path(file), name, kind), origin)
            pipe.send_bytes(json.dumps([isinstance(read, Document), asdict(read)]).encode())


def _allow_more_time() -> None:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    so_far = int(spent.ru_utime + spent.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (so_far + SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))
