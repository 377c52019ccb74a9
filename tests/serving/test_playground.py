"""The playground's paths: the page, and what a folder's questions and documents are."""

import base64
import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import ItemStore
from tamis.evaluation.candidates import Wanted, find
from tamis.evaluation.reading import read_set
from tamis.serving.limits import Limits
from tamis.serving.playground.collection import Collection
from tests.commands import tamis
from tests.conftest import TOPICS, write_beir
from tests.serving.running import Running, served

QUESTION = TOPICS["de"][1][0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_beir(tmp_path_factory.mktemp("playground") / "faq")


@pytest.fixture(scope="module")
def server(stock_folder: Path, folder: Path) -> Iterator[Running]:
    with served({"m": stock_folder}, Limits(characters=500), on=folder) as running:
        yield running


def candidates(server: Running, query: str) -> list[dict]:
    answer = server.client.get("/playground/candidates", params={"query": query})
    assert answer.status_code == 200
    return answer.json()["documents"]


def test_the_page_may_load_nothing_and_run_only_its_own_script(server: Running):
    answer = server.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (inside,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert policy[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//|@import|\burl\(", answer.text)
    assert " style=" not in answer.text
    assert "innerHTML" not in answer.text


def test_only_the_page_is_open_where_there_are_keys(stock_folder: Path, folder: Path):
    with served({"secret-name": stock_folder}, keys=("one",), on=folder) as server:
        page = server.get("/")
        assert page.status_code == 200
        assert 'data-keys="true"' in page.text
        assert "secret-name" not in page.text
        assert "faq" not in page.text
        for path in ("/playground/questions", "/playground/candidates?query=paket"):
            assert server.get(path).status_code == 401
            assert server.get(path, authorization="Bearer one").status_code == 200


def test_without_a_folder_there_is_the_page_only(stock_folder: Path):
    with served({"m": stock_folder}) as server:
        assert 'data-folder="false"' in server.get("/").text
        assert server.get("/playground/questions").status_code == 404
        assert server.get("/playground/candidates?query=a").status_code == 404


def test_a_folders_question_finds_what_evaluate_finds(server: Running, folder: Path, tmp_path: Path):
    (judged,) = read_set(str(folder))
    wanted = Wanted(["bm25"], {}, depth=20, languages="any", encoder=None)
    runs = find(judged, wanted, ItemStore(tmp_path / "items.sqlite"))["bm25"]
    for query_id, question in judged.questions.items():
        run = runs[query_id]
        hits = [(d, s) for d, s in zip(run.doc_ids, run.scores, strict=True) if s > 0]
        found = candidates(server, question.text)
        assert [(one["id"], one["score"]) for one in found] == hits
        assert [one["text"] for one in found] == [judged.documents[doc_id].text for doc_id, _ in hits]


def test_a_question_that_is_a_document_finds_the_others_as_in_evaluate(tmp_path: Path):
    texts = {"a": "cars leave the city", "b": "cars stay in the city", "c": "the city is quiet"}
    for name in ("corpus", "queries"):
        lines = [json.dumps({"_id": doc_id, "text": text}) for doc_id, text in texts.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("a\tb\t1\nb\ta\t1\n")
    found = Collection(tmp_path)
    assert [one.doc_id for one in found.search(texts["a"])] == ["b", "c"]
    assert [one.doc_id for one in found.search("cars leave")] == ["a", "b"]  # typed, and nobody's question
    (tmp_path / "qrels" / "dev.tsv").write_text("a\ta\t1\n")  # questions and documents are numbered apart
    assert [one.doc_id for one in Collection(tmp_path).search(texts["a"])] == ["a", "b", "c"]


def test_a_query_whose_words_nobody_holds_finds_nothing(server: Running):
    assert candidates(server, "xylophone") == []


def test_at_most_twenty_documents_and_their_titles(stock_folder: Path, tmp_path: Path):
    lines = [json.dumps({"_id": str(i), "title": f"Part {i}", "text": "the same word"}) for i in range(30)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    with served({"m": stock_folder}, on=tmp_path) as server:
        answer = server.get("/playground/candidates?query=the+word+part").json()
        assert len(answer["documents"]) == 20
        assert answer["documents"][0]["text"] == f"Part {answer['documents'][0]['id']}\nthe same word"
        assert answer["common"] == ["part", "the", "word"]  # in every document
        assert server.get("/playground/questions").json()["total"] == 0


def test_questions_hold_all_that_was_typed(server: Running):
    everything = server.get("/playground/questions").json()
    assert (everything["folder"], everything["documents"], everything["total"]) == ("faq", 20, 20)
    assert everything["questions"] == [question for question, _ in TOPICS["en"][:6]]
    found = server.client.get("/playground/questions", params={"matching": "LIEGEN kernel"}).json()
    assert found["questions"] == [QUESTION]
    assert server.get("/playground/questions?matching=xylophone").json()["questions"] == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/playground/candidates", "query: missing or empty"),
        ("/playground/candidates?query=%20", "query: missing or empty"),
        (f"/playground/candidates?query={'a' * 501}", "query: 501 characters, at most 500 are taken"),
        (f"/playground/questions?matching={'a' * 501}", "matching: 501 characters, at most 500 are taken"),
    ],
)
def test_what_cannot_be_searched_is_told(server: Running, path: str, message: str):
    answer = server.get(path)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == message


def test_no_query_is_in_the_logs(server: Running, caplog: pytest.LogCaptureFixture):
    def said_so_far() -> list[dict[str, Any]]:
        return [record.facts for record in list(caplog.records) if hasattr(record, "facts")]

    with caplog.at_level(logging.INFO, "tamis"):
        server.get("/playground/candidates?query=geheim")
        server.get("/playground/questions?matching=geheim")
        give_up = time.monotonic() + 10  # a request is logged when its answer is on its way
        while len(said_so_far()) < 2 and time.monotonic() < give_up:
            time.sleep(0.01)
    said = said_so_far()
    assert {facts["path"] for facts in said} == {"/playground/candidates", "/playground/questions"}
    assert "geheim" not in str(said)


def test_folders_that_cannot_be_searched(tmp_path: Path, folder: Path, stock_folder: Path):
    shutil.copytree(folder, tmp_path / "bad")
    with (tmp_path / "bad" / "corpus.jsonl").open("a") as file:
        file.write("{not json\n")
    (tmp_path / "empty").mkdir()
    for name, complaint in {
        "missing": "no such folder; expected a BEIR folder with corpus.jsonl",
        "empty": "no corpus.jsonl in it; expected a BEIR folder, to search its documents",
    }.items():
        outcome = tamis("serve", f"m={stock_folder}", "--on", tmp_path / name)
        assert (outcome.status, outcome.complaint) == (2, f"--on {tmp_path / name}: {complaint}")
    outcome = tamis("serve", f"m={stock_folder}", "--on", tmp_path / "bad")
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{tmp_path / 'bad' / 'corpus.jsonl'}, line 21: ")


def test_cut_documents_are_told_by_their_places(server: Running):
    documents = ["short", "package " * 60, "user", "package " * 60]
    answer = server.post("/v2/rerank", {"model": "m", "query": "a user", "documents": documents})
    assert answer.json()["meta"]["truncated"] == [1, 3]
    assert "truncated" not in server.post("/v2/rerank", {"model": "m", "query": "a", "documents": ["b"]}).json()["meta"]
