"""`tamis threshold`: the score of a model below which nothing fits, found on graded pairs and kept in the model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tamis.artifacts import writing
from tamis.errors import InputError
from tamis.evaluation.reading import the_set
from tamis.evaluation.sets import JudgedSet
from tamis.formulas.arrays import FloatArray
from tamis.formulas.thresholds import Calibration, Level, levels, lowest_level, platt
from tamis.models.finite import finite_logits
from tamis.models.first_stage import order_counts
from tamis.models.kept_settings import checked_model, keep_in
from tamis.models.reranker import Reranker, bounded
from tamis.models.saving import keep_min_score
from tamis.whole_folder import whole_file

FEW: Final = 20
"""Pairs above the level below which it may be luck."""

ROWS: Final = 10
"""Levels that are shown."""


@dataclass(frozen=True)
class LevelRow:
    """A level as it is shown.

    Attributes:
        level: See there; its score is the published one.
        probability: Calibrated probability that a pair of this score is relevant.
    """

    level: Level
    probability: float


@dataclass(frozen=True)
class ThresholdResult:
    """Levels of a model on graded pairs.

    Attributes:
        model: The folder whose `tamis.json` has the level; the model's own where none was kept.
        precision: Precision that was asked for.
        chosen: The level that was kept; None where none has that precision.
        rows: Some levels from the highest to the lowest, the kept one among them.
        questions: Questions with a graded document.
        pairs: Graded pairs.
        relevant: Those with a grade above 0.
        notes: What was left out, and what makes the level doubtful; a line each.
    """

    model: Path
    precision: float
    chosen: LevelRow | None
    rows: Sequence[LevelRow]
    questions: int
    pairs: int
    relevant: int
    notes: Sequence[str]


class ScoredPairs(NamedTuple):
    """Graded pairs with their logits, [n] each."""

    logits: FloatArray
    relevant: NDArray[np.bool_]


def threshold(
    model: str, on: str, precision: float = 0.9, out: Path | None = None, report: Path | None = None
) -> ThresholdResult:
    """Find the lowest score with a precision on graded pairs, and keep it in the model or a copy of it.

    The model alone scores; what a first stage adds is not in it.

    Args:
        model: Folder of a reranker, or `tamis-base` or `tamis-small` with a copy.
        on: Folder of grades, or any judged set with grades of 0 among others, as for `read_set`.
        precision: Share of relevant documents wanted among those that are kept, in (0, 1].
        out: New folder for a copy of the model with the level; None: it is put into the model.
        report: File for a page with precision and recall by score as a plot; None: none.

    Raises:
        TamisError: what was given does not fit together, see the messages; nothing is written then.
    """
    if not 0 < precision <= 1:
        raise InputError(f"--precision is {precision:g}, expected a share above 0 and at most 1")
    folder = checked_model(model, out, "levels")
    if report and not report.parent.is_dir():
        raise InputError(f"--report {report}: there is no folder {report.parent}; make it or name another file")
    judged = the_set(on)
    notes = [*judged.notes]
    reranker = Reranker(folder)
    scored = _scored(reranker, judged)
    _check_grades(on, scored.relevant)
    published = bounded(scored.logits.astype(np.float32), reranker.activation).astype(np.float64)
    every = levels(published, scored.relevant)
    calibration = platt(scored.logits, scored.relevant)
    logit_of = dict(zip(published.tolist(), scored.logits.tolist(), strict=True))
    found = lowest_level(every, precision)
    chosen = None if found is None else _row(_between(found, every), logit_of[found.score], calibration)
    rows = [_row(one, logit_of[one.score], calibration) for one in _spread(every)]
    _note(chosen, precision, order_counts(reranker.deployment), notes)
    if chosen:
        facts = _facts(chosen.level, precision, judged, scored)
        keep_in(folder, out, lambda there: keep_min_score(there, facts))
    result = ThresholdResult(
        out or folder if chosen else folder,
        precision,
        chosen,
        rows,
        len(judged.questions),
        scored.relevant.size,
        int(scored.relevant.sum()),
        notes,
    )
    if report:
        _write_page(report, f"{Path(model).name} on {judged.name}", result)
    return result


def _write_page(file: Path, title: str, found: ThresholdResult) -> None:
    """Write the page of a result, whole or not at all."""
    from tamis.report.levels import write_levels  # brings matplotlib

    level = found.chosen.level if found.chosen else None
    counts = f"{found.questions:,} questions, {found.pairs:,} graded pairs, {found.relevant:,} of them relevant."
    answer = (
        f"Above {level.score:.4f} a document fits with {level.precision.value:.0%} precision "
        f"({level.precision.lower:.0%} to {level.precision.upper:.0%}) and {level.recall.value:.0%} recall: {counts}"
        if level
        else f"No level has a precision of {found.precision:.0%}: {counts}"
    )
    with writing(file, "make room or name another file"), whole_file(file) as partial:
        write_levels(partial, title, answer, [row.level for row in found.rows], level, found.notes)


def _scored(reranker: Reranker, judged: JudgedSet) -> ScoredPairs:
    """Logits of all graded pairs whose document is there, in the order of their texts."""
    graded = [
        (judged.documents[doc_id].text, question.text, grade > 0)
        for question in judged.questions.values()
        for doc_id, grade in question.relevant.items()
        if doc_id in judged.documents
    ]
    graded.sort()
    pairs = [(query, document) for document, query, _ in graded]
    windows = finite_logits(reranker, pairs, f"{judged.name}: scoring graded pairs")
    logits = [logit for window in windows for logit in window.tolist()]
    return ScoredPairs(np.array(logits, np.float64), np.array([relevant for *_, relevant in graded], np.bool_))


def _check_grades(on: str, relevant: NDArray[np.bool_]) -> None:
    """Refuse a set that says nothing of a level.

    Raises:
        InputError: all pairs are relevant, or none is.
    """
    if not relevant.any():
        raise InputError(f"--on {on}: no graded document is relevant; grade some above 0")
    if relevant.all():
        raise InputError(
            f"--on {on}: no document has the grade 0, so that every score would do; tamis label grades whole pools"
        )


def _between(found: Level, every: Sequence[Level]) -> Level:
    """The level with its score halfway to the next lower one, so that the last bit of a score decides nothing."""
    below = next((one.score for one in every if one.score < found.score), None)
    return found if below is None else replace(found, score=(found.score + below) / 2)


def _row(level: Level, logit: float, calibration: Calibration) -> LevelRow:
    return LevelRow(level, calibration.probability(logit))


def _spread(every: Sequence[Level]) -> list[Level]:
    """Levels at about equal numbers of kept pairs."""
    wanted = np.linspace(every[0].kept, every[-1].kept, ROWS)
    places = dict.fromkeys(int(np.argmin([abs(one.kept - each) for one in every])) for each in wanted)
    return [every[place] for place in places]


def _note(chosen: LevelRow | None, precision: float, beside: bool, notes: list[str]) -> None:
    if chosen is None:
        notes.append(f"no level has a precision of {precision:.0%}: nothing was kept")
        return
    if chosen.level.kept < FEW:
        notes.append(f"{chosen.level.kept} pairs lie above the level, which may be luck; grade more questions")
    if beside:
        notes.append(
            "the level is the model's alone; its server adds the order of the documents, which moves scores within "
            "a query: serve with --first-stage none to have the precision that is said here"
        )


def _facts(level: Level, precision: float, judged: JudgedSet, scored: ScoredPairs) -> dict[str, float]:
    return {
        "score": level.score,
        "wanted_precision": precision,
        "precision": level.precision.value,
        "precision_lower": level.precision.lower,
        "precision_upper": level.precision.upper,
        "recall": level.recall.value,
        "questions": len(judged.questions),
        "pairs": scored.relevant.size,
    }
