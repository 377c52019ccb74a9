"""`pools.json` of a folder that `tamis label` made: what a reader of figures on it has to know."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError

FILE: Final = "pools.json"

WRITTEN: Final = "written"
"""Where questions are from that the run wrote itself."""

WRITTEN_NOTE: Final = "the questions were written by the run about its own documents; nobody asked them"


def pool_notes(folder: Path) -> tuple[str, ...]:
    """Notes on judgements of pools; none where the folder holds no pools.

    Raises:
        InputError: `pools.json` is not understood.
    """
    file = folder / FILE
    if not file.is_file():
        return ()
    try:
        facts: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        systems, depth, asked = ", ".join(map(str, facts["systems"])), int(facts["depth"]), facts["questions"]
        written = asked["from"] == WRITTEN
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{file}: not as tamis label writes it; take it from a copy, or remove it") from None
    pooled = f"only the best {depth} passages of {systems} are judged; what other systems find counts as not relevant"
    return (pooled, WRITTEN_NOTE) if written else (pooled,)
