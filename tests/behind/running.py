"""An example script run as `python examples/behind/with_ENGINE.py ...`, in this process, and what it left."""

import contextlib
import io
import json
import re
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tamis.formats.trec import read_run
from tamis.records import Candidates

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "behind"
SAID = r"(\w+): (\d+) queries, median (\d+\.\d) ms of search and (\d+\.\d) ms of reranking\n"

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Left:
    """What a script left.

    Attributes:
        name: Of the engine.
        out: The folder.
        documents, queries: What it was given, by id.
        found, reranked: Both runs.
        dumped: Documents as the engine gave them back.
        variables: Of the script.
        said: What it printed.
    """

    name: str
    out: Path
    documents: dict[str, dict[str, str]]
    queries: dict[str, str]
    found: dict[str, Candidates]
    reranked: dict[str, Candidates]
    dumped: Rows
    variables: dict[str, Any]
    said: str


def rows(file: Path) -> Rows:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def run_script(engine: str, source: Path, out: Path, *arguments: object) -> Left:
    """Run a script and read what it wrote."""
    script = EXAMPLES / f"with_{engine}.py"
    with contextlib.redirect_stdout(io.StringIO()) as said, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(source), str(out), *map(str, arguments)])
        patch.syspath_prepend(EXAMPLES)
        patch.delitem(sys.modules, "loop", raising=False)
        variables = runpy.run_path(str(script), run_name="__main__")
    documents = {row["_id"]: row for row in rows(source / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in rows(source / "queries.jsonl")}
    found, reranked = read_run(out / f"{engine}.trec"), read_run(out / "reranked.trec")
    return Left(
        engine, out, documents, queries, found, reranked, rows(out / "corpus.jsonl"), variables, said.getvalue()
    )


def printed(text: str) -> tuple[str, int, float, float]:
    """Name, queries and both medians of the line that a script prints."""
    found = re.fullmatch(SAID, text.splitlines(keepends=True)[-1])
    assert found, text
    return found[1], int(found[2]), float(found[3]), float(found[4])
