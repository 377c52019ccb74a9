"""Every call of the pieces that keep work is the last one once, and fails once: a part of `benchmarks/trust.py`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="stands before the C library of Linux, and is in C"
)


def test_whatever_ends_or_fails_the_work_goes_on_and_ends_with_the_same_bytes() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(ROOT / "benchmarks" / "trust.py"), "--quick"]
    ended = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.stdout, ended.stderr
    rows = json.loads(ended.stdout.splitlines()[-1])
    assert [row["wrong"] for row in rows if row["wrong"]] == []
    assert ended.returncode == 0, ended.stderr
    assert {row["kind"] for row in rows} == {"killed", "failing"}
    assert all(row["tried"] == row["right"] == row["possible"] > 4 for row in rows)
