"""Adapting again, after the documents changed: whether the new model is better than the one before."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tamis.artifacts import read_records, results_behind, writing
from tamis.errors import InputError
from tamis.evaluation.config import EvaluationConfig
from tamis.evaluation.evaluate import evaluate
from tamis.formats.beir import write_beir_folder
from tamis.formulas.ranking import tie_key
from tamis.records import Document, Query, TrainingList
from tamis.whole_folder import whole_folder

FOLDER: Final = "again"
"""Folder of a run folder, with the questions that both models were measured on and what came of it."""

MOST: Final = 300
"""Most held-out queries that both are measured on; drawn by hash."""

FEWEST: Final = 10
"""Fewest questions that say anything."""


@dataclass(frozen=True)
class Comparison:
    """A new model against the one before, on the same questions.

    Attributes:
        questions: How many.
        judged: Folder of the judged questions; None: held-out queries that neither model learnt from, each of which
            its own document answers.
        before: nDCG@10 of the old model as served on BM25, in [0, 1].
        after: That of the new one.
        interval: 95 % interval of the difference.
        p: p-value of the difference by sign flips, corrected for all comparisons.
        report: The page that shows it.
    """

    questions: int
    judged: Path | None
    before: float
    after: float
    interval: tuple[float, float]
    p: float
    report: Path


def compare_with_before(folders: Mapping[str, Path], before: Path, judged: Path | None) -> Comparison:
    """Measure the model of a run and the one before it on the same questions.

    Args:
        folders: Folder of each stage of the run, the merge among them.
        before: Folder of the model of before, in the same run folder.
        judged: Folder of a judged set; None for held-out queries that neither model learnt from.

    Raises:
        InputError: fewer than `FEWEST` such queries.
        TamisError: as `evaluate`.
    """
    merge = folders["merge"]
    out = merge.parent.parent / FOLDER / f"{merge.name}-{before.parent.name}"
    questions = judged or _write_questions(folders, results_behind(before.parent), out / "questions")
    models = (f"before={before}", f"after={merge / 'model'}")
    asked = EvaluationConfig(models=models, sets=(str(questions),), first=("bm25",))
    found = evaluate(asked, out / "measured")
    (measured,) = found["sets"].values()
    (one,) = [
        one for one in measured["comparisons"] if (one["system"], one["baseline"]) == ("after~bm25", "before~bm25")
    ]
    figures = {name: measured["figures"][f"{name}~bm25"][found["main_measure"]] for name in ("before", "after")}
    return Comparison(
        one["wins"] + one["ties"] + one["losses"],
        judged,
        figures["before"],
        figures["after"],
        (one["interval"][0], one["interval"][1]),
        one["p_holm"],
        out / "measured" / "report.html",
    )


def _write_questions(folders: Mapping[str, Path], before: Mapping[str, Path], out: Path) -> Path:
    """Held-out queries of this run that the one before did not learn from, as a BEIR folder: its own document answers.

    Raises:
        InputError: too few.
    """
    if out.is_dir():
        return out
    queries = {query.query_id: query for query in read_records(folders["queries"] / "queries.parquet", Query)}
    learnt = _texts_learnt(before)
    held_out = [queries[one.query_id] for one in _lists(folders, "held-out")]
    asked = [query for query in held_out if query.document_id and query.text not in learnt]
    asked = sorted(asked, key=lambda query: tie_key(FOLDER, query.query_id))[:MOST]
    if len(asked) < FEWEST:
        raise InputError(
            f"{len(asked)} held-out queries that neither model learnt from, expected {FEWEST} or more; judged "
            "questions in a folder judged beside the corpus would do"
        )
    documents = read_records(folders["corpus"] / "corpus.parquet", Document)
    own = {query.origin for query in asked}
    with writing(out), whole_folder(out) as partial:
        answers = [(query.query_id, query.document_id, 1) for query in asked]
        write_beir_folder(partial, (one for one in documents if one.origin in own), asked, {"test": answers})
    return out


def _texts_learnt(folders: Mapping[str, Path]) -> set[str]:
    queries = {query.query_id: query.text for query in read_records(folders["queries"] / "queries.parquet", Query)}
    return {queries[one.query_id] for one in _lists(folders, "train")}


def _lists(folders: Mapping[str, Path], split: str) -> list[TrainingList]:
    every = read_records(folders["lists"] / "lists.parquet", TrainingList)
    return [one for one in every if one.split == split]
