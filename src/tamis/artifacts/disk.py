"""A failing disk is one line; JSON files."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tamis.errors import RunError


class writing:  # reads as a phrase: with writing(path)
    """Turns a failing disk into one clear line; nothing that was finished before is lost."""

    def __init__(self, path: Path, advice: str = "make room or choose another --out") -> None:
        self.path, self.advice = path, advice

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Name the folder and what to do."""
        failures = (OSError, sqlite3.OperationalError, SafetensorError)
        if isinstance(error, failures) and not self._lacks_an_input(error):
            reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
            raise RunError(
                f"{self.path}: cannot be written: {reason}; finished stages are kept, "
                f"{self.advice} and run the same command again"
            ) from None
        if isinstance(error, sqlite3.DatabaseError):
            raise RunError(f"{self.path}: damaged ({error}); delete it, finished stages are kept") from None

    def _lacks_an_input(self, error: BaseException) -> bool:
        """Whether a file is missing that is read; no folder can be made in places such as /proc, which say the same."""
        own = {str(self.path), *map(str, self.path.parents)}
        return isinstance(error, FileNotFoundError) and str(error.filename) not in own


def write_json(path: Path, content: object) -> None:
    """Readable JSON in UTF-8."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Content of a JSON file of this run."""
    return json.loads(path.read_text(encoding="utf-8"))
