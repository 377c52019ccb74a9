import subprocess
import sys

from tamis.building.memory import peak_memory

MEBIBYTE = 2**20


def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it():
    held = bytearray(600 * MEBIBYTE)
    held[::4096] = bytes(len(held[::4096])).replace(b"\0", b"\1")  # touched, so that they are there
    told = subprocess.run(
        [sys.executable, "-c", "from tamis.building.memory import peak_memory; print(peak_memory())"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert peak_memory() > 600 * MEBIBYTE
    assert MEBIBYTE < int(told.stdout) < 300 * MEBIBYTE
