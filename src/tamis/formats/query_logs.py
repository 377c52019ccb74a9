"""Logs that `tamis serve --log-queries` writes: what was asked, what was ranked, and by which model.

A log is a folder of daily files, or one of them, and may be read wherever a TREC run may: `LOG:MODEL` is what one model
ranked. Of a query that was asked several times the last answer counts.
"""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError
from tamis.formats.fields import number, record_id
from tamis.formats.lines import objects

CANDIDATES: Final = "candidates"
"""Field that only lines of such logs have."""

_DAILY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.jsonl")


def day_of(file: Path) -> date | None:
    """The day of a daily file; None for any other."""
    named = _DAILY.fullmatch(file.name)
    try:
        return date.fromisoformat(named[1]) if named else None
    except ValueError:
        return None


def daily_files(folder: Path) -> list[Path]:
    """The daily files of a folder, the oldest first."""
    return sorted(file for file in folder.iterdir() if day_of(file) and file.is_file()) if folder.is_dir() else []


def log_side(path: Path) -> tuple[list[Path], str] | None:
    """The files of a log and the model that is meant; an empty name for the only one. None for what is no log."""
    if path.exists():
        return (files, "") if (files := _log_files(path)) else None
    parts = str(path).split(":")
    for count in range(len(parts) - 1, 0, -1):  # names of models may have colons, too
        log, model = ":".join(parts[:count]), ":".join(parts[count:])
        if model and (files := _log_files(Path(log))):
            return files, model
    return None


def _log_files(path: Path) -> list[Path]:
    return [path] if path.suffix == ".jsonl" and path.is_file() else daily_files(path)


def read_side(path: Path, files: list[Path], model: str) -> dict[str, dict[str, float]]:
    """What one model ranked.

    Args:
        path: As it was named, for messages.
        files: See `log_side`.
        model: Its name; empty for the only one.

    Returns:
        Score of each document by query id.

    Raises:
        InputError: a line that is not understood; several models and none named; or one that ranked nothing.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for where, line in _lines(files):
        scores = found.setdefault(str(line.get("model")), {})
        scores[record_id(line, where, ("query_id",))] = _scores(line[CANDIDATES], where)
    names = ", ".join(found)
    if not found:
        raise InputError(f"{path}: nothing is logged in it; expected what tamis serve --log-queries writes")
    if not model and len(found) > 1:
        raise InputError(f"{path}: {names} answered; name one of them, {path}:{next(iter(found))}")
    if model and model not in found:
        raise InputError(f"{path}: {model} has not answered; there are {names}")
    return found[model or next(iter(found))]


def _lines(files: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in files:
        for place, line in objects(file):
            where = f"{file}, line {place}"
            if not isinstance(line.get(CANDIDATES), list):
                raise InputError(f"{where}: no {CANDIDATES}; expected what tamis serve --log-queries writes")
            yield where, dict(line)


def _scores(candidates: list[Any], where: str) -> dict[str, float]:
    scores: dict[str, float] = {}
    for one in candidates:
        if not isinstance(one, dict):
            raise InputError(f"{where}: a candidate is no object; expected id and score")
        doc_id = record_id(one, where, ("id",))
        score = number(one.get("score"), "score", where)
        scores[doc_id] = max(score, scores.get(doc_id, score))  # a client may send a document twice
    return scores
