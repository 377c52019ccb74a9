"""Logs: queries that people typed and no document is known to answer, from the file to the model."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import read_json, read_records
from tamis.exporting.lists import write_lists
from tamis.formats.queries import read_given_queries
from tamis.inspection import Inspection
from tamis.models.reranker import Reranker
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Candidates, Dropped, Query, TrainingList
from tests.commands import tamis, write_recipe
from tests.conftest import TOPICS, tiny_recipe, write_beir
from tests.formats.files import write_jsonl, write_text
from tests.keys import settings_of, writers_settings
from tests.pipeline.test_estimate import counts, estimated

Content = dict[str, Any]

TYPED = [
    {"_id": "1", "query": "package manager  dependencies", "lang": "en-US"},
    {"_id": "2", "query": "Package manager: dependencies!", "lang": "en"},
    {"_id": "3", "query": "modprobe", "lang": "en"},
    {"_id": "4", "query": "why " * 41, "lang": "en"},
    {"_id": "5", "query": "where do log files go", "lang": "en"},
    {"_id": "6", "query": "imprimer un document", "lang": "fr"},
    {"_id": "7", "query": "Protokolle werden von einem Dienst wöchentlich rotiert"},
    {"_id": "8", "query": "light desktop for old hardware", "lang": "en"},
]
"""The log of the target: each row with a fate of its own."""


@dataclass(frozen=True)
class Mined:
    """Lists of a target and a general corpus with a log each, and without them."""

    content: Content
    plain: Content
    root: Path
    folders: dict[str, Path]

    def records(self, stage: str, kind: type) -> dict[str, Any]:
        return {one.query_id: one for one in read_records(self.folders[stage] / f"{stage}.parquet", kind)}

    def dropped(self, stage: str) -> dict[str, str]:
        left_out = read_records(self.folders[stage] / "dropped.parquet", Dropped)
        return {one.record_id: one.reason for one in left_out if one.record_id.startswith("log/")}


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Mined:
    base = tmp_path_factory.mktemp("mined")
    plain = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    plain["queries"]["keep_out"] = [str(write_jsonl(base / "kept.jsonl", {"_id": "q", "text": TOPICS["en"][7][0]}))]
    content: Content = json.loads(json.dumps(plain))
    topics = write_text(base / "topics.tsv", 'q10\tset the "system clock" in universal time\n')
    content["queries"]["logs"] = [
        str(write_jsonl(base / "typed.jsonl", *TYPED)),
        {"path": str(topics), "origin": "general", "language": "en"},
    ]
    lines = "".join(f"1 Q0 {doc_id} 1 {score} mine\n" for doc_id, score in (("en/4", 1), ("en/0", 3), ("gone", 2)))
    content["candidates"]["runs"] = {"typed.jsonl": str(write_text(base / "mine.trec", lines + "8 Q0 en/3 1 1 mine\n"))}
    return Mined(content, plain, base / "run", run_recipe(recipe_from(content, "tiny"), base / "run", "lists"))


def test_queries_of_a_log_pass_the_filters_that_make_sense_for_them_and_each_drop_has_its_reason(mined: Mined) -> None:
    queries = mined.records("queries", Query)
    logged = {query_id: query for query_id, query in queries.items() if query_id.startswith("log/")}
    assert logged.keys() == {*(f"log/typed.jsonl/{n}" for n in (1, 6, 7, 8)), "log/topics.tsv/q10"}
    assert logged["log/typed.jsonl/1"] == Query(
        "log/typed.jsonl/1", "package manager dependencies", "en", "target", "", "given"
    )
    assert logged["log/typed.jsonl/7"].language == "de"  # told from the text
    assert logged["log/topics.tsv/q10"].origin == "general"
    assert mined.dropped("queries") == {
        "log/typed.jsonl/2": "copy of another query",
        "log/typed.jsonl/3": "too short",
        "log/typed.jsonl/4": "too long",
        "log/typed.jsonl/5": "kept out: same words",
    }
    writers = read_json(mined.folders["queries"] / "manifest.json")["generators"]
    assert (writers["log"]["in"], writers["log"]["kept"]) == (9, 5)
    assert {"extractive", "given"} < writers.keys()


def test_they_find_documents_of_their_origin_or_what_the_given_run_says(mined: Mined) -> None:
    candidates = mined.records("candidates", Candidates)
    assert candidates["log/typed.jsonl/1"].doc_ids == ("en/0", "en/4")
    assert all(doc_id.startswith("general:g-en/") for doc_id in candidates["log/topics.tsv/q10"].doc_ids)
    assert mined.dropped("candidates") == {
        "log/typed.jsonl/6": "fewer than two documents in its language",
        "log/typed.jsonl/7": "fewer than two documents in the given run",
        "log/typed.jsonl/8": "fewer than two documents in the given run",
    }
    facts = read_json(mined.folders["candidates"] / "manifest.json")
    assert facts["unknown_documents_of_runs"] == {"typed.jsonl": 1}
    assert mined.dropped("lists") == {}
    lists = mined.records("lists", TrainingList)
    assert sorted(lists["log/typed.jsonl/1"].doc_ids) == ["en/0", "en/4"]
    assert lists["log/typed.jsonl/1"].domain == "english"


def test_what_was_there_without_the_logs_stays_as_it_was(mined: Mined, tmp_path: Path) -> None:
    folders = run_recipe(recipe_from(mined.plain, "tiny"), tmp_path / "run", "lists")
    plain = read_records(folders["lists"] / "lists.parquet", TrainingList)
    with_logs = mined.records("lists", TrainingList)
    assert plain == [one for query_id, one in with_logs.items() if not query_id.startswith("log/")]


def test_a_recipe_without_logs_keeps_the_key_that_it_had_and_a_changed_log_has_another(mined: Mined) -> None:
    recipe = recipe_from(mined.plain, "tiny")
    kept_out = settings_of(recipe, "queries")
    assert isinstance(kept_out, list)
    assert kept_out[0] == writers_settings(recipe)
    assert [len(one) for one in kept_out[1:]] == [1]  # the hash of the set to keep out, and nothing of logs
    log = Path(mined.content["queries"]["logs"][0])
    before, text = settings_of(recipe_from(mined.content, "tiny"), "queries"), log.read_text(encoding="utf-8")
    log.write_text(text + '{"_id": "9", "query": "one more of them"}\n', encoding="utf-8")
    after = settings_of(recipe_from(mined.content, "tiny"), "queries")
    log.write_text(text, encoding="utf-8")
    assert before != after
    assert settings_of(recipe_from(mined.content, "tiny"), "queries") == before


def test_the_history_of_a_typed_query_says_that_it_has_no_document(mined: Mined) -> None:
    inspection = Inspection(mined.root)
    history = inspection.history("log/typed.jsonl/1")
    assert (history.source, history.dropped, history.domain) == (None, None, "english")
    assert [entry.document.doc_id for entry in history.entries] == ["en/0", "en/4"]
    left_out = inspection.history("log/typed.jsonl/3")
    assert left_out.dropped == ("queries", "too short")
    assert (left_out.query.document_id, left_out.query.generator) == ("", "given")
    shown = tamis("inspect", mined.root, "log/typed.jsonl/1")
    assert shown.status == 0, shown.err
    assert "no document" in shown.out
    assert "typed by somebody" in shown.out


def test_the_estimate_counts_what_was_typed_each_text_once(mined: Mined, tmp_path: Path) -> None:
    found = [counts(estimated(one, tmp_path / "run", "lists")) for one in (mined.plain, mined.content)]
    before, after = (one["candidates", "queries to search"][0] for one in found)
    assert after - before == len(TYPED) - 1 + 1  # a copy less, the general log's one more


def test_lists_of_typed_queries_are_written_for_other_trainers(mined: Mined, tmp_path: Path) -> None:
    write_lists(mined.root, "beir", tmp_path / "out")
    best = {
        query_id: doc_id
        for split in ("train", "held-out")
        for query_id, _, doc_id in read_given_queries(tmp_path / "out", [split])
    }
    learnt = mined.records("lists", TrainingList)["log/typed.jsonl/1"]
    assert best["log/typed.jsonl/1"] == max(zip(learnt.labels, learnt.doc_ids, strict=True))[1]


@pytest.mark.parametrize("languages", ["cross", "any"])
def test_typed_queries_search_other_languages_too(mined: Mined, tmp_path: Path, languages: str) -> None:
    content = json.loads(json.dumps(mined.content))
    content["candidates"] |= {"languages": languages, "runs": {}}
    folders = run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "lists")
    found = {one.query_id: one for one in read_records(folders["candidates"] / "candidates.parquet", Candidates)}
    lists = {one.query_id: one for one in read_records(folders["lists"] / "lists.parquet", TrainingList)}
    spoken = {doc_id.split("/")[0] for doc_id in found["log/typed.jsonl/1"].doc_ids}
    assert spoken == ({"de"} if languages == "cross" else {"de", "en"})
    assert lists["log/typed.jsonl/6"].domain == "general"  # French, which no specialist speaks


def test_a_log_is_enough_to_learn_from(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    content = tiny_recipe(corpus, corpus, tiny_encoder)
    del content["corpus"]["general"]
    typed = {
        language: [" ".join(part) for _, answer in topics for part in (answer.split()[:3], answer.split()[3:6])]
        for language, topics in TOPICS.items()
    }
    content["queries"] = {
        "generator": [],
        "logs": [
            {"path": str(write_text(tmp_path / f"{language}.txt", "\n".join(lines))), "language": language}
            for language, lines in typed.items()
        ],
    }
    outcome = tamis("run", write_recipe(content, tmp_path), "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    (file,) = (tmp_path / "run").glob("lists/*/lists.parquet")
    lists = read_records(file, TrainingList)
    assert Counter(one.domain for one in lists) == {"english": 20, "german": 20}
    (path,) = (tmp_path / "run").glob("merge/*/path.json")
    facts = read_json(path)
    assert set(facts["first_stage_weights"].values()) == {1.0}  # nothing to choose them by
    assert facts["weight_curves"] == {}
    assert 0 < facts["agreement"]["merged"]["english"] <= 1
    assert len(Reranker(path.with_name("model")).rank("a package", ["the sky is blue", "install a package"])) == 2
    card = (path.parent / "model" / "README.md").read_text(encoding="utf-8")
    assert "- de.txt: queries that people typed" in card
    (page,) = (tmp_path / "run").glob("report/*/report.html")
    assert "en.txt" in page.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_read_is_named_before_anything_is_done(mined: Mined, tmp_path: Path) -> None:
    content = json.loads(json.dumps(mined.plain))
    for log, message in (
        ("nowhere.txt", "nowhere.txt: no such file; queries.logs expects queries in a .txt (one a line), .jsonl"),
        (content["evaluate"]["queries"], "holds the judged questions of evaluate.queries, which no stage before"),
    ):
        content["queries"]["logs"] = [log]
        outcome = tamis("run", write_recipe(content, tmp_path), "--out", tmp_path / "run")
        assert outcome.status == 2
        assert message in outcome.complaint
        assert not (tmp_path / "run").exists()
