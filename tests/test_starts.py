"""Many starts of a command on a loaded machine: each goes on, none stands still."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.commands import write_recipe

STARTS = 100
AT_ONCE = 2 * (os.cpu_count() or 1)
"""More than there are processors: each waits for the others at every point at some time."""

STILL = 45.0
"""Seconds without a moment of a processor, while none of its threads waits for one, after which a process hangs."""

CODE = (
    "import faulthandler, signal; faulthandler.register(signal.SIGUSR1, all_threads=True);"
    "from tamis.cli import main; main()"
)


def asleep(pid: int) -> tuple[bool, int]:
    """Whether every thread of a process sleeps, and the clock ticks that it has had."""
    states, ticks = set(), 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        states.add(fields[0])
        ticks += int(fields[11]) + int(fields[12])
    return states <= {"S", "D"}, ticks


def hung(process: "subprocess.Popen[bytes]") -> bool:
    """Wait for a process; whether it stood still instead of ending."""
    last, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.5)
        try:
            sleeping, ticks = asleep(process.pid)
        except OSError:  # it has just ended
            continue
        if not sleeping or ticks != last:
            last, since = ticks, time.monotonic()
        elif time.monotonic() - since > STILL:
            return True
    return False


def start_once(recipe: Path, folder: Path) -> str:
    """Start the command; where it stood if it hung, what it said if it failed, nothing where it ended well."""
    log = folder.with_suffix(".log")
    with log.open("wb") as said:
        command = [sys.executable, "-c", CODE, "run", str(recipe), "--out", str(folder), "--until", "corpus", "--yes"]
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            stood = hung(process)
            if stood:
                process.send_signal(signal.SIGUSR1)
                time.sleep(1)
        finally:
            process.kill()
            status = process.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return log.read_text(encoding="utf-8", errors="replace") if stood or status else ""


@pytest.mark.slow
def test_no_start_stands_still(recipe: dict[str, Any], tmp_path: Path) -> None:
    file = write_recipe(recipe, tmp_path)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda number: start_once(file, tmp_path / f"run{number}"), range(STARTS)))
    assert [one for one in told if one] == []
