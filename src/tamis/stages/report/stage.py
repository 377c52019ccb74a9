"""The stage report: everything on one page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tamis.artifacts import folder_bytes, read_json, stream_columns
from tamis.context import RunContext
from tamis.evaluation.passages import whole_documents
from tamis.formats.qrels import grades_of, read_qrels
from tamis.formats.trec import read_run
from tamis.records import Document, Facts, TrainingList
from tamis.report.answer import answer_of
from tamis.report.changes import Results
from tamis.report.examples import ChangedQuestions, QuestionRun, QuestionTexts, changed_questions
from tamis.report.page import ReportData, write_report
from tamis.stages.report.since import since_before


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
    version: ClassVar = 7

    def key(self) -> object:
        """The recipe."""
        return self.shown

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        folders = self.context.folders
        evaluated = folders.get("evaluate")
        results = read_json(evaluated / "results.json") if evaluated else {}
        manifests = [read_json(path / "manifest.json") for path in folders.values()]
        data = ReportData(
            title=self.title,
            results=results,
            changed=_changed(results, evaluated, with_whole(self.context.documents)) if evaluated else [],
            merge_path=read_json(folders["merge"] / "path.json"),
            curves=read_json(folders["train"] / "curves.json"),
            manifests=manifests,
            costs=costs(manifests),
            documents=self.context.documents,
            queries=self.context.queries,
            lists=self.context.read("lists", TrainingList),
            origin=self.origin,
            recipe=self.recipe,
            model_bytes=folder_bytes(folders["merge"] / "model"),
            since=_since(folders),
        )
        write_report(data, folder / "report.html")
        return {"counts": {"in": len(manifests), "kept": len(manifests), "dropped": {}}}


def _since(folders: Mapping[str, Path]) -> dict[str, Any]:
    """What differs from the run before, for the page; the model's place is told within the run folder."""
    found = since_before(folders)
    if found is None:
        return {}
    model = found.model.relative_to(folders["merge"].parent.parent)
    return {"model": str(model), "documents": found.documents, "work": found.work}


def with_whole(documents: Mapping[str, Document]) -> Mapping[str, Document]:
    """Documents and passages by id, with the documents that the passages were cut from: what is judged names them."""
    if not any(document.document for document in documents.values()):
        return documents
    return {**whole_documents(documents), **documents}


def _changed(results: Results, evaluated: Path, documents: Mapping[str, Document]) -> list[ChangedQuestions]:
    """The judged questions that changed most with what the verdict is about."""
    answer = answer_of(results)
    if not answer or not answer.told:
        return []
    (told,) = answer.told
    questions, per_query = _questions(evaluated / "per_query.parquet", (told.baseline, told.system))
    judged = evaluated / "sets" / told.set
    asked = QuestionTexts(
        {query_id: text for query_id, (text, _) in questions.items()},
        {query_id: language for query_id, (_, language) in questions.items()},
        _relevant(judged / "qrels.trec"),
        documents,
    )
    before, after = (
        QuestionRun(figures, _read_run(judged / "runs" / f"{name}.trec")) for name, figures in per_query.items()
    )
    return [ChangedQuestions(told.set, told.system, told.baseline, *changed_questions(asked, before, after))]


def _questions(file: Path, systems: Sequence[str]) -> tuple[dict[str, tuple[str, str]], dict[str, dict[str, float]]]:
    """Text and language of each judged question by id, and its nDCG@10 by these systems."""
    names = ("query_id", "text", "language", "system", "nDCG@10")
    questions: dict[str, tuple[str, str]] = {}
    per_query: dict[str, dict[str, float]] = {system: {} for system in systems}
    for query_id, text, language, system, figure in stream_columns(file, *names):
        questions[query_id] = (text, language)
        if system in per_query:
            per_query[system][query_id] = figure
    return questions, per_query


def _relevant(qrels: Path) -> dict[str, set[str]]:
    grades = grades_of(read_qrels(qrels), qrels)
    return {query_id: {d for d, grade in judged.items() if grade > 0} for query_id, judged in grades.items()}


def _read_run(file: Path, depth: int = 10) -> dict[str, list[str]]:
    """The first documents of each question; empty where a system found nothing at all."""
    run = read_run(file) if file.stat().st_size else {}
    return {query_id: list(found.doc_ids[:depth]) for query_id, found in run.items()}


def costs(manifests: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What the stages took, whenever they ran: seconds in sum, and the most memory any of them held."""
    found = list(manifests)
    return {
        "seconds": round(sum(manifest["seconds"] for manifest in found), 1),
        "peak_memory_bytes": max(manifest["peak_memory_bytes"] for manifest in found),
    }
