"""`tamis evaluate`: several models and first stages on several judged sets, in one call."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from tamis.artifacts import ItemStore, RunFolder, versions, write_json, writing
from tamis.errors import InputError, SettingsError
from tamis.evaluation.candidates import FULL, CandidatesByQuestion, Wanted, checked_run, find, notes_on_runs, run_file
from tamis.evaluation.config import EvaluationConfig, command_of, measures_of
from tamis.evaluation.figures import Measured, PairedTests, baselines_and_first, model_facts, results_of, set_figures
from tamis.evaluation.graded import NOBODY, GradedSide, by_model, grade_figures, is_graded, of_model_alone, ungraded
from tamis.evaluation.reading import read_sets
from tamis.evaluation.samples import sample_questions
from tamis.evaluation.scores import Model, cost_of, model_of, read_logits, saw_documents, score_missing, with_indexes
from tamis.evaluation.sets import TASK, JudgedSet
from tamis.evaluation.systems import System, rerank_head
from tamis.evaluation.writing import PerQuery, ReadRankings, TiedRanking, measure_set
from tamis.formats.trec import named_run
from tamis.formulas.ranking import rank_order, tie_key, tied_at_top
from tamis.models.checkpoint import ORDER
from tamis.records import ALONE, GROUPS, SCORED, SERVED
from tamis.report.examples import ChangedQuestions
from tamis.report.page import ReportData, write_report
from tamis.report.verdict import listed
from tamis.retrievers.index import FIRST_STAGES

OWNER: Final = "tamis evaluate"
"""What run.json of such a folder names."""

RESERVED: Final = (*FIRST_STAGES, FULL, "oracle", ORDER)
ORACLE: Final = "oracle"
_NAME: Final = re.compile(r"[\w.-]+")


def evaluate(asked: EvaluationConfig, out: Path) -> dict[str, Any]:
    """Measure, and write results.json, report.html, per_query.parquet, and each set's runs and judgements.

    Args:
        asked: What is to be measured.
        out: Folder of the evaluation; candidates and scores of earlier calls in it are used again.

    Returns:
        The content of results.json, see docs/results.md.

    Raises:
        TamisError: see `read_set`, `find` and `score_missing`; names that cannot be told apart; or a folder that
            cannot be written.
    """
    started = time.monotonic()
    measures = measures_of(asked.measures)
    given = [model_of(one, asked.precision, asked.long, asked.engine) for one in asked.models]
    models = with_indexes(given, asked.indexes)
    wanted, runs = _wanted(asked, models)
    sets: dict[str, dict[str, Any]] = {}
    changed: list[ChangedQuestions] = []
    main = next(iter(measures))
    folder = RunFolder(out, OWNER)
    with folder.held(), writing(out), closing(ItemStore(out / "items.sqlite")) as items:
        part = out / ".part"
        shutil.rmtree(part, ignore_errors=True)
        (part / "sets").mkdir(parents=True)
        measure = partial(_measured, models=models, wanted=wanted, runs=runs, measures=measures, items=items)
        with PerQuery(part / "per_query.parquet", list(measures)) as table:
            for judged in read_sets(asked.sets, asked.languages, asked.passages):
                own = part / "sets" / judged.name
                measured = list(measure(judged, folder=own))
                notes = _notes_on_runs(judged, measured, {**wanted.given, **runs})
                table.add(judged, measured)
                tests = PairedTests(baselines_and_first(judged.name, [m.system for m in measured]), asked.rounds)
                saw = {model.name: saw_documents(model, judged) for model in models}
                sets[judged.name] = set_figures(judged, measured, main, tests, saw)
                sets[judged.name]["notes"] += notes
                if is_graded(judged):
                    sides = _grades(judged, measured, measure, wanted, runs, own / "model")
                    grades = grade_figures(tests.pairs, list(measures), *sides)
                    sets[judged.name]["grades"] = {**grades, "ungraded": ungraded(judged, own / "runs", tests.pairs)}
                    sets[judged.name]["notes"] += sides[1].notes
                if shown := sample_questions(judged, measured, main, own / "runs"):
                    changed.append(shown)
        facts = {model.name: _facts(model, items) for model in models}
        found = results_of(sets, list(measures), asked.depth, asked.languages, facts)
        seconds = round(time.monotonic() - started, 1)
        results = {**found, "seconds": seconds, "command": command_of(asked, out), "versions": versions()}
        write_json(part / "results.json", results)
        write_report(ReportData(f"Evaluation on {listed(list(sets))}", results, changed), part / "report.html")
        _replace(out, part)
    return results


def _notes_on_runs(judged: JudgedSet, measured: Sequence[Measured], runs: Mapping[str, Path]) -> list[str]:
    """What is to be said of given runs beside a set's figures.

    Raises:
        InputError: no system ranks the set, since no run is of it.
    """
    notes = notes_on_runs(judged, runs)
    if not measured:
        raise InputError(f"{judged.name}: nothing ranks it; {'; '.join(notes)}")
    return notes


def _grades(
    judged: JudgedSet,
    measured: Sequence[Measured],
    measure: Callable[..., Iterable[Measured]],
    wanted: Wanted,
    runs: Mapping[str, Path],
    folder: Path,
) -> tuple[GradedSide, GradedSide]:
    """What a person graded, and what a model did; every system is measured by the model's grades, too.

    Args:
        judged: The set.
        measured: Every system by the set's own judgements.
        measure: Measures every system of a set, see `_measured`.
        wanted: First stages.
        runs: Files, or folders of files by set, of other systems' runs.
        folder: Folder for the runs on the model's questions.
    """
    own = GradedSide(judged.questions, measured)
    if of_model_alone(judged):
        return NOBODY, own
    given = [run_file(path, judged.name) for path in (*wanted.given.values(), *runs.values())]
    found = by_model(judged, [file for file in given if file], wanted.languages)
    if found is None:
        return own, NOBODY
    theirs = list(measure(found, folder=folder)) if found.questions else []
    return own, GradedSide(found.questions, theirs, found.notes)


def _replace(out: Path, part: Path) -> None:
    """Let new results take the place of older ones; meanwhile there is no results.json, which speaks of the rest."""
    (out / "results.json").unlink(missing_ok=True)
    shutil.rmtree(out / "sets", ignore_errors=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == "results.json"):
        path.rename(out / path.name)
    part.rmdir()


def _wanted(asked: EvaluationConfig, models: Sequence[Model]) -> tuple[Wanted, dict[str, Path]]:
    """First stages and runs by name, each name once."""
    first = list(asked.first) or list(FIRST_STAGES if asked.encoder else ("bm25",))
    own = [name for name in first if name in FIRST_STAGES]
    given = [named_run("--first", one) for one in first if one not in FIRST_STAGES and "=" in one]
    names = [one if one in FIRST_STAGES else one.partition("=")[0] for one in first]
    runs = [named_run("--run", one) for one in asked.runs]
    check_names([*own, *(name for name, _ in (*given, *runs)), *(model.name for model in models)], own)
    names += [FULL] * asked.full
    return Wanted(names, dict(given), asked.depth, asked.languages, asked.encoder), dict(runs)


def check_names(every: Sequence[str], own: Sequence[str] = ()) -> None:
    """Refuse names of systems that cannot be told apart.

    Args:
        every: The name of each system, as often as it was given.
        own: Those among them that stand for our own first stages.

    Raises:
        SettingsError: a name that comes twice, is one of ours, or cannot name a file.
    """
    for name in every:
        if every.count(name) > 1 or (name in RESERVED and name not in own):
            raise SettingsError(f"name {name!r} stands for two systems; give one of them another, as in NAME=PATH")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"name {name!r} cannot name a file; use letters, digits, dots and hyphens: NAME=PATH")


def _measured(
    judged: JudgedSet,
    models: Sequence[Model],
    wanted: Wanted,
    runs: Mapping[str, Path],
    measures: Mapping[str, Any],
    items: ItemStore,
    folder: Path,
) -> Iterator[Measured]:
    """Every system of a set, measured; its runs and judgements are written on the way."""
    stages = find(judged, wanted, items)
    # Beside a task with candidates of its own there may be sets without.
    known_elsewhere = {*wanted.given, *([TASK] if stages else [])}
    unknown = [name for name in wanted.names if name not in stages and name not in known_elsewhere]
    if unknown:
        known = ", ".join((*FIRST_STAGES, *judged.given))
        raise SettingsError(f"--first {unknown[0]}: no such first stage; expected {known} or NAME=FILE")

    systems = _systems(judged, models, stages, runs, items)
    yield from measure_set(judged, ((system, ranked, ranked.tie_rate) for system, ranked in systems), measures, folder)


def _systems(
    judged: JudgedSet,
    models: Sequence[Model],
    stages: Mapping[str, CandidatesByQuestion],
    runs: Mapping[str, Path],
    items: ItemStore,
) -> Iterator[tuple[System, ReadRankings]]:
    """Every system with its rankings, which are made as they are read: first stages, other systems, models."""
    shown = {name: found for name, found in stages.items() if name != FULL}
    for name, found in shown.items():
        yield System(name, name, "first stage", None), ReadRankings(_as_found(found), judged)
        oracle = f"{ORACLE}@{name}"
        yield System(oracle, oracle, ORACLE, None), ReadRankings(_by_grade(judged, found), judged, scored=False)
    for name, path in runs.items():
        if file := run_file(path, judged.name):
            found = checked_run(file, judged)
            yield System(name, name, "run", next(iter(shown), None)), ReadRankings(_as_found(found), judged)
    for model in models:
        score_missing(model, judged, stages, items)
        if len(models) > 1:
            model.forget()
        for name, found in stages.items():
            for sign in _ways(model, name):
                system = f"{model.name}{sign}{name}"
                ranked = ReadRankings(_reranked(model, judged, name, found, sign, items), judged)
                yield System(system, system, GROUPS[sign], name if name in shown else None), ranked


def _ways(model: Model, first_stage: str) -> list[str]:
    """How the model is used there: as served and alone, and with scores where they have a weight.

    What is ranked whole, and the lists of a reranking task, have neither an order nor scores: alone is all there is.
    """
    if first_stage in (FULL, TASK):
        return [ALONE]
    deployment = model.deployment
    own = deployment.weights_by_language.get(deployment.known_as(first_stage), {})
    weighed = any((deployment.weight_of(first_stage), *own.values()))
    return [SERVED, ALONE, *([SCORED] if weighed else [])]


def _as_found(found: CandidatesByQuestion) -> Iterator[TiedRanking]:
    for query_id, candidates in found.items():
        yield query_id, candidates.doc_ids, tied_at_top(np.array(candidates.scores))


def _by_grade(judged: JudgedSet, found: CandidatesByQuestion) -> Iterator[TiedRanking]:
    """The best order of the candidates: what no reranker can pass. What the first stage missed stays missing."""
    for query_id, candidates in found.items():
        relevant = judged.questions[query_id].relevant
        grades = np.array([relevant.get(judged.whole.get(d, d), 0) for d in candidates.doc_ids], np.float64)
        order = rank_order(grades, [tie_key(query_id, doc_id) for doc_id in candidates.doc_ids])
        yield query_id, [candidates.doc_ids[i] for i in order], False


def _reranked(
    model: Model, judged: JudgedSet, first_stage: str, found: CandidatesByQuestion, sign: str, items: ItemStore
) -> Iterator[TiedRanking]:
    for query_id, logits in read_logits(model, judged, found, items):
        if found[query_id].doc_ids:
            question = judged.questions[query_id]
            ranked, tied = rerank_head(question, first_stage, found[query_id], logits, sign, model.deployment)
            yield query_id, ranked, tied


def _facts(model: Model, items: ItemStore) -> dict[str, Any]:
    cost = cost_of(model, items)
    return model_facts(model.path, model.number_format, model.lineage, asdict(cost) if cost else None)
