"""Evaluate and report: from models to figures that people can trust."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file

from tamis.artifacts import (
    folder_bytes,
    read_json,
    write_json,
)
from tamis.building.inputs import input_hashes
from tamis.building.origin import origin_of, recipe_text
from tamis.building.scoring import score_pairs
from tamis.building.workshop import Workshop, texts_of
from tamis.errors import ModelError
from tamis.formats.trec import by_rank, read_run, write_run
from tamis.models.checkpoint import Deployment, find_checkpoint, read_facts
from tamis.progress import track
from tamis.records import Candidates, Query, TrainingList
from tamis.retrievers.shelf import FIRST_STAGES
from tamis.settings import GENERAL, Recipe
from tamis.stages.candidates import rank_candidates, search_shelves
from tamis.stages.evaluate import (
    ADAPTATION,
    SCORED,
    SERVED,
    Pool,
    Question,
    Run,
    compare,
    draw_questions,
    macro_mean,
    measure,
    pairs_to_score,
    read_questions,
    runs_of,
    student_runs,
    systems_of,
)
from tamis.stages.report.page import ReportData, write_report

Facts = dict[str, Any]

QUESTIONS_AT_ONCE = 128
"""How many questions a teacher is asked about together: enough to keep a server busy, few enough to see it move."""


def evaluate_settings(recipe: Recipe) -> object:
    """Settings of the evaluation, and the hashes of its questions and judgements."""
    settings = recipe.evaluate
    if settings is None:
        return None
    files = input_hashes([settings.queries, settings.qrels], "evaluate")
    runs = dict(zip(settings.runs, input_hashes(list(settings.runs.values()), "evaluate"), strict=True))
    return [settings.model_dump(mode="json", exclude={"queries", "qrels", "runs"}), files, runs, recipe.seed]


def build_evaluate(shop: Workshop, folder: Path) -> Facts:
    """Rank every judged question by every system, and compare."""
    recipe = shop.recipe
    settings = recipe.evaluate
    assert settings is not None, "the stage is skipped without judged questions"
    target = {d.doc_id: d for d in shop.documents.values() if d.origin == "target"}
    languages = {document.doc_id: document.language for document in target.values()}
    judged, asked = read_questions(settings.queries, settings.qrels, languages, recipe.candidates.languages)
    questions = draw_questions(judged, settings.questions)
    pools = find_pools(shop, questions)
    shop.prepare({q.query_id: q.text for q in questions}, texts_of(target))
    runs, ties = _runs(shop, pools, settings.depth)
    systems = [system for system in systems_of(tuple(settings.runs)) if system.name in runs]
    per_query = measure(runs, questions)
    with_baselines = [(system.name, system.baseline) for system in systems if system.baseline is not None]
    pairs = [*with_baselines, *ADAPTATION]
    with track("testing differences", len(pairs)) as advance:
        compared = compare(per_query, pairs, questions, settings.rounds, recipe.seed, advance)
    comparisons, adaptation = compared[: len(with_baselines)], compared[len(with_baselines) :]
    means = {name: macro_mean(values, questions) for name, values in per_query.items()}
    domains = _domains(questions, recipe)
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "depth": settings.depth,
        "adapted_to_corpus": True,
        "languages": sorted({q.language for q in questions}),
        "questions": dict(sorted(Counter(q.language for q in questions).items())),
        "systems": [asdict(system) for system in systems],
        "mean_ndcg10": {name: found["mean"] for name, found in means.items()},
        "ndcg10": {name: {k: v for k, v in found.items() if k != "mean"} for name, found in means.items()},
        "domains": domains,
        "domain_ndcg10": {
            name: {domain: float(np.mean([found[one] for one in spoken])) for domain, spoken in domains.items()}
            for name, found in means.items()
        },
        "tie_rate": ties,
        "comparisons": comparisons,
        "adaptation": adaptation,
        "p_value": _headline_p(comparisons),
        "targets": _targets(means, comparisons, per_query, questions, recipe),
    }
    write_json(folder / "results.json", results)
    _write_questions(folder, questions, per_query)
    _write_runs(folder, runs)
    reasons = {"no relevant document in the corpus": asked - len(judged), "not drawn": len(judged) - len(questions)}
    dropped = {reason: count for reason, count in reasons.items() if count}
    facts: Facts = {"counts": {"in": asked, "kept": len(questions), "dropped": dropped}}
    unknown = {name: run.unknown for name, run in shop.given_runs.items()}
    return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts


def find_pools(shop: Workshop, questions: Sequence[Question]) -> list[Pool]:
    """What every first stage and the teacher find for every question."""
    texts = {question.query_id: question.text for question in questions}
    vectors = shop.vectors("query", "dense", texts)
    teach = shop.teacher(texts)
    depth = shop.recipe.candidates.depth
    queries = [Query(q.query_id, q.text, q.language, "target", "", "question") for q in questions]
    ranked = list(search_shelves(queries, vectors, shop.shelves, depth, FIRST_STAGES, engine=shop.engine))
    taught: list[np.ndarray] = []
    with track("asking the teacher", len(ranked)) as advance:
        for start in range(0, len(ranked), QUESTIONS_AT_ONCE):
            asked = [(query, of["hybrid"].doc_ids) for query, of in ranked[start : start + QUESTIONS_AT_ONCE]]
            taught += teach(asked)
            advance(len(asked))
    shop.toolbox.release_rerankers()
    found: dict[str, dict[str, Candidates]] = {}
    for (query, of), scores in zip(ranked, taught, strict=True):
        if not np.isfinite(scores).all():
            raise ModelError(
                f"question {query.query_id}: a teacher behind a server gave no score; those that came are kept, mend "
                "the server and run the same command again"
            )
        by_teacher = rank_candidates(query.query_id, of["hybrid"].doc_ids, scores, depth)
        found[query.query_id] = {**of, **_given(shop, query.query_id, depth), "teacher": by_teacher}
    return [Pool.of(question, found[question.query_id]) for question in questions]


def _given(shop: Workshop, query_id: str, depth: int) -> dict[str, Candidates]:
    """What the user's own engines found for a question, by the name of each run; nothing where a run is silent."""
    scores = {name: run.scores.get(query_id, {}) for name, run in shop.given_runs.items()}
    return {
        name: rank_candidates(query_id, tuple(found), np.array(list(found.values())), depth)
        for name, found in scores.items()
    }


def _runs(shop: Workshop, pools: Sequence[Pool], depth: int) -> tuple[dict[str, Run], dict[str, float]]:
    """The ranking of every system for every question, and the share of questions whose best score is shared."""
    given = tuple(shop.given_runs)
    runs, ties = runs_of(pools, (*FIRST_STAGES, *given, "teacher"))
    merged = read_facts(shop.folders["merge"] / "model").deployment
    untrained = deployment_of_start(shop.recipe, merged)
    for student, logits in _student_logits(shop, pools, depth).items():
        deployment = untrained if student == "untrained" else merged
        found, tied = student_runs(student, pools, logits, deployment, depth, given)
        runs |= found
        ties |= tied
    return runs, ties


def deployment_of_start(recipe: Recipe, merged: Deployment) -> Deployment:
    """How the untrained student would be served: as its own checkpoint says, or like the merged one.

    Args:
        recipe: Names what the student starts from.
        merged: What the merged student's checkpoint says; that counts where the start's names no weight at all, as one
            does that tamis did not make.
    """
    start = recipe.student.start
    own = read_facts(find_checkpoint(start)).deployment if start else merged
    return own if own.first_stage_weights else merged


def _student_logits(shop: Workshop, pools: Sequence[Pool], depth: int) -> dict[str, dict[tuple[str, str], float]]:
    """Logits of every pair by the untrained student, by each language's own specialist, and by the merged student."""
    student = shop.untrained_student()
    train = shop.folders["train"]
    domain_for = shop.recipe.lists.domain_for

    def logits_of(path: Path, some: Sequence[Pool], label: str) -> dict[tuple[str, str], float]:
        student.load_trained(load_file(path))
        return score_pairs(shop, student, pairs_to_score(some, depth, tuple(shop.given_runs)), label)

    specialists: dict[tuple[str, str], float] = {}
    for domain in sorted({domain_for(pool.question.language) for pool in pools}):
        own = [pool for pool in pools if domain_for(pool.question.language) == domain]
        path = train / f"{domain}.safetensors"
        # A domain without a single training list has no specialist of its own.
        name = domain if path.exists() else GENERAL
        specialists |= logits_of(train / f"{name}.safetensors", own, f"scoring with {name}")
    return {
        "untrained": logits_of(train / "untrained.safetensors", pools, "scoring with untrained"),
        "specialists": specialists,
        "merged": logits_of(shop.folders["merge"] / "merged.safetensors", pools, "scoring with merged"),
    }


def _domains(questions: Sequence[Question], recipe: Recipe) -> dict[str, list[str]]:
    """The languages of the questions by the domain whose specialist speaks them."""
    found: dict[str, list[str]] = {}
    for language in sorted({q.language for q in questions}):
        found.setdefault(recipe.lists.domain_for(language), []).append(language)
    return dict(sorted(found.items()))


def _headline_p(comparisons: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Corrected p-value of the merged student, as served, over each reranked first stage."""
    p = {entry["system"]: entry["p_holm"] for entry in comparisons}
    return {"bm25": p["merged~bm25"], "hybrid": p["merged~hybrid"]}


def _targets(
    means: Mapping[str, Mapping[str, float]],
    comparisons: Sequence[Mapping[str, Any]],
    per_query: Mapping[str, Mapping[str, float]],
    questions: Sequence[Question],
    recipe: Recipe,
) -> list[Facts]:
    """What the merged student should reach, in nDCG@10 points (hundredths), and whether it does."""
    of = {entry["system"]: entry for entry in comparisons}
    over_bm25, over_hybrid, scored = of["merged~bm25"], of["merged~hybrid"], of["merged+hybrid"]
    worst = min(found["difference"] for found in over_bm25["per_language"].values())
    added = {
        way: 100 * (means[f"merged{way}hybrid"]["mean"] - means[f"untrained{way}hybrid"]["mean"])
        for way in (SERVED, SCORED)
    }
    domain, gap = _worst_at_home(per_query, questions, recipe)
    rows = [
        ("merged student as served over BM25, points", 100 * over_bm25["difference"], ">= 5"),
        ("merged student as served over BM25, p (Holm)", over_bm25["p_holm"], "< 0.01"),
        ("merged student as served over BM25, worst language, points", 100 * worst, ">= -1"),
        ("merged student as served over hybrid, points", 100 * over_hybrid["difference"], ">= 3"),
        ("merged student as served over hybrid, p (Holm)", over_hybrid["p_holm"], "< 0.01"),
        ("merged student with scores over hybrid, points", 100 * scored["difference"], ">= 3"),
        ("merged student with scores over hybrid, p (Holm)", scored["p_holm"], "< 0.01"),
        ("merged over untrained student, as served on hybrid, points", added[SERVED], "> 0"),
        ("merged over untrained student, with scores on hybrid, points", added[SCORED], "> 0"),
        (f"merged student alone against each specialist at home, worst ({domain}), points", gap, ">= -0.5"),
    ]
    return [{"name": n, "value": round(v, 6), "bound": b, "met": _met(v, b)} for n, v, b in rows]


def _worst_at_home(
    per_query: Mapping[str, Mapping[str, float]], questions: Sequence[Question], recipe: Recipe
) -> tuple[str, float]:
    """The domain where merging cost most, and how many points the merged student lies above its specialist there.

    Both alone: a first stage beside them would hide a part of it.
    """
    gaps = {}
    for domain, spoken in _domains(questions, recipe).items():
        own = [q for q in questions if q.language in spoken]
        merged, specialist = (macro_mean(per_query[n], own)["mean"] for n in ("merged@hybrid", "specialists@hybrid"))
        gaps[domain] = 100 * (merged - specialist)
    worst = min(gaps, key=lambda name: gaps[name])
    return worst, gaps[worst]


def _met(value: float, bound: str) -> bool:
    sign, number = bound.split()
    return {">=": value >= float(number), ">": value > float(number), "<": value < float(number)}[sign]


def _write_questions(folder: Path, questions: Sequence[Question], per_query: Mapping[str, Mapping[str, float]]) -> None:
    columns: dict[str, list[Any]] = {
        "query_id": [q.query_id for q in questions],
        "language": [q.language for q in questions],
        "text": [q.text for q in questions],
        "relevant": [sorted(d for d, grade in q.relevant.items() if grade > 0) for q in questions],
    }
    columns |= {name: [values[q.query_id] for q in questions] for name, values in per_query.items()}
    pq.write_table(pa.table(columns), folder / "questions.parquet", compression="zstd")


def _write_runs(folder: Path, runs: Mapping[str, Run]) -> None:
    """TREC run files; the score is the negative rank, so that every tool keeps our order."""
    (folder / "runs").mkdir()
    for name, run in runs.items():
        write_run(folder / "runs" / f"{name}.trec", (by_rank(each, ranked) for each, ranked in run.items()), name)


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
