"""The whole chain on a tiny corpus: what it leaves, what it reads, what it reuses, and what a kill costs."""

import functools
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file
from scipy.special import expit
from scipy.stats import zscore
from sklearn.metrics import ndcg_score

from tamis.artifacts import ItemStore, read_json, read_records
from tamis.errors import InputError, ModelError, RunError, SettingsError, TamisError
from tamis.formulas.ranking import tie_key, z_scores
from tamis.formulas.significance import holm
from tamis.models.checkpoint import load_warm, read_facts
from tamis.models.embedder import Embedder
from tamis.models.encoder import Encoder
from tamis.models.reranker import Reranker
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import NAMES, run_recipe, stage_keys
from tamis.records import Candidates, Document, Query, ScoredCandidates, TrainingList
from tamis.stages.lists import held_out
from tamis.stages.merge.weigh import HeadScorer, weighing_queries
from tamis.stages.student import scores as scoring
from tamis.stages.train import stage as training
from tamis.stages.train.checkpoint import StateFile
from tamis.stages.train.settings import TrainSettings
from tests.commands import manifests, results_by_hash, start, write_recipe
from tests.conftest import tiny_recipe, write_beir
from tests.rerankers import logits

EARLY = NAMES[: NAMES.index("evaluate")]


@dataclass(frozen=True)
class Finished:
    """A run that nothing disturbed."""

    content: dict[str, Any]
    root: Path
    folders: dict[str, Path]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Finished:
    base = tmp_path_factory.mktemp("finished")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    return Finished(content, base / "run", run_recipe(recipe_from(content, "tiny"), base / "run"))


def changed(content: dict[str, Any], setting: str, value: object) -> dict[str, Any]:
    """A copy of a recipe's content with one setting changed."""
    copy: dict[str, Any] = json.loads(json.dumps(content))
    *sections, key = setting.split(".")
    functools.reduce(lambda part, name: part.setdefault(name, {}), sections, copy)[key] = value
    return copy


def keys(content: dict[str, Any]) -> dict[str, str]:
    """The key of every stage, without running any."""
    return stage_keys(recipe_from(content, "tiny"))


def run_and_list_reused(content: dict[str, Any], root: Path) -> list[str]:
    reused = []

    def announce(stage: str, folder: Path, again: bool) -> None:
        if again:
            reused.append(stage)

    run_recipe(recipe_from(content, "tiny"), root, announce=announce)
    return reused


def test_every_stage_leaves_its_files(finished: Finished) -> None:
    assert tuple(finished.folders) == NAMES
    expected = {
        "corpus": {"corpus.parquet", "dropped.parquet"},
        "queries": {"queries.parquet", "dropped.parquet"},
        "candidates": {"candidates.parquet", "dropped.parquet"},
        "scores": {"scores.parquet", "dropped.parquet"},
        "lists": {"lists.parquet", "dropped.parquet"},
        "train": {"untrained.safetensors", "general.safetensors", "english.safetensors", "german.safetensors"},
        "merge": {"path.json", "merged.safetensors", "model/model.safetensors", "model/tamis.json"},
        "evaluate": {
            "results.json",
            "per_query.parquet",
            "sets/tiny/qrels.trec",
            "sets/tiny/runs/bm25.trec",
            "sets/tiny/runs/merged+hybrid.trec",
        },
        "report": {"report.html"},
    }
    for stage, manifest in manifests(finished.root).items():
        assert expected[stage] <= manifest["files"].keys()
        assert all((finished.folders[stage] / name).is_file() for name in manifest["files"])


def test_kept_and_dropped_add_up_to_what_came_in(finished: Finished) -> None:
    for manifest in manifests(finished.root).values():
        counts = manifest["counts"]
        assert counts["kept"] + sum(counts["dropped"].values()) == counts["in"]
        assert counts["kept"] > 0


def test_the_writers_counts_add_up_to_their_stage(finished: Finished) -> None:
    for stage in ("queries", "lists"):
        manifest = read_json(finished.folders[stage] / "manifest.json")
        writers = manifest["generators"]
        assert {"extractive", "given"} <= writers.keys()
        assert sum(counts["in"] for counts in writers.values()) == manifest["counts"]["in"]
        assert sum(counts["kept"] for counts in writers.values()) == manifest["counts"]["kept"]


def test_pairs_that_were_scored_are_not_scored_again(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished.root, root)
    for stage in ("evaluate", "report"):
        shutil.rmtree(root / stage)

    def refuse(*_: object) -> None:
        raise AssertionError("a pair is scored again")

    monkeypatch.setattr(scoring, "score_prepared", refuse)
    run_recipe(recipe_from(finished.content, "tiny"), root)
    assert results_by_hash(root) == results_by_hash(finished.root)


def test_the_published_score_tells_own_documents_from_others_as_often_right(finished: Finished) -> None:
    lists = read_records(finished.folders["lists"] / "lists.parquet", TrainingList)
    queries = {query.query_id: query for query in read_records(finished.folders["queries"] / "queries.parquet", Query)}
    settings = recipe_from(finished.content, "tiny")
    with open_parts(settings, ItemStore(finished.root / "items.sqlite")) as parts:
        parts.context.folders.update(finished.folders)
        training.training_texts(parts.students)
        student = parts.students.untrained()
        merged = load_file(finished.folders["merge"] / "merged.safetensors")
        student.load_trained({name: torch.from_numpy(tensor) for name, tensor in merged.items()})
        weighing = HeadScorer(settings.rerank_depth, settings.corpus, parts.first_stages, parts.students)
        heads = weighing.held_out(student, weighing_queries(lists, queries))["hybrid"]
    own = np.concatenate([head.own for head in heads]) == 1
    scores = expit(np.concatenate([head.logits for head in heads]))
    assert scores[own].mean() == pytest.approx(1 - scores[~own].mean(), abs=1e-3)


def test_judged_questions_weigh_the_first_stages_as_the_evaluation_measures_them(
    finished: Finished, tmp_path: Path
) -> None:
    root, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(finished.root, root)
    shutil.copytree(finished.content["corpus"]["target"], elsewhere)
    content = changed(changed(finished.content, "merge.weigh_on", str(elsewhere)), "evaluate.depth", 10)
    folders = run_recipe(recipe_from(content, "tiny"), root)
    assert folders["train"].name == finished.folders["train"].name
    curves = read_json(folders["merge"] / "path.json")["weight_curves"]
    figures = read_json(folders["evaluate"] / "results.json")["sets"]["tiny"]["figures"]
    for first_stage, curve in curves.items():
        alone = dict(map(tuple, curve))[0.0]
        found_by = ["bm25", "hybrid"] if first_stage in ("order", "other") else [first_stage]
        assert alone == pytest.approx(np.mean([figures[f"merged@{name}"]["nDCG@10"] for name in found_by]), abs=1e-6)
    (elsewhere / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq/en/0\ten/1\t1\n", encoding="utf-8")
    again = run_recipe(recipe_from(content, "tiny"), root, until="merge")
    assert again["train"].name == folders["train"].name
    assert read_json(again["merge"] / "path.json")["weight_curves"] != curves


def test_graded_questions_decide_a_merge_by_what_the_model_makes_of_them(finished: Finished, tmp_path: Path) -> None:
    root, judged = tmp_path / "run", tmp_path / "judged"
    shutil.copytree(finished.root, root)
    shutil.copytree(finished.content["corpus"]["target"], judged)
    documents = [json.loads(line) for line in (judged / "corpus.jsonl").read_text("utf-8").splitlines()]
    queries = [json.loads(line) for line in (judged / "queries.jsonl").read_text("utf-8").splitlines()]
    rng = np.random.default_rng(0)
    grades = {q["_id"]: dict(zip(rng.permutation(20)[:8].tolist(), [2, 1, *[0] * 6], strict=True)) for q in queries}
    rows = (f"{q}\t{documents[d]['_id']}\t{grade}" for q, own in grades.items() for d, grade in own.items())
    (judged / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    content = changed(finished.content, "merge.judged", str(judged))
    folders = run_recipe(recipe_from(content, "tiny"), root, until="merge")
    assert folders["train"].name == finished.folders["train"].name
    path = read_json(folders["merge"] / "path.json")
    assert path["gate"] == {"by": "grades", "questions": len(queries)}
    assert path["domains"] == ["graded questions"]
    reranker = Reranker(folders["merge"] / "model")
    found = []
    for query in queries:
        own = grades[query["_id"]]
        logits = reranker.score_pairs([(query["text"], documents[place]["text"]) for place in own]).logits
        found.append(ndcg_score([list(own.values())], [logits], k=10))
    assert path["agreement"]["merged"]["graded questions"] == pytest.approx(np.mean(found), abs=1e-3)
    assert path["agreement"]["merged"] == max(path["agreement"].values(), key=lambda one: one["graded questions"])
    card = (folders["merge"] / "model" / "README.md").read_text("utf-8")
    assert "Graded questions of judged decided what was merged; figures on them flatter it." in card
    (judged / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq/en/0\ten/1\t1\n", encoding="utf-8")
    with pytest.raises(TamisError, match="no question has documents of different grades"):
        run_recipe(recipe_from(content, "tiny"), root, until="merge")


@pytest.mark.parametrize("setting", ["merge.judged", "merge.weigh_on"])
def test_what_judges_a_merge_is_read_before_anything_is_run(
    recipe: dict[str, Any], tmp_path: Path, setting: str
) -> None:
    judged = write_beir(tmp_path / "judged")
    content, root = changed(recipe, setting, str(judged)), tmp_path / "run"
    for line, complaint in (("q/en/0\ten/1\thigh", "test.tsv, line 2: expected"), ("x\ten/1\t1", "belong together")):
        (judged / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{line}\n", encoding="utf-8")
        with pytest.raises(InputError, match=complaint):
            run_recipe(recipe_from(content, "tiny"), root, until="report")
        assert not root.exists()


def test_a_reranker_that_teaches_alone_gives_its_logits_and_is_asked_once(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = finished.folders["merge"] / "model"
    alone = {"dense": 0, "bm25": 0, "use": 0, "seed_bonus": 0, "teachers": [{"kind": "reranker", "path": str(teacher)}]}
    content = changed(finished.content, "scores", alone) | {"precision": "float32"}
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="scores")
    queries = {query.query_id: query for query in read_records(folders["queries"] / "queries.parquet", Query)}
    documents = {d.doc_id: d for d in read_records(folders["corpus"] / "corpus.parquet", Document)}
    reranker = Reranker(teacher)
    for found in read_records(folders["scores"] / "scores.parquet", ScoredCandidates):
        text = queries[found.query_id].text
        logits = reranker.score_pairs([(text, documents[doc_id].text) for doc_id in found.doc_ids]).logits
        np.testing.assert_allclose(found.teacher, z_scores(logits), atol=1e-3)
    shutil.rmtree(tmp_path / "run" / "scores")
    monkeypatch.setattr(Reranker, "score_pairs", lambda *_: pytest.fail("a query is scored again"))
    run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="scores")


def test_a_bi_encoder_that_teaches_alone_gives_its_cosines(
    finished: Finished, tmp_path: Path, tiny_encoder: Path
) -> None:
    one = {"kind": "encoder", "path": str(tiny_encoder), "query_prefix": "ask: ", "pooling": "cls", "max_length": 24}
    alone = {"dense": 0, "bm25": 0, "use": 0, "seed_bonus": 0, "teachers": [one]}
    content = changed(finished.content, "scores", alone) | {"precision": "float32"}
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="scores")
    queries = {query.query_id: query.text for query in read_records(folders["queries"] / "queries.parquet", Query)}
    documents = {d.doc_id: d.text for d in read_records(folders["corpus"] / "corpus.parquet", Document)}
    embedder = Embedder(tiny_encoder, "cls")
    for found in read_records(folders["scores"] / "scores.parquet", ScoredCandidates)[:8]:
        query = embedder.embed([queries[found.query_id]], "ask: ", 24)[0]
        cosines = embedder.embed([documents[doc_id] for doc_id in found.doc_ids], "", 24) @ query
        np.testing.assert_allclose(found.teacher, z_scores(cosines), atol=1e-3)


def test_a_changed_reranker_teaches_anew(finished: Finished, tmp_path: Path) -> None:
    teacher = shutil.copytree(finished.folders["merge"] / "model", tmp_path / "teacher")
    content = changed(finished.content, "scores.teachers", [{"kind": "reranker", "path": str(teacher)}])
    before = keys(content)
    (teacher / "README.md").write_text("another one")
    after = keys(content)
    assert [name for name in NAMES if before[name] != after[name]] == list(NAMES[NAMES.index("scores") :])


def test_a_gpu_that_is_asked_for_and_not_there_is_said_at_once(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    content = changed(finished.content, "machine.device", "cuda")
    with pytest.raises(SettingsError, match=r"machine\.device is cuda, but torch sees no GPU"):
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run")


def given_or_written(origins: dict[str, str]) -> dict[str, Query]:
    """Given queries of general documents, written ones of the target, and for `log` queries without a document."""
    return {
        query_id: Query(query_id, "", "de", "target", "", "given")
        if origin == "log"
        else Query(query_id, "", "de", origin, "d", "given" if origin == "general" else "any")
        for query_id, origin in origins.items()
    }


@pytest.mark.parametrize(("share", "expected"), [(0.0, "gg"), (0.5, "ggt"), (1.0, "ggtt"), (9.0, "ggttt")])
def test_the_general_step_mixes_written_queries_into_given_ones(share: float, expected: str) -> None:
    origins = {"g0": "general", "g1": "general", "t0": "target", "t1": "target", "t2": "target"}
    queries = given_or_written(origins)
    lists = [TrainingList(query_id, "x", "train", ("a", "b"), (0.0, 1.0), (0, 1), (1.0, 0.0)) for query_id in queries]

    def learnt(some: list[TrainingList]) -> list[TrainingList]:
        weight = training.list_weights(some, queries, TrainSettings(written_per_given=share))
        return [one for one in lists if weight(one) == 1.0]

    assert "".join(one.query_id[0] for one in learnt(lists)) == expected
    written = [one for one in lists if one.query_id[0] == "t"]
    assert learnt(written) == written
    fewest = {one.query_id for one in learnt(lists)} - {"g0", "g1"}
    by_hash = sorted(written, key=lambda one: tie_key("list", one.query_id))
    assert fewest == {one.query_id for one in by_hash[: len(fewest)]}


def test_given_and_written_queries_judge_in_turn() -> None:
    origins = {"g0": "general", "g1": "general", "t0": "target", "t1": "target", "t2": "target", "other": "target"}
    queries = given_or_written(origins)
    lists = [
        TrainingList(i, "y" if i == "other" else "x", "held-out", ("a", "b"), (0.0, 1.0), (0, 1), (1.0, 0.0))
        for i in queries
    ]
    drawn = held_out.held_out_lists(lists, queries, "x", 9)
    assert "".join(one.query_id[0] for one in drawn) == "tgtgt"
    assert held_out.held_out_lists(lists[::-1], queries, "x", 3) == drawn[:3]
    trained_on = [replace(one, split="train") for one in lists]
    assert held_out.held_out_lists(trained_on, queries, "x", 9) == []


def test_a_log_is_learnt_from_beside_all_that_was_there_and_weighs_no_first_stage() -> None:
    origins = {"t0": "target", "t1": "target", "l0": "log", "l1": "log", "g0": "general"}
    queries = given_or_written(origins)
    lists = {
        split: [TrainingList(i, "x", split, ("a", "b"), (0.0, 1.0), (0, 1), (1.0, 0.0)) for i in queries]
        for split in ("train", "held-out")
    }

    def learnt(names: str) -> str:
        some = [one for one in lists["train"] if one.query_id[0] in names]
        weight = training.list_weights(some, queries, TrainSettings(written_per_given=1.0))
        return "".join(sorted(one.query_id[0] for one in some if weight(one) > 0))

    assert learnt("tl") == "lltt"  # however few the log holds
    assert learnt("tlg") == "gllt"  # as many written ones as without the log
    in_turn = held_out.held_out_lists(lists["held-out"], queries, "x", 4)
    assert [queries[one.query_id].generator for one in in_turn] == ["any", "given"] * 2
    assert [query.query_id for query in weighing_queries(lists["held-out"], queries)] == ["g0"]
    logged = [one for one in lists["held-out"] if one.query_id[0] == "l"]
    assert weighing_queries(logged, queries) == []


def test_given_queries_weigh_the_first_stages_and_written_ones_where_none_are_given() -> None:
    origins = {"g0": "general", "g1": "general", "t0": "target", "t1": "target"}
    queries = given_or_written(origins)
    splits = {"g0": "train", "g1": "held-out", "t0": "held-out", "t1": "train"}
    lists = [TrainingList(i, "x", splits[i], ("a", "b"), (0.0, 1.0), (0, 1), (1.0, 0.0)) for i in queries]
    assert [query.query_id for query in weighing_queries(lists, queries)] == ["g1"]
    assert [query.query_id for query in weighing_queries(lists[2:], queries)] == ["t0"]


def test_what_a_stage_keeps_is_what_the_next_one_gets(finished: Finished) -> None:
    counts = {stage: manifest["counts"] for stage, manifest in manifests(finished.root).items()}
    for stage, reads in (("candidates", "queries"), ("scores", "candidates"), ("lists", "scores"), ("train", "lists")):
        assert counts[stage]["in"] == counts[reads]["kept"]


def test_results_name_every_system_and_language(finished: Finished) -> None:
    results = read_json(finished.folders["evaluate"] / "results.json")
    found = results["sets"]["tiny"]
    systems = {system["name"] for system in found["systems"]}
    assert {"bm25", "dense", "hybrid", "teacher", "untrained~bm25", "merged@bm25", "merged+hybrid"} <= systems
    by_language = {language: group["figures"] for language, group in found["groups"]["language"].items()}
    assert by_language.keys() == {"de", "en"}
    assert found["figures"].keys() == by_language["de"].keys() == systems
    for system, own in found["figures"].items():
        assert own["nDCG@10"] == pytest.approx(np.mean([figures[system] for figures in by_language.values()]))
    assert results["run"]["domains"] == {"english": ["en"], "german": ["de"]}
    domains = {domain: group["figures"] for domain, group in found["groups"]["domain"].items()}
    assert domains == {"english": by_language["en"], "german": by_language["de"]}
    assert {name: own["lineage"]["teacher"] for name, own in results["models"].items()} == {
        "untrained": None,
        "specialists": "1 bi-encoder + 0.5 BM25",
        "merged": "1 bi-encoder + 0.5 BM25",
    }


def test_what_adaptation_added_is_tested_beside_everything_else(finished: Finished) -> None:
    found = read_json(finished.folders["evaluate"] / "results.json")["sets"]["tiny"]
    tested = found["comparisons"]
    pairs = [(entry["system"], entry["baseline"]) for entry in tested[-4:]]
    assert pairs == [(f"merged{way}", f"untrained{way}") for way in ("~bm25", "~hybrid", "@bm25", "+hybrid")]
    for entry in tested:
        means = [found["figures"][entry[side]]["nDCG@10"] for side in ("system", "baseline")]
        assert entry["difference"] == pytest.approx(means[0] - means[1])
        assert entry["wins"] + entry["ties"] + entry["losses"] == found["questions"]
    assert [entry["p_holm"] for entry in tested] == pytest.approx(holm([entry["p_value"] for entry in tested]))
    page = (finished.folders["report"] / "report.html").read_text(encoding="utf-8")
    assert "Adaptation itself " in page.split("<main")[0]


def test_the_figures_are_those_of_the_run_files(finished: Finished) -> None:
    found = read_json(finished.folders["evaluate"] / "results.json")["sets"]["tiny"]
    lines = (
        (finished.folders["evaluate"] / "sets" / "tiny" / "runs" / "merged+hybrid.trec")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    rank_of_answer = {}
    for query_id, _, doc_id, rank, _, _ in (line.split() for line in lines):
        if query_id == f"q/{doc_id}":  # the only relevant document of each question
            rank_of_answer[query_id] = int(rank)
    for language, group in found["groups"]["language"].items():
        ranks = [rank_of_answer.get(f"q/{language}/{number}", 11) for number in range(10)]
        expected = np.mean([1 / np.log2(rank + 1) if rank <= 10 else 0 for rank in ranks])
        assert group["figures"]["merged+hybrid"] == pytest.approx(expected)


def test_as_served_is_the_merged_models_logits_and_the_order_by_the_weights_of_its_checkpoint(
    finished: Finished, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished.root, root)
    shutil.rmtree(root / "evaluate")
    model = root / "merge" / finished.folders["merge"].name / "model"
    facts = read_json(model / "tamis.json")
    weights = {"first_stage_weights": {"order": 0.5, "bm25": 1.0}, "weights_by_language": {"order": {"de": 2.0}}}
    (model / "tamis.json").write_text(json.dumps(facts | weights), encoding="utf-8")
    evaluated = run_recipe(recipe_from(finished.content, "tiny"), root, "evaluate")["evaluate"]
    texts = {one.doc_id: one.text for one in read_records(finished.folders["corpus"] / "corpus.parquet", Document)}
    table = pq.read_table(evaluated / "per_query.parquet", filters=[("system", "=", "bm25")]).to_pydict()
    reranker = Reranker(model)
    for query_id, text in list(zip(table["query_id"], table["text"], strict=True))[::4]:
        runs = [evaluated / "sets" / "tiny" / "runs" / f"{name}.trec" for name in ("bm25", "merged~bm25")]
        first, served = (
            [line.split()[2] for line in run.read_text("utf-8").splitlines() if line.split()[0] == query_id]
            for run in runs
        )
        head = first[: finished.content["evaluate"]["depth"]]
        logits = reranker.score_pairs([(text, texts[doc_id]) for doc_id in head]).logits.astype(np.float64)
        weight = 2.0 if query_id.startswith("q/de") else 0.5
        told = zscore(logits) + weight * zscore([-np.log(rank) for rank in range(1, len(head) + 1)])
        assert served == [*(head[i] for i in np.argsort(-told)), *first[len(head) :]]


def test_the_model_folder_loads_and_ranks(finished: Finished) -> None:
    documents = ["The system clock runs in universal time.", "Add a user with the adduser script.", "Printing"]
    ranked = Reranker(finished.folders["merge"] / "model").rank("How do I add a user?", documents)
    assert sorted(entry["corpus_id"] for entry in ranked) == [0, 1, 2]
    assert [entry["score"] for entry in ranked] == sorted((entry["score"] for entry in ranked), reverse=True)


def test_the_report_is_one_page_with_the_name_of_the_recipe(finished: Finished) -> None:
    page = (finished.folders["report"] / "report.html").read_text(encoding="utf-8")
    assert "tiny" in page
    assert "<table" in page


def test_until_a_stage_that_is_not_there_names_those_that_are(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no stage 'merg'; the stages are corpus, queries, .*, merge, evaluate"):
        run_recipe(recipe_from(finished.content, "tiny"), tmp_path / "run", "merg")


# Where candidates come from


def write_run(path: Path, answers: dict[str, list[str]]) -> str:
    lines = [f"{q} Q0 {doc} {n} {-n} mine" for q, found in answers.items() for n, doc in enumerate(found)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_runs_of_ones_own_engine_are_mined_from_and_reranked(recipe: dict[str, Any], tmp_path: Path) -> None:
    numbers = range(10)
    answers = {f"q/en/{n}": [f"en/{n}", "left/out", f"en/{(n + 1) % 10}", f"de/{n}"] for n in numbers}
    recipe["evaluate"]["runs"] = {"mine": write_run(tmp_path / "judged.trec", answers)}
    given = {f"q/g-de/{n}": [f"g-de/{i}" for i in (n, *numbers) if i in (n, 0, 5, 9)][-4:] for n in numbers[1:5]}
    given = {query: list(dict.fromkeys(docs)) for query, docs in given.items()}
    recipe["candidates"] |= {
        "runs": {"general": write_run(tmp_path / "given.trec", given)},
        "fusion": "weighted",
        "languages": "any",
    }
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run")
    candidates = read_records(folders["candidates"] / "candidates.parquet", Candidates)
    mined = {one.query_id: one.doc_ids for one in candidates if one.query_id.startswith("given/")}
    expected = {f"given/{q}/general:{q[2:]}": tuple(f"general:{d}" for d in docs) for q, docs in given.items()}
    assert mined == expected
    counts = read_json(folders["candidates"] / "manifest.json")["counts"]
    assert counts["dropped"] == {"fewer than two documents in the given run": 16}
    written = {doc.split("/")[0] for one in candidates if one.query_id not in mined for doc in one.doc_ids}
    assert written == {"en", "de"}
    found = read_json(folders["evaluate"] / "results.json")["sets"]["tiny"]
    names = {system["name"] for system in found["systems"]}
    assert {"mine", "untrained~mine", "specialists+mine", "merged@mine", "merged+mine"} <= names
    german, english = (found["groups"]["language"][language]["figures"] for language in ("de", "en"))
    assert (german["mine"], english["mine"]) == (0.0, 1.0)
    assert german["merged@mine"] == 0.0
    assert english["merged@mine"] > 0.4
    assert read_json(folders["evaluate"] / "manifest.json")["unknown_documents_of_runs"] == {"mine": 10}
    assert "mine" in (folders["report"] / "report.html").read_text(encoding="utf-8")


def test_questions_may_be_answered_in_other_languages_only(recipe: dict[str, Any], tmp_path: Path) -> None:
    judged = [f"q/{a}/{n}\t{b}/{n}\t1" for n in range(10) for a, b in (("en", "de"), ("de", "en"))]
    lines = ["query-id\tcorpus-id\tscore", *judged, *(f"q/en/{n}\ten/{n}\t1" for n in range(10))]
    (tmp_path / "corpus" / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe["candidates"]["languages"] = "cross"
    recipe["lists"]["round_trip"] = 20
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run", "evaluate")
    for one in read_records(folders["candidates"] / "candidates.parquet", Candidates):
        own = one.query_id.rsplit("/", 2)[1].rpartition("-")[2].rpartition(":")[2]
        languages = [doc_id.rpartition(":")[2].removeprefix("g-").split("/")[0] for doc_id in one.doc_ids]
        assert own not in languages[:-1]
        assert languages[-1] == own
    groups = read_json(folders["evaluate"] / "results.json")["sets"]["tiny"]["groups"]
    assert {name: group["questions"] for name, group in groups["language"].items()} == {"de": 10, "en": 10}
    for run in ("hybrid", "merged+hybrid"):
        for line in (
            (folders["evaluate"] / "sets" / "tiny" / "runs" / f"{run}.trec").read_text(encoding="utf-8").splitlines()
        ):
            query_id, _, doc_id, *_ = line.split()
            assert query_id.split("/")[1] != doc_id.split("/")[0]


def test_texts_are_embedded_once_and_kept_in_a_file(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(finished.root, tmp_path / "run")
    for stage in ("candidates", "scores", "lists", "merge", "evaluate"):
        shutil.rmtree(root / stage)
    monkeypatch.setattr(Encoder, "embed", lambda *_: pytest.fail("a text is embedded again"))
    run_recipe(recipe_from(finished.content, "tiny"), root, "evaluate")
    monkeypatch.undo()
    assert results_by_hash(root).items() <= results_by_hash(finished.root).items()
    for file in (root / "vectors").iterdir():
        file.unlink()
    shutil.rmtree(root / "candidates")
    with pytest.raises(TamisError, match=r"\.f32: is gone; delete items\.sqlite and the vectors folder beside it"):
        run_recipe(recipe_from(finished.content, "tiny"), root, "candidates")


def test_a_missing_run_is_named_before_any_work(recipe: dict[str, Any], tmp_path: Path) -> None:
    for section in ("candidates", "evaluate"):
        content = changed(recipe, f"{section}.runs", {"general": "nowhere.trec"})
        with pytest.raises(TamisError, match=rf"nowhere\.trec: not found; the recipe's {section} section names it"):
            run_recipe(recipe_from(content, "tiny"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What is read


def write_opened_files(log: Path) -> None:
    """Append the name of every file that this process opens to a log."""
    stream = log.open("a", encoding="utf-8")

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            stream.write(f"{os.fsdecode(arguments[0])}\n")
            stream.flush()

    sys.addaudithook(audit)


def test_no_stage_before_evaluate_opens_the_judged_questions(recipe: dict[str, Any], tmp_path: Path) -> None:
    opened = tmp_path / "opened.txt"
    arguments = ("run", write_recipe(recipe, tmp_path), "--out", tmp_path / "run", "--until")
    prepare = functools.partial(write_opened_files, opened)
    questions = {str(tmp_path / "corpus" / "queries.jsonl"), str(tmp_path / "corpus" / "qrels" / "test.tsv")}

    first = start(tmp_path / "log.txt", *arguments, "merge", prepare=prepare)
    first.join()
    names = set(opened.read_text(encoding="utf-8").splitlines())
    assert first.exitcode == 0
    assert str(tmp_path / "corpus" / "corpus.jsonl") in names
    assert str(tmp_path / "general" / "queries.jsonl") in names
    assert not questions & names

    second = start(tmp_path / "log.txt", *arguments, "evaluate", prepare=prepare)
    second.join()
    assert questions <= set(opened.read_text(encoding="utf-8").splitlines())


def test_without_the_judged_questions_all_is_as_before_up_to_merge(finished: Finished, tmp_path: Path) -> None:
    content = json.loads(json.dumps(finished.content))
    target = shutil.copytree(content["corpus"]["target"], tmp_path / "corpus")
    (target / "queries.jsonl").unlink()
    shutil.rmtree(target / "qrels")
    content["corpus"]["target"] = str(target)
    content["evaluate"] |= {"queries": str(target / "queries.jsonl"), "qrels": str(target / "qrels" / "test.tsv")}
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "merge")
    assert {stage: folder.name for stage, folder in folders.items()} == {
        stage: finished.folders[stage].name for stage in EARLY
    }
    assert results_by_hash(tmp_path / "run") == {
        stage: files for stage, files in results_by_hash(finished.root).items() if stage in EARLY
    }


def test_missing_questions_are_named_before_any_work(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "corpus" / "qrels" / "test.tsv").unlink()
    with pytest.raises(TamisError, match=r"qrels/test\.tsv: not found; the recipe's evaluate section names it"):
        run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_questions_that_weigh_are_named_before_any_work(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "general" / "queries.jsonl").unlink()
    content = changed(recipe, "merge.weigh_on", str(tmp_path / "general")) | {
        "corpus": {"target": str(tmp_path / "corpus")}
    }
    with pytest.raises(TamisError, match=r"queries\.jsonl: not found; the recipe's merge section names it"):
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "merge")
    assert not (tmp_path / "run").exists()


# What is reused


def test_a_second_run_reuses_every_stage_and_loads_no_model(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("loaded")

    monkeypatch.setattr(Encoder, "load", refuse)
    assert run_and_list_reused(finished.content, finished.root) == list(NAMES)


def test_settings_of_the_machine_rebuild_nothing(finished: Finished) -> None:
    content = {**finished.content, "machine": {"threads": 1, "token_budget": 4096}}
    assert run_and_list_reused(content, finished.root) == list(NAMES)


def test_other_lists_rebuild_the_lists_and_what_follows_only(finished: Finished, tmp_path: Path) -> None:
    root = shutil.copytree(finished.root, tmp_path / "run")
    content = changed(finished.content, "lists.documents", 3)
    assert run_and_list_reused(content, root) == ["corpus", "queries", "candidates", "scores"]
    assert run_and_list_reused(finished.content, root) == list(NAMES)  # the old results still lie beside the new ones


def test_keys_are_known_without_a_run(finished: Finished) -> None:
    """What each setting does to them: test_reuse.py."""
    assert keys(finished.content) == {stage: folder.name for stage, folder in finished.folders.items()}


@pytest.mark.parametrize(
    ("file", "first"),
    [
        ("corpus/corpus.jsonl", "corpus"),
        ("general/corpus.jsonl", "corpus"),
        ("general/queries.jsonl", "corpus"),
        ("general/qrels/test.tsv", "corpus"),
        ("encoder/model.safetensors", "candidates"),
        ("encoder/tokenizer.json", "queries"),
        ("corpus/queries.jsonl", "evaluate"),
        ("corpus/qrels/test.tsv", "evaluate"),
        ("corpus/README.txt", None),
    ],
)
def test_a_changed_file_changes_the_keys_from_the_stage_that_reads_it(
    recipe: dict[str, Any], tmp_path: Path, tiny_encoder: Path, file: str, first: str | None
) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    content = changed(recipe, "candidates.dense.path", str(tmp_path / "encoder"))
    before = keys(content)
    with (tmp_path / file).open("a", encoding="utf-8") as stream:
        stream.write("\n")
    after = keys(content)
    assert [stage for stage in NAMES if before[stage] != after[stage]] == list(
        NAMES[NAMES.index(first) :] if first else ()
    )


def test_questions_beside_text_files_are_no_part_of_the_corpus(recipe: dict[str, Any], tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("Log files are written by a daemon.", encoding="utf-8")
    content = changed(recipe, "corpus.target", str(texts))
    before = keys(content)
    (texts / "queries.jsonl").write_text("{}\n", encoding="utf-8")
    assert keys(content) == before
    (texts / "a.txt").rename(texts / "b.txt")
    assert keys(content)["corpus"] != before["corpus"]


# Corpora and recipes at the edge of what makes sense


def test_one_domain_needs_no_merge_and_gives_the_best_single_student(recipe: dict[str, Any], tmp_path: Path) -> None:
    corpus = write_beir(tmp_path / "english", languages=("en",))
    recipe["corpus"] = {"target": str(corpus)}
    recipe["lists"]["domains"] = {"english": ["en"]}
    recipe["evaluate"] |= {"queries": str(corpus / "queries.jsonl"), "qrels": str(corpus / "qrels" / "test.tsv")}
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run")
    merged = load_file(folders["merge"] / "merged.safetensors")
    path = read_json(folders["merge"] / "path.json")
    (taken,) = path["order"]
    student = load_file(folders["train"] / f"{taken}.safetensors")
    assert merged.keys() == student.keys()
    assert all(np.array_equal(merged[name], student[name]) for name in merged if name != "bias")
    assert path["steps"] == path["t_curves"] == []
    assert all(path["agreement"]["merged"]["english"] >= found["english"] for found in path["agreement"].values())
    assert (folders["report"] / "report.html").is_file()


def test_without_judged_questions_the_report_is_written_all_the_same(finished: Finished, tmp_path: Path) -> None:
    content = {name: section for name, section in finished.content.items() if name != "evaluate"}
    folders = run_recipe(recipe_from(content, "tiny"), shutil.copytree(finished.root, tmp_path / "run"))
    assert "evaluate" not in folders
    assert "How they were merged" in (folders["report"] / "report.html").read_text(encoding="utf-8")


def test_a_language_with_a_single_document_is_measured_with_the_general_student(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus" / "corpus.jsonl"
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    corpus.write_text("".join(lines[:11]), encoding="utf-8")  # ten English documents and one German one
    recipe["corpus"]["general"] = []
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run", "evaluate")
    assert not (folders["train"] / "german.safetensors").exists()
    found = read_json(folders["evaluate"] / "results.json")["sets"]["tiny"]
    questions = {name: group["questions"] for name, group in found["groups"]["language"].items()}
    assert questions == {"de": 1, "en": 10}
    assert found["notes"] == ["9 questions are left out: no relevant document in the corpus"]
    assert read_json(folders["evaluate"] / "manifest.json")["counts"] == {
        "in": 20,
        "kept": 11,
        "dropped": {"no relevant document in the corpus": 9},
    }


def test_ids_with_spaces_go_through(recipe: dict[str, Any], tmp_path: Path) -> None:
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = tmp_path / "corpus" / name
        path.write_text(path.read_text(encoding="utf-8").replace("en/", "my notes/"), encoding="utf-8")
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run")
    assert (folders["report"] / "report.html").is_file()


# What a kill costs


@dataclass(frozen=True)
class Undisturbed:
    """A run in a process of its own that nothing stopped; its report would show seconds, so it goes up to evaluate."""

    recipe: Path
    seconds: float
    results: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def undisturbed(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    base = tmp_path_factory.mktemp("undisturbed")
    recipe = write_recipe(finished.content, base)
    start(base / "log.txt", "--help").join()  # the first process waits for the imports of the fork server
    began = time.monotonic()
    process = start(base / "log.txt", "run", recipe, "--out", base / "run", "--until", "evaluate")
    process.join()
    assert process.exitcode == 0, (base / "log.txt").read_text(encoding="utf-8")
    return Undisturbed(recipe, time.monotonic() - began, results_by_hash(base / "run"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 23))])
def test_a_run_killed_at_any_moment_goes_on_and_ends_with_the_same_bits(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    moment = random.Random(seed).uniform(0, undisturbed.seconds)
    kill_and_go_on(undisturbed, tmp_path, lambda killed, log: killed.join(moment))


@pytest.mark.parametrize(
    "stage",
    [
        "train",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("corpus", "queries", "candidates", "lists", "merge")),
    ],
)
def test_a_run_killed_soon_after_a_stage_goes_on_and_ends_with_the_same_bits(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    def wait(killed: BaseProcess, log: Path) -> None:
        wait_for(killed, log, f"] {stage}")
        killed.join(random.Random(stage).uniform(0, 0.1))

    kill_and_go_on(undisturbed, tmp_path, wait)


def test_a_state_of_a_training_that_could_not_be_removed_is_removed_when_the_run_goes_on(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.stages.train.train.SAVE_SECONDS", 0.0)
    content = finished.content | {"train": finished.content.get("train", {}) | {"learning_rate": 2e-3}}
    root = shutil.copytree(finished.root, tmp_path / "run")

    def stays(_: StateFile) -> None:
        raise RunError("cannot be removed")

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "forget", stays)
        with pytest.raises(RunError, match="cannot be removed"):
            run_recipe(recipe_from(content, "tiny"), root, "train")
    assert list((root / "unfinished").glob("*.safetensors"))
    run_recipe(recipe_from(content, "tiny"), root, "train")
    assert not list((root / "unfinished").glob("*.safetensors"))


def kill_and_go_on(undisturbed: Undisturbed, tmp_path: Path, wait: Callable[[BaseProcess, Path], None]) -> None:
    log = tmp_path / "log.txt"
    command = (log, "run", undisturbed.recipe, "--out", tmp_path / "run", "--until", "evaluate")
    killed = start(*command)
    wait(killed, log)
    killed.kill()
    killed.join()
    assert killed.exitcode in (-signal.SIGKILL, 0)
    again = start(*command)
    again.join()
    assert again.exitcode == 0, log.read_text(encoding="utf-8")
    assert results_by_hash(tmp_path / "run") == undisturbed.results
    assert not list((tmp_path / "run").glob("*/.*.part"))


def wait_for(process: BaseProcess, log: Path, text: str) -> None:
    """Wait until a process has written something to its log, or has ended."""
    while process.is_alive() and not (log.exists() and text in log.read_text(encoding="utf-8")):
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_still_arrives(undisturbed: Undisturbed, tmp_path: Path) -> None:
    for attempt in range(1, 100):
        process = start(tmp_path / "log.txt", "run", undisturbed.recipe, "--out", tmp_path / "run")
        process.join(0.15 * attempt * undisturbed.seconds)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
    assert results_by_hash(tmp_path / "run") == undisturbed.results


def listen_to_ctrl_c() -> None:
    """What a terminal's process does; one started in the background is born deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_ends_with_one_line_and_the_next_run_goes_on(undisturbed: Undisturbed, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    command = (log, "run", undisturbed.recipe, "--out", tmp_path / "run", "--until", "evaluate")
    stopped = start(*command, prepare=listen_to_ctrl_c)
    wait_for(stopped, log, "] corpus")
    assert stopped.pid
    os.kill(stopped.pid, signal.SIGINT)
    stopped.join()
    *stages, last = log.read_text(encoding="utf-8").splitlines()
    assert stopped.exitcode == 130
    assert last == "tamis: stopped; what was finished is kept, run the same command again to go on"
    assert all(line.startswith("[") for line in stages)
    again = start(*command)
    again.join()
    assert again.exitcode == 0
    assert "[1/9] corpus        reused" in log.read_text(encoding="utf-8")
    assert results_by_hash(tmp_path / "run") == undisturbed.results


def test_general_documents_outside_every_list_are_no_obstacle(recipe: dict[str, Any], tmp_path: Path):
    recipe["lists"]["documents"] = 2
    recipe["merge"]["held_out"] = 3
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run", "merge")
    assert (folders["merge"] / "model" / "model.safetensors").exists()


def run_in_two_processes(content: dict[str, Any], tmp_path: Path) -> None:
    recipe = write_recipe(content, tmp_path)
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*started, "-m", "tamis", "run", str(recipe), "--out", str(tmp_path / "run"), "--until", "merge"]
    environment = {"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=240)


@pytest.mark.slow  # what they learn is compared in test_team.py
def test_two_processes_run_a_recipe_as_one(finished: Finished, tmp_path: Path) -> None:
    run_in_two_processes(finished.content, tmp_path)
    one, two = results_by_hash(finished.root), results_by_hash(tmp_path / "run")
    assert all(two[stage] == one[stage] for stage in ("corpus", "queries", "candidates", "scores", "lists"))
    folder = next((tmp_path / "run" / "train").iterdir())
    assert folder.name == finished.folders["train"].name
    for name in ("general", "english", "german"):
        expected = load_file(finished.folders["train"] / f"{name}.safetensors")
        for key, tensor in load_file(folder / f"{name}.safetensors").items():
            np.testing.assert_allclose(tensor, expected[key], atol=2e-4)


@pytest.mark.slow
def test_processes_that_shard_the_student_run_a_recipe_as_one(finished: Finished, tmp_path: Path) -> None:
    content = changed(changed(finished.content, "student", {"head": "stock"}), "machine.shard", True)
    alone = run_recipe(recipe_from(content, "tiny"), tmp_path / "alone", "merge")
    run_in_two_processes(content, tmp_path)
    for name in ("general", "english", "german"):
        expected = load_file(alone["train"] / f"{name}.safetensors")
        found = load_file(tmp_path / "run" / "train" / alone["train"].name / f"{name}.safetensors")
        assert found.keys() == expected.keys()
        for key, tensor in found.items():
            np.testing.assert_allclose(tensor, expected[key], atol=2e-4)


def test_a_warm_start_is_not_sharded(finished: Finished, tmp_path: Path) -> None:
    student = {"head": "own", "start": str(finished.folders["merge"] / "model")}
    recipe = recipe_from(changed(changed(finished.content, "student", student), "machine.shard", True), "tiny")
    with (
        open_parts(recipe, ItemStore(tmp_path / "items.sqlite")) as parts,
        pytest.raises(SettingsError, match=r"^machine\.shard is for students that learn all .*model is a warm one"),
    ):
        parts.students.untrained()


@pytest.mark.parametrize("apart", [0, 1])
def test_students_of_a_warm_start_share_what_never_learns_and_nothing_else(
    finished: Finished, tmp_path: Path, apart: int
) -> None:
    model = finished.folders["merge"] / "model"
    student = {"head": "own", "start": str(model), "apart_layers": apart}
    recipe = recipe_from(changed(finished.content, "student", student), "tiny")
    with open_parts(recipe, ItemStore(tmp_path / "items.sqlite")) as parts:
        first, second = parts.students.untrained(), parts.students.untrained()
        machine = parts.context.machine
        alone = load_warm(model, read_facts(model), machine.precision, machine.token_budget)
        alone.learn_apart(apart)
    assert first.body.embeddings is second.body.embeddings
    assert (first.body is second.body) == (apart == 0)
    pairs = [("where do keys lie", "keys lie in the drawer"), ("who pays", "whoever broke it pays"), ("why", "so")]
    expected = logits(alone, pairs)
    second.load_trained({name: tensor + 0.1 for name, tensor in second.trained().items()})
    assert np.array_equal(logits(first, pairs), expected)
    assert not np.array_equal(logits(second, pairs), expected)
    body, before = second.whole_body().state_dict(), first.whole_body().state_dict()
    changed_ones = {name for name, tensor in body.items() if not torch.equal(tensor, before[name])}
    assert changed_ones == second.trained().keys() - {"scale", "bias", "match"}


@pytest.mark.parametrize("own_start", [True, False])
def test_the_bi_encoder_goes_where_it_is_not_the_students_body(
    finished: Finished, tmp_path: Path, own_start: bool
) -> None:
    model = finished.folders["merge"] / "model"
    student = {"head": "own", "start": str(model)} if own_start else {"head": "warm"}
    recipe = recipe_from(changed(finished.content, "student", student), "tiny")
    with open_parts(recipe, ItemStore(tmp_path / "items.sqlite")) as parts:
        gone = weakref.ref(parts.encoders.encoder.body)
        vectors = parts.encoders.embed(recipe.candidates.dense, "query", ["what goes"])
        parts.students.release_encoders()
        gc.collect()
        assert (gone() is None) == own_start
        assert np.array_equal(parts.encoders.embed(recipe.candidates.dense, "query", ["what goes"]), vectors)


def test_without_a_target_the_general_student_is_the_result(finished: Finished, tmp_path: Path) -> None:
    content = json.loads(json.dumps(finished.content))
    del content["corpus"]["target"], content["lists"]["domains"], content["evaluate"]
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run")
    assert list(folders) == [*EARLY, "report"]
    path = read_json(folders["merge"] / "path.json")
    assert path["domains"] == ["general"]
    assert path["order"] in (["general"], ["untrained"])
    best = max(path["agreement"][name]["general"] for name in ("general", "untrained"))
    assert path["agreement"]["merged"]["general"] == best
    ranked = Reranker(folders["merge"] / "model").rank("install a package", ["the sky is blue", "install a package"])
    assert len(ranked) == 2
    card = (folders["merge"] / "model" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-ranking" in card
    assert "listwise" in card


def test_the_splits_of_a_general_corpus_are_read_and_no_others(finished: Finished, tmp_path: Path) -> None:
    content = json.loads(json.dumps(finished.content))
    (general,) = content["corpus"]["general"]
    folder = shutil.copytree(general, tmp_path / "general")
    rows = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "qrels" / "train.tsv").write_text("\n".join(rows[:4]) + "\n", encoding="utf-8")
    content["corpus"]["general"] = [{"path": str(folder), "splits": ["train"]}]
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "queries")
    given = [q for q in read_records(folders["queries"] / "queries.parquet", Query) if q.generator == "given"]
    assert all(any(q.query_id.startswith(f"given/{row.split()[0]}/") for row in rows[1:4]) for q in given)
    assert given


def test_a_general_corpus_may_say_the_language_that_its_documents_do_not(finished: Finished, tmp_path: Path) -> None:
    general = write_beir(tmp_path / "general", "g-", languages=("de", "en"))
    rows = [json.loads(line) for line in (general / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows[:10]:  # the German ones
        del row["metadata"]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (general / "corpus.jsonl").write_text(lines, encoding="utf-8")
    content = changed(finished.content, "corpus.general", [{"path": str(general), "language": "nl"}])
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="corpus")
    found = Counter(
        d.language for d in read_records(folders["corpus"] / "corpus.parquet", Document) if d.origin == "general"
    )
    assert found == {"nl": 10, "en": 10}


def test_a_domain_may_have_a_name_that_ends_like_the_general_one() -> None:
    lists = [
        TrainingList("q", name, "train", ("a", "b"), (0.0, 1.0), (0, 1), (1.0, 0.0))
        for name in ("my-general", "general")
    ]
    assert held_out.domains_of(lists) == ["my-general"]
