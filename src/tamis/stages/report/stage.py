"""The stage report: everything on one page."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tamis.artifacts import folder_bytes, read_json
from tamis.context import Workshop
from tamis.formats.trec import read_run
from tamis.pipeline.provenance import origin_of, recipe_text
from tamis.records import Facts, TrainingList
from tamis.report.page import ReportData, write_report


def build_report(shop: Workshop, folder: Path) -> Facts:
    """Put everything on one page."""
    evaluated = shop.folders.get("evaluate")
    table = pq.read_table(evaluated / "questions.parquet").to_pydict() if evaluated else {}
    ids = table.get("query_id", [])
    results = read_json(evaluated / "results.json") if evaluated else {}
    manifests = [read_json(path / "manifest.json") for path in shop.folders.values()]
    data = ReportData(
        title=shop.recipe.name,
        results=results,
        merge_path=read_json(shop.folders["merge"] / "path.json"),
        curves=read_json(shop.folders["train"] / "curves.json"),
        manifests=manifests,
        costs=costs(manifests),
        documents=shop.documents,
        queries=shop.queries,
        lists=shop.read("lists", TrainingList),
        questions=dict(zip(ids, table.get("text", []), strict=True)),
        question_languages=dict(zip(ids, table.get("language", []), strict=True)),
        relevant={i: set(r) for i, r in zip(ids, table.get("relevant", []), strict=True)},
        per_query={s["name"]: dict(zip(ids, table[s["name"]], strict=True)) for s in results.get("systems", [])},
        runs={s["name"]: _read_run(evaluated, s["name"]) for s in results.get("systems", [])} if evaluated else {},
        origin=origin_of(shop.recipe),
        recipe=recipe_text(shop.recipe),
        model_bytes=folder_bytes(shop.folders["merge"] / "model"),
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
