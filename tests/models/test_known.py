"""Documents that lie in an index score as their texts do, are not read again, and are never those of another model."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tamis import Reranker
from tamis.errors import InputError, ModelError, RunError
from tamis.models.known import indexing, writing
from tamis.models.known.documents import KnownDocuments
from tamis.models.known.indexing import delete_documents, index_corpus
from tamis.models.known.values import VALUES, factors_of
from tamis.models.known.writing import open_index
from tests.commands import tamis
from tests.conftest import TOPICS
from tests.test_readme import blocks

QUERIES = [question for topics in TOPICS.values() for question, _ in topics][:4]
TEXTS = {f"doc-{n}": answer for n, (_, answer) in enumerate(pair for topics in TOPICS.values() for pair in topics)}
CLOSE = {"float16": 2e-2, "int8": 0.25}
"""Of logits that lie in [-19, 3]."""


def write_corpus(path: Path, texts=TEXTS) -> Path:
    rows = ({"_id": doc_id, "text": text} for doc_id, text in texts.items())
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl")


@pytest.fixture
def index(tmp_path):
    return tmp_path / "index"


@pytest.fixture(scope="module")
def reranker(warm_folder):
    return Reranker(warm_folder)


def watched(reranker, monkeypatch):
    """Texts that the lower layers read from now on."""
    found, student = [], reranker.scorer.student
    original = student.read
    monkeypatch.setattr(student, "read", lambda ids, *more: found.extend(ids) or original(ids, *more))
    return found


def logits_of(ranked):
    return np.array([one["logit"] for one in sorted(ranked, key=lambda one: one["corpus_id"])])


# Values on disk


STATES = arrays(np.float32, (5, 7), elements=st.floats(-100, 100, width=32))


@given(states=STATES)
def test_float16_keeps_eleven_bits_of_each_value(states):
    form = VALUES["float16"]
    back = form.unpack(form.pack(states, np.empty(0, np.float32)), np.empty(0, np.float32))
    assert (np.abs(back - states) <= np.abs(states) * 2**-11 + 2**-25).all()


@given(states=STATES)
def test_8_bits_are_half_a_step_of_the_tokens_scale_off_at_most(states):
    form, factors = VALUES["int8"], factors_of(states)
    packed = form.pack(states, factors)
    assert packed.dtype.itemsize == 7 + 4
    half = factors * np.abs(states / factors).max(1, keepdims=True).clip(1e-6) / 127 / 2
    assert (np.abs(form.unpack(packed, factors) - states) <= half * 1.001 + 1e-9).all()


# Scores


@pytest.mark.parametrize("values", ["float16", "int8"])
def test_documents_by_id_score_as_their_texts_and_are_not_read(
    warm_folder, reranker, corpus, index, values, monkeypatch
):
    told = index_corpus(reranker, corpus, index, values)
    assert (told.new, told.changed, told.same, told.documents) == (len(TEXTS), [], 0, len(TEXTS))
    knowing = Reranker(warm_folder, index=index)
    read = watched(knowing, monkeypatch)
    for query in QUERIES:
        expected = reranker.rank(query, list(TEXTS.values()))
        for found in (knowing.rank(query, ids=list(TEXTS)), knowing.rank(query, list(TEXTS.values()))):
            np.testing.assert_allclose(logits_of(found), logits_of(expected), atol=CLOSE[values])
    assert len(read) == 2 * len(QUERIES)  # the queries, and nothing else


def test_ids_stand_beside_texts_and_the_answer_says_which(warm_folder, reranker, corpus, index):
    index_corpus(reranker, corpus, index)
    knowing = Reranker(warm_folder, index=index)
    documents = [{"id": "doc-3"}, "Something new.", {"text": TEXTS["doc-5"], "id": "elsewhere"}]
    found = knowing.rank(QUERIES[0], documents, return_documents=True)
    plain = reranker.rank(QUERIES[0], [TEXTS["doc-3"], "Something new.", TEXTS["doc-5"]], return_documents=True)
    assert {one["corpus_id"]: one["text"] for one in found} == {one["corpus_id"]: one["text"] for one in plain}
    np.testing.assert_allclose(logits_of(found), logits_of(plain), atol=CLOSE["float16"])
    assert {one["corpus_id"]: one.get("id") for one in found} == {0: "doc-3", 1: None, 2: None}


def test_what_cannot_be_ranked_by_id_is_named(warm_folder, reranker, corpus, index):
    index_corpus(reranker, corpus, index)
    knowing = Reranker(warm_folder, index=index)
    with pytest.raises(InputError, match=r"document 1 is named by its id 'doc-999', but it is not in the index"):
        knowing.rank("a", ids=["doc-1", "doc-999"])
    with pytest.raises(InputError, match="there is no index of documents"):
        reranker.rank("a", ids=["doc-1"])
    for given_ in ({}, {"documents": ["a"], "ids": ["doc-1"]}):
        with pytest.raises(InputError, match="one of both"):
            knowing.rank("a", **given_)
    assert knowing.rank("a", ids=[]) == []


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["doc-1", 1], "ids: id 1 is 1, expected a string"),
        (["doc-1", {"id": "doc-2"}], r"ids: id 1 is \{'id': 'doc-2'\}, expected a string"),
        ("doc-1", "ids: expected a list of strings, got a single string"),
        (["doc-1", "\ud800"], r"document 1 is named by its id '\\ud800', but it is not in the index"),
    ],
)
def test_what_is_no_id_is_named_and_the_index_is_not_blamed(warm_folder, reranker, corpus, index, ids, said):
    index_corpus(reranker, corpus, index)
    with pytest.raises(InputError, match=said):
        Reranker(warm_folder, index=index).rank("a", ids=ids)
    if "index" in said:
        assert delete_documents(index, ids) == 1
    else:
        with pytest.raises(InputError, match=said):
            delete_documents(index, ids)


# Another model, other documents


def test_an_index_of_another_model_is_refused_by_both_names(
    warm_folder, stock_folder, reranker, corpus, index, tmp_path
):
    index_corpus(reranker, corpus, index)
    other = tmp_path / "other"
    shutil.copytree(warm_folder, other)
    facts = json.loads((other / "tamis.json").read_text())
    (other / "tamis.json").write_text(json.dumps(facts | {"scale": 9.0}))
    for wrong in (lambda: Reranker(other, index=index), lambda: index_corpus(Reranker(other), corpus, index)):
        with pytest.raises(InputError) as refused:
            wrong()
        assert str(warm_folder) in str(refused.value)
        assert str(other) in str(refused.value)
    with pytest.raises(ModelError, match="an index is for warm models"):
        Reranker(stock_folder, index=index)
    with pytest.raises(ModelError, match="an index is for warm models"):
        index_corpus(Reranker(stock_folder), corpus, index)


def test_what_is_no_folder_of_an_index_is_named(warm_folder, tmp_path):
    with pytest.raises(InputError, match=r"^index is 5, expected the folder that `tamis index` made$"):
        Reranker(warm_folder, index=5)
    with pytest.raises(RunError, match=r"^/proc/x: cannot be written: No such file or directory; "):
        index_corpus(Reranker(warm_folder), write_corpus(tmp_path / "d.jsonl", TEXTS), Path("/proc/x"))


@pytest.mark.parametrize(("name", "said"), [("index", "lies in the folder of the model"), ("x" * 300, "name too long")])
def test_an_index_lies_neither_in_its_model_nor_under_a_name_that_is_none(reranker, corpus, name, said):
    folder = Path(reranker.path) / name
    with pytest.raises(InputError, match=f"(?i){said}"):
        index_corpus(reranker, corpus, folder)


def test_weights_of_first_stages_make_no_other_model(weighed_folder, reranker, corpus, index):
    index_corpus(reranker, corpus, index)
    assert len(Reranker(weighed_folder, index=index).index) == len(TEXTS)


def test_changed_documents_are_named_and_take_the_place_of_the_old(reranker, corpus, index, monkeypatch):
    index_corpus(reranker, corpus, index)
    texts = {**TEXTS, "doc-2": "Another text.", "new": "A new text."}
    read = watched(reranker, monkeypatch)
    told = index_corpus(reranker, write_corpus(corpus, texts), index)
    assert (told.new, told.changed, told.same, told.read) == (1, ["doc-2"], len(TEXTS) - 1, 2)
    assert len(read) == 2
    known = KnownDocuments(index)
    assert known.texts(texts) == texts
    assert len(known) == len(texts)
    assert known.tokens == sum(len(row.document) for row in reranker.scorer.encode([("", t) for t in texts.values()]))


def test_files_that_changed_since_are_named_when_it_is_opened(warm_folder, reranker, corpus, index, caplog):
    index_corpus(reranker, corpus, index)
    os.utime(corpus)  # touched, not changed
    Reranker(warm_folder, index=index)
    assert not caplog.records
    write_corpus(corpus, {**TEXTS, "doc-2": "Another text."})
    Reranker(warm_folder, index=index)
    assert f"{corpus} has changed since" in caplog.text
    corpus.unlink()
    caplog.clear()
    Reranker(warm_folder, index=index)  # carried to another machine, perhaps
    assert not caplog.records


# Deleting, and what is left on disk


def test_deleted_documents_are_gone_and_their_room_comes_back(warm_folder, reranker, corpus, index):
    index_corpus(reranker, corpus, index)
    before = KnownDocuments(index)  # stays open, as in a server
    size = (index / "states-1.bin").stat().st_size
    few = dict(list(TEXTS.items())[-3:])
    told = index_corpus(reranker, write_corpus(corpus, few), index, prune=True)
    assert (told.deleted, told.same, told.documents) == (len(TEXTS) - 3, 3, 3)
    assert [file.name for file in index.glob("*.bin")] == ["states-2.bin"]
    assert 0 < (index / "states-2.bin").stat().st_size < size / 4
    rows = reranker.scorer.encode([("", text) for text in TEXTS.values()])
    assert len(before.states(row.document for row in rows)) == 3
    expected = logits_of(reranker.rank(QUERIES[0], list(few.values())))
    np.testing.assert_allclose(
        logits_of(Reranker(warm_folder, index=index).rank(QUERIES[0], ids=list(few))), expected, atol=CLOSE["float16"]
    )
    assert delete_documents(index, [*few, "never there"]) == 3
    assert len(before) == 0


def test_texts_of_several_documents_are_kept_once(reranker, tmp_path, index):
    told = index_corpus(reranker, write_corpus(tmp_path / "c.jsonl", {"a": "One text.", "b": "One text."}), index)
    assert (told.documents, told.read) == (2, 1)
    delete_documents(index, ["a"])
    known = KnownDocuments(index)
    assert len(known.states([reranker.scorer.encode([("", "One text.")])[0].document])) == 1


# Kills and other accidents


@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_a_kill_while_appending_loses_one_batch_at_most(warm_folder, reranker, corpus, index, monkeypatch, moment):
    monkeypatch.setattr(indexing, "BATCH", 4)
    place, name = (reranker.scorer.student, "read") if moment == "reading" else (writing.os, "fsync")
    original, calls = getattr(place, name), []

    def dying(*given_):
        calls.append(given_)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*given_)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, dying)
        with pytest.raises(KeyboardInterrupt):
            index_corpus(reranker, corpus, index)
    kept = len(KnownDocuments(index))
    assert kept == 4 * (2 if moment == "reading" else 3)
    with (index / "states-1.bin").open("ab") as file:
        file.write(b"half of a token")
    told = index_corpus(reranker, corpus, index)
    assert (told.same, told.new) == (kept, len(TEXTS) - kept)
    found = Reranker(warm_folder, index=index).rank(QUERIES[0], ids=list(TEXTS))
    expected = logits_of(reranker.rank(QUERIES[0], list(TEXTS.values())))
    np.testing.assert_allclose(logits_of(found), expected, atol=CLOSE["float16"])


def test_a_catalogue_that_was_half_written_is_as_it_was_before(warm_folder, reranker, corpus, index, tmp_path):
    index_corpus(reranker, corpus, index)
    catalogue = sqlite3.connect(index / "index.sqlite", isolation_level=None)
    catalogue.execute("PRAGMA cache_size = 1")  # pages go to the file before the end
    catalogue.execute("BEGIN IMMEDIATE")
    rows = ((f"half-{n}", "text " * 500, b"key") for n in range(200))
    catalogue.executemany("INSERT INTO documents VALUES (?, ?, ?)", rows)
    shutil.copytree(index, tmp_path / "killed")  # what a power cut would leave
    catalogue.execute("ROLLBACK")
    catalogue.close()
    assert (tmp_path / "killed" / "index.sqlite-journal").exists()
    assert len(Reranker(warm_folder, index=tmp_path / "killed").index) == len(TEXTS)


def test_only_one_process_writes(reranker, corpus, index):
    index_corpus(reranker, corpus, index)
    with open_index(index), pytest.raises(RunError, match="another process writes to this index"):
        index_corpus(reranker, corpus, index)


def damage_states(index):
    os.truncate(index / "states-1.bin", 100)


def damage_catalogue(index):
    (index / "index.sqlite").write_bytes(b"no database at all" * 100)


def of_another_version(index):
    with sqlite3.connect(index / "index.sqlite") as catalogue:
        (facts,) = catalogue.execute("SELECT value FROM facts WHERE name = 'facts'").fetchone()
        facts = json.dumps(json.loads(facts) | {"format": 99})
        catalogue.execute("UPDATE facts SET value = ? WHERE name = 'facts'", (facts,))
    catalogue.close()


@pytest.mark.parametrize("damage", [damage_states, damage_catalogue, of_another_version])
def test_a_damaged_index_is_one_line(warm_folder, reranker, corpus, index, damage):
    index_corpus(reranker, corpus, index)
    damage(index)
    with pytest.raises(InputError, match="cannot be read") as refused:
        Reranker(warm_folder, index=index)
    assert "\n" not in str(refused.value)


def test_what_is_no_index_is_left_alone(warm_folder, reranker, corpus, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "letter.txt").write_text("Dear")
    with pytest.raises(InputError, match="holds something else"):
        index_corpus(reranker, corpus, tmp_path / "own")
    with pytest.raises(InputError, match="no index of documents; make one with tamis index"):
        Reranker(warm_folder, index=tmp_path / "own")
    with pytest.raises(InputError, match="--values int4: expected float16 or int8"):
        index_corpus(reranker, corpus, tmp_path / "new", "int4")


# The commands


def test_the_command_says_what_became_of_the_documents(warm_folder, corpus, index):
    told = tamis("index", warm_folder, corpus, index, "--values", "int8", "--json")
    assert told.status == 0, told.err
    found = json.loads(told.out)
    assert (found["new"], found["values"], found["out"]) == (len(TEXTS), "int8", str(index))
    assert found["bytes"] == sum(file.stat().st_size for file in index.iterdir())
    again = tamis("index", warm_folder, corpus, index)
    assert f"{len(TEXTS)} as they were" in again.out
    refused = tamis("index", warm_folder, corpus, index, "--values", "float16")
    assert refused.status == 2
    assert "holds int8" in refused.complaint


def test_the_python_block_of_the_page_runs(warm_folder, reranker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {doc_id: TEXTS[doc_id] for doc_id in ("doc-3", "doc-7", "doc-9")}
    index_corpus(reranker, write_corpus(tmp_path / "corpus.jsonl", texts), Path("my/index"))
    (code,) = blocks("docs/known-documents.md", "python")
    exec(code.replace('"tamis-base"', repr(str(warm_folder))), {})
