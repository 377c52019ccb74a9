"""`tamis evaluate --index`: the documents of an index are not read again, and what it lacks is told."""

import json
import shutil

import pytest

from tamis import Reranker
from tamis.artifacts import ItemStore
from tamis.evaluation.reading import read_set
from tamis.evaluation.scores import model_of, read_logits, score_missing, with_indexes
from tamis.models.known.indexing import index_corpus
from tamis.records import Candidates
from tests.commands import tamis
from tests.conftest import TOPICS


@pytest.fixture
def index(warm_folder, corpus, tmp_path):
    index_corpus(Reranker(warm_folder), corpus, tmp_path / "index")
    return tmp_path / "index"


def test_known_documents_are_not_read_and_score_within_float16(warm_folder, corpus, tmp_path, index, monkeypatch):
    (judged,) = read_set(str(corpus))
    plain = model_of(f"m={warm_folder}", "float32")
    (knowing,) = with_indexes([plain], [index])
    assert knowing.identity != plain.identity
    student, read = knowing.reranker.scorer.student, []
    original = student.read
    monkeypatch.setattr(student, "read", lambda ids, *more: read.extend(ids) or original(ids, *more))
    everything = {q: Candidates(q, tuple(judged.documents), (0.0,) * len(judged.documents)) for q in judged.questions}
    items = ItemStore(tmp_path / "items.sqlite")
    found = []
    for model in (plain, knowing):
        score_missing(model, judged, {"full": everything}, items)
        found.append(dict(read_logits(model, judged, everything, items)))
    assert set(map(len, read)) <= {
        len(one.query)
        for one in plain.reranker.scorer.encode([(question.text, "") for question in judged.questions.values()])
    }
    for query_id, logits in found[0].items():
        assert found[1][query_id] == pytest.approx(logits, abs=2e-2)
    items.close()


def test_the_command_names_what_has_changed(warm_folder, corpus, tmp_path, index, caplog):
    changed = tmp_path / "changed"
    shutil.copytree(corpus, changed)
    rows = [json.loads(line) for line in (changed / "corpus.jsonl").read_text().splitlines()]
    rows[0]["text"] += " And more."
    (changed / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = tamis("evaluate", f"m={warm_folder}", "--on", changed, "--index", index, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert f"1 of {sum(map(len, TOPICS.values()))} candidates are not in the index" in caplog.text
    assert f"1 of them with another text: {rows[0]['_id']}" in caplog.text
    assert f"--index {index}" in json.loads((tmp_path / "out" / "results.json").read_text())["command"]


def test_an_index_of_no_model_is_refused(stock_folder, corpus, tmp_path, index):
    refused = tamis("evaluate", f"m={stock_folder}", "--on", corpus, "--index", index, "--out", tmp_path / "out")
    assert refused.status == 2
    assert "of none of m as they are" in refused.complaint
