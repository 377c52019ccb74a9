"""The first stage's score as something that the student reads, against the score added to what it answers.

    make bench-first_stage_input     # after bench-recipe, whose run of the default it goes on from; half an hour

Published rerankers read BM25's score as text in front of the passage (Askari et al. 2023, arXiv 2301.09728). Here the
hybrid's score of a pair, 0 to 100 between the lowest and the highest of its query's best candidates, stands in front
of the document while the student learns and while it ranks; everything else is the default variant of bench-recipe,
of the same lists and as many steps. Judged by the same questions of the Debian FAQ, alone on the hybrid's candidates,
against the default's specialist alone, as served, and with the hybrid's score added. Writes
benchmarks/results/first_stage_input.json and first_stage_input.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np

from adapted_runs import FAQ, PLACES, Measured, recipe_of, run, stage_folders
from command_line import data_parser
from judged import compare_means, in_points, languages_of, macro_mean, measure
from machine import DOCS, commit
from recipe import DEFAULT, OUT, VARIANTS, command_for
from results import publish
from tamis.artifacts import ItemStore
from tamis.evaluation.judged import read_questions
from tamis.evaluation.systems import Pool, student_runs
from tamis.models.checkpoint import Deployment
from tamis.pipeline.parts import Parts, open_parts
from tamis.progress import track
from tamis.records import ALONE, Candidates, TrainingList
from tamis.stages.lists.held_out import judging_lists
from tamis.stages.student.scores import score_pairs
from tamis.stages.train.agreement import TrainingTexts
from tamis.stages.train.batches import endless_batches
from tamis.stages.train.stage import list_weights, steps_of
from tamis.stages.train.train import Execution, train_student

BEST = 30
"""Candidates of a query between whose scores 0 and 100 are."""

Percents = Mapping[str, Mapping[str, int]]
"""By query and document."""


def percents(found: Candidates) -> dict[str, int]:
    """Score of each of the best candidates, 0 to 100 between the lowest and the highest of them."""
    scores = np.array(found.scores[:BEST])
    spread = float(np.ptp(scores)) or 1.0
    values = np.rint(100 * (scores - scores.min()) / spread).astype(int).tolist() if scores.size else []
    return dict(zip(found.doc_ids, values, strict=False))


def pair_id(query_id: str, doc_id: str) -> str:
    """Names the text of a document as one query's list shows it."""
    return f"{query_id} {doc_id}"


def shown_to(parts: Parts, pairs: Sequence[tuple[str, str]], known: Percents) -> dict[str, str]:
    """Texts of documents with their score in front, by `pair_id`; what was not found has 0."""
    target = parts.context.target
    return {
        pair_id(query_id, doc_id): f"{known[query_id].get(doc_id, 0)} {target[doc_id].text}"
        for query_id, doc_id in pairs
    }


def as_pairs(one: TrainingList) -> TrainingList:
    """A list of documents as the list of texts that `shown_to` makes of it."""
    return replace(one, doc_ids=tuple(pair_id(one.query_id, doc_id) for doc_id in one.doc_ids))


def learn(parts: Parts, seed: int) -> dict[str, Any]:
    """Train as the default variant does, on texts with scores in front; the student and its curve."""
    context, settings, students = parts.context, parts.recipe.train, parts.students
    lists = context.read("lists", TrainingList)
    known = {found.query_id: percents(found) for found in context.stream("candidates", Candidates)}
    texts = shown_to(parts, [(one.query_id, doc_id) for one in lists for doc_id in one.doc_ids], known)
    queries = {one.query_id: context.queries[one.query_id].text for one in lists}
    students.prepare(queries, texts)
    weight = list_weights(lists, context.queries, settings)
    batches = _read(endless_batches(context.folders["lists"] / "lists.parquet", weight, settings.lists_per_step, seed))
    steps = steps_of(settings, settings.specialist_steps, sum(1 for one in lists if weight(one) > 0))
    judging = judging_lists(lists, context.queries, parts.recipe.merge.held_out)
    held_out = [as_pairs(one) for of in judging.values() for one in of]
    student, budget = students.untrained(), context.machine.token_budget
    with track("training with scores as input", steps) as advance:
        curve = train_student(
            student, batches, held_out, TrainingTexts(students.prepared, queries, texts), settings, steps,
            Execution(budget, budget, context.machine.settings.recompute), advance,
        )  # fmt: skip
    return {"student": student, "agreement": curve.agreement, "chosen": curve.chosen}


def _read(batches: Iterator[list[TrainingList]]) -> Iterator[list[TrainingList]]:
    return ([as_pairs(one) for one in batch] for batch in batches)


def ranked(parts: Parts, pools: Sequence[Pool], score: Callable[[list[tuple[str, str]]], Mapping[Any, float]]) -> Any:
    """The student alone on the hybrid's candidates, as a run."""
    depth = parts.recipe.rerank_depth
    hybrid = [replace(pool, found={name: pool.found["hybrid"] for name in ("bm25", "hybrid")}) for pool in pools]
    pairs = [(pool.question.query_id, doc_id) for pool in hybrid for doc_id in pool.found["hybrid"].doc_ids[:depth]]
    logits = score(pairs)
    return student_runs("input", hybrid, logits, Deployment({}, {}), depth)[0][f"input{ALONE}hybrid"]


def figures(default: Measured, values: Mapping[str, float], language: Mapping[str, str]) -> dict[str, Any]:
    """The mean, and the comparison with each way to use the default's specialist on the hybrid."""
    ways = [place for place in PLACES if place.endswith("hybrid")]
    theirs = {place: default.values[f"specialists{PLACES[place][0]}"] for place in ways}
    return {
        "score as input": macro_mean(values, language)["mean"],
        "sum": {
            place: {"mean": macro_mean(of, language)["mean"], **in_points(compare_means(values, of, language))}
            for place, of in theirs.items()
        },
    }


def table(found: Mapping[str, Any]) -> str:
    """A row for each way."""
    lines = [
        "| nDCG@10 on the hybrid's best 20 | score added | score read | read over added | p |",
        "|---|---:|---:|---:|---:|",
    ]
    for place, of in found["sum"].items():
        cells = (f"{of['mean']:.3f}", f"{found['score as input']:.3f}", f"{of['points']:+.2f}", f"{of['p_value']:.2g}")
        lines.append(f"| {place} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, rank the judged questions, compare with what bench-recipe measured of the default."""
    parser = data_parser(__doc__)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    at = commit()
    command = command_for(chosen.data, FAQ, chosen.questions, chosen.threads, VARIANTS[DEFAULT])
    default = run(command, OUT / FAQ, chosen.seed, DEFAULT)
    recipe, root = recipe_of(command, chosen.seed), OUT / FAQ / "run"
    assert recipe.evaluate is not None, "the recipe evaluates"
    with open_parts(recipe, ItemStore(root / "items.sqlite")) as parts:
        parts.context.folders.update(stage_folders(root, default.facts["stages"]))
        learnt = learn(parts, chosen.seed)
        spoken = {doc_id: document.language for doc_id, document in parts.context.target.items()}
        every, _ = read_questions(recipe.evaluate.queries, recipe.evaluate.qrels, spoken)
        questions = [one for one in every if one.query_id in default.language]
        pools = parts.systems.find_pools(questions, parts.systems.own(questions))
        known = {pool.question.query_id: percents(pool.found["hybrid"]) for pool in pools}

        def score(pairs: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
            parts.students.prepare({one.query_id: one.text for one in questions}, shown_to(parts, pairs, known))
            asked = [(query_id, pair_id(query_id, doc_id)) for query_id, doc_id in pairs]
            found = score_pairs(parts.students, learnt["student"], asked, "scoring with scores as input")
            return {pair: found[own] for pair, own in zip(pairs, asked, strict=True)}

        values = measure({"input": ranked(parts, pools, score)}, questions)["input"]
    found = figures(default, values, languages_of(questions))
    facts = {"questions": len(questions), "mean of questions": mean(values.values())}
    facts |= {name: learnt[name] for name in ("agreement", "chosen")}
    publish(
        "first_stage_input",
        at,
        {"seeds": [chosen.seed], "adapted_to_corpus": True, **found, **facts, "targets": []},
        table(found),
        [DOCS / "training.md"],
    )


if __name__ == "__main__":
    main()
