"""What a person's grades, and with them a model's, say of one system against another: interval and verdict."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from tamis.evaluation.figures import ComparedPair, Measured
from tamis.evaluation.judged import Question
from tamis.evaluation.reading import is_folder, read_set
from tamis.evaluation.sets import PASSAGES, JudgedSet
from tamis.formats.pools import FILE as POOLS
from tamis.formats.qrels import qrels_files
from tamis.formats.trec import read_run
from tamis.formulas.arrays import FloatArray, IndexArray
from tamis.formulas.prediction_powered import (
    LEAST,
    MeanInterval,
    expected_half_width,
    mean_interval,
    powered_interval,
    questions_to_decide,
)
from tamis.retrievers.index import Languages

MODEL_SPLIT: Final = "model"
"""Name of the judgements of a model: qrels/model.tsv."""

FEWEST: Final = 30
"""Questions of a person below which there is no verdict: with so many the interval's coverage was measured."""

WORTH: Final = 0.03
"""The gain in nDCG@10 that is worth a change of systems."""

FEWEST_CHANGED: Final = 5
"""Questions that two systems rank differently below which there is no verdict: of fewer, coverage is not to be had."""

MANY: Final = 100
"""Questions of which so few may be changed all the same: then nothing that is worth it can be changed."""

HEAD: Final = 10
"""Best documents of a system that should be graded: what nDCG@10 looks at."""

DEVIATION: Final = 0.3
"""Of the questions' differences: the median of the sets of benchmarks/proof.py."""

CORRELATIONS: Final = (0.6, 0.9)
"""Of a person's and a model's differences: a fair judge's and a good one's, likewise."""

PLANNED: Final = (30, 50, 100, 200, 400)
"""Questions of the table that is shown before anyone begins."""

Verdict = Literal["deploy", "do not", "ask"]


class GradedSide(NamedTuple):
    """What somebody graded.

    Attributes:
        questions: By id, in the order of the measured values.
        measured: Every system, measured by these grades.
        notes: What was left out of them.
    """

    questions: Mapping[str, Question]
    measured: Sequence[Measured]
    notes: tuple[str, ...] = ()


NOBODY: Final = GradedSide({}, ())


class Overlap(NamedTuple):
    """Where the person's questions stand among the model's.

    Attributes:
        same: Place of each of the person's questions, [n].
        others: Places of the questions that the model alone graded, [N].
        whole: Whether the model graded all of the person's questions.
    """

    same: IndexArray
    others: IndexArray
    whole: bool


class WidthRow(NamedTuple):
    """How sure a verdict will be.

    Attributes:
        questions: Questions that a person grades.
        alone: Half the width of the 95 % interval, by the person alone.
        helped: Likewise with a model's grades of more questions, by the correlation of both.
    """

    questions: int
    alone: float
    helped: Mapping[float, float]


def width_table(modelled: int, deviation: float = DEVIATION) -> list[WidthRow]:
    """Half the width of the interval by number of graded questions, before anyone begins.

    Args:
        modelled: Further questions that a model grades.
        deviation: Standard deviation of the questions' differences in nDCG@10, as far as it is known.
    """
    return [
        WidthRow(
            questions,
            expected_half_width(questions, deviation),
            {r: expected_half_width(questions, deviation, modelled, r) for r in CORRELATIONS},
        )
        for questions in PLANNED
    ]


def is_graded(judged: JudgedSet) -> bool:
    """Whether a set's judgements are grades of few questions, by a person or a model, as `tamis label` keeps them."""
    return is_folder(judged.source) and (
        (_folder(judged) / POOLS).is_file() or MODEL_SPLIT in qrels_files(_folder(judged))
    )


def _folder(judged: JudgedSet) -> Path:
    given = Path(judged.source)
    return given if given.is_dir() else Path(judged.source.rpartition(":")[0])


def by_model(judged: JudgedSet, runs: Iterable[Path] = (), languages: Languages = "any") -> JudgedSet | None:
    """The set as a model graded it, perhaps without questions; None where only the set's own judgements are a model's.

    Args:
        judged: The set as a person graded it.
        runs: TREC runs that are measured; questions that one of them lacks are left out, or they would count as 0.
        languages: As for `read_set`.

    Raises:
        InputError: judgements or runs that do not fit the folder.
    """
    files = qrels_files(_folder(judged))
    if MODEL_SPLIT not in files or of_model_alone(judged):
        return None
    # Last comes the set of passages, where the folder has any: a person's and a model's figures are of the same kind.
    every = read_set(f"{_folder(judged)}:{MODEL_SPLIT}", languages, passages=judged.name.endswith(PASSAGES))
    found = every[-1]
    asked = [read_run(file).keys() for file in runs]
    kept = {q: each for q, each in found.questions.items() if all(q in some for some in asked)}
    left = len(found.questions) - len(kept)
    told = f"{left:,} of {len(found.questions):,} questions that a model graded are not in every given run: left out"
    return replace(found, name=judged.name, questions=kept, notes=(told,) if left else ())


def of_model_alone(judged: JudgedSet) -> bool:
    """Whether a graded set's own judgements are those of a model, and no person graded anything."""
    files = qrels_files(_folder(judged))
    return judged.source.endswith(f":{MODEL_SPLIT}") or list(files) == [MODEL_SPLIT]


def ungraded(judged: JudgedSet, runs: Path, pairs: Iterable[ComparedPair]) -> dict[str, float]:
    """Share of each compared system's best ten documents that nobody graded, which count as 0.

    Args:
        judged: The set.
        runs: Folder of the systems' runs.
        pairs: Systems that are compared.
    """
    names = dict.fromkeys(name for pair in pairs for name in (pair.system, pair.baseline))
    return {name: _ungraded(judged, runs / f"{name}.trec") for name in names}


def _ungraded(judged: JudgedSet, run: Path) -> float:
    if not run.stat().st_size:
        return 0.0  # it found nothing
    marks = [
        doc_id not in judged.questions[query_id].relevant
        for query_id, found in read_run(run).items()
        for doc_id in found.doc_ids[:HEAD]
    ]
    return sum(marks) / len(marks)


def grade_figures(
    pairs: Sequence[ComparedPair], measures: Sequence[str], person: GradedSide, model: GradedSide
) -> dict[str, Any]:
    """What the grades of a set say of each pair of systems, see docs/results.md.

    Args:
        pairs: Systems that are compared.
        measures: The main one, which the verdict is about, first.
        person: What a person graded.
        model: What a model graded, the same questions and others.
    """
    shown = [measures[0], *(name for name in measures[1:] if name.startswith("RR"))]
    theirs = {query_id: place for place, query_id in enumerate(model.questions)}
    lacking = sum(query_id not in theirs for query_id in person.questions) if theirs else 0
    same = [theirs[query_id] for query_id in person.questions if query_id in theirs]
    overlap = Overlap(np.array(same, np.int64), np.array(sorted({*theirs.values()} - {*same}), np.int64), not lacking)
    comparisons = [
        {"system": pair.system, "baseline": pair.baseline, "measure": measure, **_said(sides, overlap)}
        for pair in pairs
        for measure in shown
        for sides in [(_difference(person, pair, measure), _difference(model, pair, measure))]
    ]
    counts = {"person": len(person.questions), "model": len(theirs), "lacking": lacking, "worth": WORTH}
    return {**counts, "comparisons": comparisons}


def _difference(side: GradedSide, pair: ComparedPair, measure: str) -> FloatArray:
    values = {one.system.name: one.values[measure] for one in side.measured}
    if pair.system not in values or pair.baseline not in values:
        return np.zeros(0)
    return values[pair.system] - values[pair.baseline]


def _said(sides: tuple[FloatArray, FloatArray], overlap: Overlap) -> dict[str, Any]:
    """Intervals by the person's grades, by both and by the model's, and the verdict."""
    person, model = sides
    alone = mean_interval(person) if person.size > LEAST else None
    theirs = mean_interval(model) if model.size > LEAST else None
    both = None
    if alone and theirs and overlap.whole and overlap.others.size > 1:
        both = powered_interval(person, model[overlap.same], model[overlap.others])
    changed = int((person != 0).sum())
    verdict, more = decide(both or alone, person.size, changed)
    weight = {} if both is None else {"weight": both.weight}
    entries = {"alone": _entry(alone), "both": _entry(both, weight), "model_alone": _entry(theirs)}
    return {**entries, "changed": changed, "verdict": verdict, "more": more}


def _entry(found: MeanInterval | None, more: Mapping[str, float] | None = None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"difference": found.mean, "interval": [found.lower, found.upper], **(more or {})}


def decide(found: MeanInterval | None, questions: int, changed: int) -> tuple[Verdict, int]:
    """What follows from an interval, and how many more questions a person has to grade before anything does.

    *Deploy* where the interval lies above 0, *do not* where it excludes a gain of `WORTH`, otherwise *ask*.

    Args:
        found: The interval.
        questions: Questions of a person.
        changed: Those among them that both systems rank differently.
    """
    if found is None or questions < FEWEST:
        return "ask", max(FEWEST - questions, 1)
    if changed < FEWEST_CHANGED and questions < MANY:
        return "ask", min(MANY, math.ceil(questions * FEWEST_CHANGED / max(changed, 1))) - questions
    if found.lower > 0:
        return "deploy", 0
    more = questions_to_decide(found, questions, WORTH)
    return ("ask", more) if more else ("do not", 0)
