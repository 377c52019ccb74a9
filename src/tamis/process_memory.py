"""How much memory this process has held, and giving back what it does not need."""

import ctypes
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Most memory this process has held, in bytes; on Linux since `reset_peak_memory`.

    There the kernel's VmHWM counts. The peak of getrusage begins with what the process's parent held when it started
    it, and so would that of every measurement that a large process starts.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        if found:
            return int(found[0].split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Let the most memory that the process held be counted anew, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def release_memory() -> None:
    """Give the system back what was freed and the C library keeps, where that is glibc; some milliseconds.

    Batches differ in size, so that freed pieces of one seldom fit the next, and what a process holds grows for as long
    as it works.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim:
            trim(0)
