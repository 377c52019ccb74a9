"""The stage report: everything on one page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq

from tamis.artifacts import folder_bytes, read_json
from tamis.context import RunContext
from tamis.formats.trec import read_run
from tamis.records import Facts, TrainingList
from tamis.report.page import ReportData, write_report


@dataclass(frozen=True)
class ReportStage:
    """Puts everything on one page.

    Attributes:
        title: Of the page.
        shown: The recipe as it was written, JSON-like.
        origin: What the students are made from, by what it is called on the page.
        recipe: The recipe as YAML.
        context: The run.
    """

    title: str
    shown: Facts
    origin: Mapping[str, str]
    recipe: str
    context: RunContext
    name: ClassVar = "report"
    reads: ClassVar = ("corpus", "queries", "lists", "train", "merge", "evaluate")
    version: ClassVar = 5

    def key(self) -> object:
        """The recipe."""
        return self.shown

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        folders = self.context.folders
        evaluated = folders.get("evaluate")
        table = pq.read_table(evaluated / "questions.parquet").to_pydict() if evaluated else {}
        ids = table.get("query_id", [])
        results = read_json(evaluated / "results.json") if evaluated else {}
        manifests = [read_json(path / "manifest.json") for path in folders.values()]
        systems = [system["name"] for system in results.get("systems", [])]
        data = ReportData(
            title=self.title,
            results=results,
            merge_path=read_json(folders["merge"] / "path.json"),
            curves=read_json(folders["train"] / "curves.json"),
            manifests=manifests,
            costs=costs(manifests),
            documents=self.context.documents,
            queries=self.context.queries,
            lists=self.context.read("lists", TrainingList),
            questions=dict(zip(ids, table.get("text", []), strict=True)),
            question_languages=dict(zip(ids, table.get("language", []), strict=True)),
            relevant={i: set(r) for i, r in zip(ids, table.get("relevant", []), strict=True)},
            per_query={name: dict(zip(ids, table[name], strict=True)) for name in systems},
            runs={name: _read_run(evaluated, name) for name in systems} if evaluated else {},
            origin=self.origin,
            recipe=self.recipe,
            model_bytes=folder_bytes(folders["merge"] / "model"),
        )
        write_report(data, folder / "report.html")
        return {"counts": {"in": len(manifests), "kept": len(manifests), "dropped": {}}}


def _read_run(folder: Path, name: str, depth: int = 10) -> dict[str, list[str]]:
    run = read_run(folder / "runs" / f"{name}.trec")
    return {query_id: list(found.doc_ids[:depth]) for query_id, found in run.items()}


def costs(manifests: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What the stages took, whenever they ran: seconds in sum, and the most memory any of them held."""
    found = list(manifests)
    return {
        "seconds": round(sum(manifest["seconds"] for manifest in found), 1),
        "peak_memory_bytes": max(manifest["peak_memory_bytes"] for manifest in found),
    }
