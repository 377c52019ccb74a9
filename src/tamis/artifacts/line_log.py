"""Files that whole lines are only ever added to, and that a kill leaves readable.

Whoever opens one for appending cuts off first what a kill left of a line, and adds each line whole or not at all.
"""

import json
import os
from contextlib import suppress


def cut_torn_line(file: int) -> int:
    """Cut off what stands behind the last line feed, if it is no whole line.

    A JSON object that lacks the line feed alone, as many an editor leaves the last line, gets one.

    Args:
        file: Opened for reading and appending, and locked.

    Returns:
        How many bytes were cut off.
    """
    size = os.fstat(file).st_size
    start = size
    while start > 0:
        before = max(0, start - 4096)
        found = os.pread(file, start - before, before).rfind(b"\n")
        if found >= 0:
            start = before + found + 1
            break
        start = before
    if start < size and _is_whole(os.pread(file, size - start, start)):
        append_line(file, b"\n", sync=True)
        return 0
    if start < size:
        os.ftruncate(file, start)
        os.fsync(file)
    return size - start


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def append_line(file: int, line: bytes, sync: bool) -> None:
    """Put a line to the end, or nothing.

    Args:
        file: Opened for appending, and locked.
        line: With its line feed.
        sync: Whether it is on the disk when this returns.

    Raises:
        OSError: it cannot be written; the file is as it was before.
    """
    end = os.fstat(file).st_size
    try:
        if os.write(file, line) < len(line):
            raise OSError("only a part of a line fits on the disk")
        if sync:
            os.fsync(file)
    except OSError:
        with suppress(OSError):  # what stays of it is cut off at the next opening
            os.ftruncate(file, end)
        raise
