"""Seconds from `pip install` to the first ranked answer, in a new environment, with the wheels at hand.

A part of `make bench-scoring`. The wheels of tamis and of all that it needs are fetched or built before, into a folder;
what counts is `pip install` from that folder alone, and then one `tamis rerank` with an empty cache.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from machine import ROOT

QUERY: Final = "How do I install a package?"
LINES: Final = "Packages are installed with apt.\nThe kernel is updated with apt.\n"


def first_answer(work: Path, torch: str, model: str) -> dict[str, Any]:
    """`install` and `answer`, in seconds, and `first`, the line that was ranked first; or `why` it was not measured.

    Args:
        work: Empty folder; needs some 2 GB.
        torch: Requirement for torch.
        model: That ranks; one that ships with tamis.
    """
    wheels, fresh = work / "wheels", work / "env" / "bin" / "python"
    documents = work / "lines.txt"
    documents.write_text(LINES, "utf-8")
    here = sys.executable
    quiet = os.environ | {"XDG_CACHE_HOME": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
    quiet.pop("PYTHONPATH", None)
    source = f"{ROOT.parent}[demo]"
    install = [str(fresh), "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels), "tamis[demo]"]
    rank = [str(fresh), "-m", "tamis", "rerank", model, "--query", QUERY, str(documents)]
    try:
        _run([here, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), torch, source], os.environ)
        _run([here, "-m", "venv", str(work / "env")], quiet)
        installed, _ = _run(install, quiet)
        answered, said = _run(rank, quiet)
    except subprocess.CalledProcessError as error:
        return {"why": _why(error)}
    return {"install": installed, "answer": answered, "first": said.splitlines()[0]}


def _run(command: list[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Seconds that a command took, and what it printed."""
    started = time.perf_counter()
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return time.perf_counter() - started, said


def _why(error: subprocess.CalledProcessError) -> str:
    """A command that failed, in one line."""
    said = (error.stderr or "").strip().splitlines() or [""]
    return f"{' '.join(error.cmd[1:4])} ended with status {error.returncode}: {said[-1]}"
