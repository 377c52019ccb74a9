import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tamis.process_memory import peak_memory, release_memory

MEBIBYTE = 2**20


def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it():
    held = bytearray(600 * MEBIBYTE)
    held[::4096] = bytes(len(held[::4096])).replace(b"\0", b"\1")  # touched, so that they are there
    told = subprocess.run(
        [sys.executable, "-c", "from tamis.process_memory import peak_memory; print(peak_memory())"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert peak_memory() > 600 * MEBIBYTE
    assert MEBIBYTE < int(told.stdout) < 300 * MEBIBYTE


def held_now() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_between_things_that_are_kept_goes_back():
    pieces = [bytes([1]) * (96 * 1024) for _ in range(4000)]
    del pieces[:-1]  # what is left lies behind them, so that the library cannot give them back by itself
    before = held_now()
    release_memory()
    assert before - held_now() > 200 * MEBIBYTE
    assert len(pieces) == 1
