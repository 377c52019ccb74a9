"""What adapting again costs after five documents in a hundred changed: work by kind, and seconds of each stage.

    make bench-readapting
    python benchmarks/readapting.py --documents 100 --steps 20

tamis-base is adapted to documents of the Debian FAQ in English and German with the written queries of recipes/queries,
then again in the same run folder, after of 100 documents two changed, two came and one went. A sentence more is a
change; queries of documents that went are gone from the file. Writes benchmarks/results/readapting.json and
readapting.md.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import DOCS, ROOT, commit
from results import checked, publish, targets_table
from scoring_engines import DEMO
from tamis.adaptation import adapting_recipe
from tamis.artifacts import read_json
from tamis.formulas.ranking import tie_key
from tamis.pipeline.run import run_recipe
from tamis.stages.report.since import since_before

QUERIES = ROOT.parent / "recipes" / "queries" / "debian-faq.tsv"
LANGUAGES = ("en", "de")
BOUND = 0.15
"""Most share of the first time's work that adapting again may take."""

WORK = ("corpus", "queries", "candidates", "scores", "lists")
"""Stages whose work is kept by content; those after them are done again."""

Row = Mapping[str, Any]


def documents(count: int) -> list[Row]:
    """Documents of both languages, drawn by a hash of their ids."""
    lines = (DEMO / "data" / "debian-faq" / "corpus.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["_id"].split("/")[0] in LANGUAGES]
    return sorted(rows, key=lambda row: tie_key("readapting", row["_id"]))[:count]


def changed(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The documents before and after: of a hundred two changed, two came and one went."""
    part = max(1, len(rows) // 100)
    new, gone, other = rows[: 2 * part], rows[2 * part : 3 * part], rows[3 * part : 5 * part]
    rest = rows[5 * part :]
    longer = [{**row, "text": f"{row['text']} This answer was revised."} for row in other]
    return [*gone, *other, *rest], [*new, *longer, *rest]


def write(folder: Path, rows: Sequence[Row]) -> tuple[Path, Path]:
    """Files of the documents and of the queries about them."""
    folder.mkdir()
    corpus, queries = folder / "documents.jsonl", folder / "queries.tsv"
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    known = {row["_id"] for row in rows}
    header, *lines = QUERIES.read_text("utf-8").splitlines()
    kept = [line for line in lines if line.split("\t")[0] in known]
    queries.write_text("\n".join([header, *kept]) + "\n", "utf-8")
    return corpus, queries


def adapt(folder: Path, rows: Sequence[Row], run: Path, steps: int) -> tuple[dict[str, Path], dict[str, float]]:
    """Adapt tamis-base; gives the folder and the seconds of each stage."""
    corpus, queries = write(folder, rows)
    changes = (f"train.specialist_steps={steps}", "name=readapting")
    recipe = adapting_recipe("tamis-base", corpus, (), DEMO / "models" / "e5-small", [queries], changes)
    folders = run_recipe(recipe, run)
    return folders, {name: read_json(path / "manifest.json")["seconds"] for name, path in folders.items()}


def measure(count: int, steps: int) -> dict[str, Any]:
    """Both times."""
    before, after = changed(documents(count))
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        started = time.perf_counter()
        _, first = adapt(work / "before", before, work / "run", steps)
        between = time.perf_counter()
        folders, second = adapt(work / "after", after, work / "run", steps)
        ended = time.perf_counter()
        since = since_before(folders)
    assert since is not None, "the documents changed"
    return {
        "documents": dict(since.documents),
        "work": {what: {"new": share.new, "all": share.all} for what, share in since.work.items()},
        "seconds": {"first": first, "again": second},
        "wall_seconds": {"first": between - started, "again": ended - between},
    }


def targets_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was asked for, and what was reached."""
    rows = [(f"new {what} by all", work["new"] / work["all"]) for what, work in found["work"].items()]
    first, again = (sum(found["seconds"][turn][stage] for stage in WORK) for turn in ("first", "again"))
    rows.append((f"seconds of {WORK[0]} to {WORK[-1]} by the first time's", again / first))
    whole = found["wall_seconds"]
    rows.append(("seconds of the whole run by the first time's", whole["again"] / whole["first"]))
    return checked((name, value, f"<= {BOUND}") for name, value in rows)


def markdown(content: Mapping[str, Any]) -> str:
    """The tables."""
    first, again = content["seconds"]["first"], content["seconds"]["again"]
    lines = ["| stage | first, s | again, s |", "|---|---:|---:|"]
    lines += [f"| {stage} | {first[stage]:.1f} | {again[stage]:.1f} |" for stage in first]
    whole = content["wall_seconds"]
    lines += [f"| all | {whole['first']:.1f} | {whole['again']:.1f} |", ""]
    lines += ["| work | all | new |", "|---|---:|---:|"]
    lines += [f"| {what} | {work['all']:,} | {work['new']:,} |" for what, work in content["work"].items()]
    return "\n".join([*lines, "", *targets_table(content["targets"])]) + "\n"


def main() -> None:
    """Run twice, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--steps", type=int, default=280, help="optimiser steps of the specialist")
    chosen = parser.parse_args()
    at, content = commit(), {"steps": chosen.steps, **measure(chosen.documents, chosen.steps)}
    content["targets"] = targets_of(content)
    publish("readapting", at, content, markdown(content), [DOCS / "adapting.md"])


if __name__ == "__main__":
    main()
