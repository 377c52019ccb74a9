"""Measures any number of models on the judged questions of a run: what the benchmarks of choices have in common."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tamis.artifacts import ItemStore
from tamis.context import texts_of
from tamis.evaluation.judged import Question, read_questions
from tamis.evaluation.systems import Run, pairs_to_score, runs_of, student_runs
from tamis.formulas.arrays import FloatArray
from tamis.formulas.measures import measure_rankings, parse_measures
from tamis.formulas.significance import paired_randomisation
from tamis.models.checkpoint import Deployment
from tamis.pipeline.parts import Parts, open_parts
from tamis.pipeline.recipe import Recipe
from tamis.records import ALONE, SCORED
from tamis.stages.student.scores import score_pairs

FIRST = ("bm25", "dense", "hybrid", "teacher")
DEPLOYED = {"bm25": f"{ALONE}bm25", "hybrid": f"{SCORED}hybrid"}
"""How a student is used on each first stage: alone on BM25's candidates, beside the hybrid's score."""

Values = Mapping[str, Mapping[str, float]]
"""nDCG@10 by system, or by set, and question."""


@dataclass(frozen=True)
class Judged:
    """A run's questions and what measures a model on them.

    Attributes:
        parts: Of the run.
        questions: The judged questions.
        first: The first stages' and the teacher's figures.
        of: Figures of a model by its name and tensors, given the first stages' weights.
    """

    parts: Parts
    questions: list[Question]
    first: Values
    of: Callable[[str, Mapping[str, Tensor], Mapping[str, float]], Values]


@contextmanager
def judged(recipe: Recipe, root: Path, folders: Mapping[str, Path]) -> Iterator[Judged]:
    """Open a run whose training is done; `recipe.evaluate` names the questions."""
    assert recipe.evaluate is not None, "the recipe evaluates"
    depth = recipe.evaluate.depth
    with open_parts(recipe, ItemStore(root / "items.sqlite")) as parts:
        parts.context.folders.update(folders)
        target, students = parts.context.target, parts.students
        languages = {doc_id: document.language for doc_id, document in target.items()}
        questions, _ = read_questions(recipe.evaluate.queries, recipe.evaluate.qrels, languages)
        pools = parts.systems.find_pools(questions, parts.systems.own(questions))
        students.prepare({q.query_id: q.text for q in questions}, texts_of(target))
        student, pairs = students.untrained(), pairs_to_score(pools, depth)

        def of(name: str, tensors: Mapping[str, Tensor], weights: Mapping[str, float]) -> Values:
            student.load_trained(tensors)
            logits = score_pairs(students, student, pairs, f"scoring with {name}")
            return measure(student_runs(name, pools, logits, Deployment(weights, {}), depth)[0], questions)

        yield Judged(parts, questions, measure(runs_of(pools, FIRST)[0], questions), of)


def measure(runs: Mapping[str, Run], questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """nDCG@10 of every question in every run, by ir-measures; a question without results counts as 0."""
    grades = {question.query_id: question.relevant for question in questions}
    measures = parse_measures(["nDCG@10"])
    return {name: measure_rankings(run.items(), grades, measures)["nDCG@10"] for name, run in runs.items()}


def macro_mean(values: Mapping[str, float], language_of: Mapping[str, str]) -> dict[str, float]:
    """Mean of the questions' figures per language, and under `mean` the mean of the languages."""
    by_language: dict[str, list[float]] = {}
    for question, language in language_of.items():
        by_language.setdefault(language, []).append(values[question])
    means = {language: float(np.mean(found)) for language, found in sorted(by_language.items())}
    return {**means, "mean": float(np.mean(list(means.values())))}


def compare_means(
    ours: Mapping[str, float], theirs: Mapping[str, float], group_of: Mapping[str, str]
) -> dict[str, float]:
    """Difference of the means over groups of questions, and its paired test.

    Args:
        ours: nDCG@10 by question.
        theirs: The same of what it is compared with.
        group_of: Group of each question; a mean is that of the groups' means.
    """
    differences = weighted_differences(ours, theirs, group_of)
    p = paired_randomisation(differences, np.random.default_rng(0), 100_000)
    return {"difference": float(differences.sum()), "p_value": p}


def weighted_differences(
    ours: Mapping[str, float], theirs: Mapping[str, float], group_of: Mapping[str, str]
) -> FloatArray:
    """Differences of all questions, [questions], weighted so that their sum is the difference of `compare_means`."""
    sizes = Counter(group_of.values())
    return np.array([(ours[q] - theirs[q]) / (len(sizes) * sizes[g]) for q, g in group_of.items()])


def compare_sets(ours: Values, theirs: Values) -> dict[str, float]:
    """`compare_means` over sets, each weighing alike.

    Args:
        ours: nDCG@10 by set and question, in the order of the test.
        theirs: The same of what it is compared with.
    """
    set_of = {f"{name}/{question}": name for name, of in ours.items() for question in of}
    return compare_means(_by_question(ours), _by_question(theirs), set_of)


def _by_question(figures: Values) -> dict[str, float]:
    return {f"{name}/{question}": value for name, of in figures.items() for question, value in of.items()}


def in_points(compared: Mapping[str, float]) -> dict[str, float]:
    """A comparison of means as tables show it: its difference in hundredths."""
    return {"points": 100 * compared["difference"], "p_value": compared["p_value"]}


def mean_over_seeds(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each question's figures."""
    found = list(values)
    return {question: float(np.mean([one[question] for one in found])) for question in found[0]}


def languages_of(questions: Sequence[Question]) -> dict[str, str]:
    """Language of each question by its id."""
    return {question.query_id: question.language for question in questions}


def language_of_row(row: Mapping[str, Any]) -> str:
    """Language of a BEIR document that says it in a field or in front of its id, in lower case."""
    return str((row.get("metadata") or {}).get("lang") or row.get("lang") or row["_id"].split("/")[0]).lower()
