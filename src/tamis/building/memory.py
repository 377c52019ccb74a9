"""How much memory this process has held."""

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
