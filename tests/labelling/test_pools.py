"""Pools: what is in them, in which order, and the folder that they are kept in."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tamis.errors import InputError, RunError
from tamis.evaluation.reading import read_set
from tamis.formats.beir import read_query_texts
from tamis.formats.documents import read_documents
from tamis.formats.trec import by_rank, write_run
from tamis.labelling.document_pools import pools_of_documents
from tamis.labelling.grade_log import GradeLog
from tamis.labelling.pools import Passage, joined, pooled, read_pools, write_pools
from tamis.labelling.questions import questions_of_file, written_questions
from tamis.labelling.wanted import Wanted, runs_named
from tamis.records import Document, Query
from tests.commands import tamis
from tests.conftest import TOPICS, write_beir
from tests.formats.files import write_jsonl, write_text
from tests.labelling.made_pools import made_pools

RANKINGS = {"one": ["a", "b", "c", "d"], "other": ["c", "e", "a", "f"]}


def test_a_pool_is_the_union_of_the_heads_and_does_not_say_whose_they_are():
    pool = pooled("q", RANKINGS, 2)
    assert sorted(pool) == ["a", "b", "c", "e"]
    swapped = {"z": RANKINGS["other"][:2], "y": RANKINGS["one"][:2][::-1]}
    assert pooled("q", swapped, 2) == pool
    # Of many questions, each place is taken by each document about as often.
    firsts = [pooled(f"q{n}", RANKINGS, 2)[0] for n in range(400)]
    assert all(70 < firsts.count(doc_id) < 130 for doc_id in "abce")


def test_a_text_file_is_a_question_a_line_in_an_order_by_hash(tmp_path: Path):
    file = tmp_path / "q.txt"
    file.write_text("one thing\n\ntwo things\n?!\nTwo  things!\nthree\n", encoding="utf-8")
    asked = questions_of_file(file, 0, lambda text: "en")
    assert {one.query_id: one.text for one in asked.questions} == {"q1": "one thing", "q2": "two things", "q5": "three"}
    assert asked.left_out == {"without a word": 1, "the same as an earlier one": 1}
    drawn = questions_of_file(file, 2, lambda text: "en")
    assert drawn.questions == asked.questions[:2]
    assert drawn.left_out["not drawn"] == 1


def test_rows_keep_their_ids_and_languages(tmp_path: Path):
    file = tmp_path / "q.jsonl"
    file.write_text('{"_id": "x", "text": "eins", "lang": "de"}\n{"query": "two"}\n', encoding="utf-8")
    asked = questions_of_file(file, 0, lambda text: "en")
    assert sorted(asked.questions) == [("q2", "two", "en"), ("x", "eins", "de")]
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no queries in it; leave it out of --queries"):
        questions_of_file(file, 0, lambda text: "en")
    with pytest.raises(InputError, match=r"q\.pdf: no such file; --queries expects queries in a \.txt"):
        questions_of_file(tmp_path / "q.pdf", 0, lambda text: "en")


def test_written_questions_are_held_out_ones_about_the_target():
    def query(name: str, **others: str) -> Query:
        return Query(
            **{"query_id": name, "text": name, "language": "en", "origin": "target", "document_id": "d"} | others
        )

    queries = [
        query("trained", generator="extractive"),
        query("given", generator="given"),
        query("general", generator="extractive", origin="general"),
        *(query(f"w{n}", generator="extractive") for n in range(40)),
    ]
    held_out = frozenset(one.query_id for one in queries) - {"trained"}
    asked = written_questions(queries, held_out, 0)
    assert len(asked.questions) == 30
    assert {one.query_id[0] for one in asked.questions} == {"w"}
    assert (asked.source, asked.left_out) == ("written", {"not drawn": 10})
    with pytest.raises(RunError, match="give questions with --queries"):
        written_questions(queries, frozenset(), 0)


def test_documents_alone_are_searched_by_bm25_and_pooled_with_given_runs(tmp_path: Path):
    corpus = write_beir(tmp_path / "docs")
    (tmp_path / "q.txt").write_text("How do I add a user?\nWo liegen die Kernelmodule?\n", encoding="utf-8")
    write_run(tmp_path / "mine.trec", [by_rank("q1", ["de/3", "elsewhere", "en/0"])], "mine")
    runs = runs_named([f"mine={tmp_path / 'mine.trec'}"])
    pools = pools_of_documents(corpus, Wanted(tmp_path / "q.txt", depth=2, runs=runs))
    assert pools.systems == ("bm25", "mine")
    assert {"en/5", "de/3"} <= set(pools.pools["q1"])  # "Add a user with the adduser script."
    assert len(pools.pools["q1"]) == 4 - len({"de/3", "en/0"} & {"en/5"})
    assert "de/1" in pools.pools["q2"]
    assert pools.notes == (
        f"1 lines of the run mine name documents that {corpus} does not have; they are left out",
        "the run mine ranks nothing for 1 of 2 questions",
    )
    write_run(tmp_path / "mine.trec", [by_rank("7", ["de/3"])], "mine")
    with pytest.raises(InputError, match=r"it ranks nothing for any .* first is '7'\) have to be .* first is 'q[12]'"):
        pools_of_documents(corpus, Wanted(tmp_path / "q.txt", depth=2, runs=runs))
    (tmp_path / "q.txt").write_text("xylophone\n", encoding="utf-8")
    with pytest.raises(InputError, match="no system finds a document for any question"):
        pools_of_documents(corpus, Wanted(tmp_path / "q.txt"))


@pytest.mark.parametrize("copies", [False, True], ids=["numbered apart", "documents"])
def test_a_question_with_the_id_of_a_document_finds_it_unless_it_says_the_same(tmp_path: Path, copies: bool):
    asked = TOPICS["en"][:3]
    texts = [question if copies else answer for question, answer in asked]
    write_jsonl(tmp_path / "docs.jsonl", *({"_id": str(n), "text": text} for n, text in enumerate(texts)))
    write_jsonl(tmp_path / "q.jsonl", *({"_id": str(n), "text": question} for n, (question, _) in enumerate(asked)))
    pools = pools_of_documents(tmp_path / "docs.jsonl", Wanted(tmp_path / "q.jsonl"))
    assert [n in pools.pools[n] for n in sorted(pools.pools)] == [not copies] * len(pools.pools)


def test_files_that_give_no_document_are_counted_by_reason(tmp_path: Path):
    folder = tmp_path / "docs"
    for name in ("users.txt", "a.png", "b.png", "old.doc"):
        write_text(folder / name, "Add a user with the adduser script.")
    (folder / "binary.txt").write_bytes(b"\x00\x01\x80\xff" * 50)
    (tmp_path / "q.txt").write_text("How do I add a user?\n", encoding="utf-8")
    pools = pools_of_documents(folder, Wanted(tmp_path / "q.txt"))
    assert list(pools.passages) == ["users.txt"]
    assert sorted(pools.notes) == [
        f"1 of {folder} left out: .doc: save it as .docx",
        f"1 of {folder} left out: not text",
        f"2 of {folder} left out: .png: no form of documents",
    ]
    (folder / "users.txt").unlink()
    with pytest.raises(InputError, match=r"docs: no document can be read \(2 \.png: .*1 not text\); name a folder"):
        pools_of_documents(folder, Wanted(tmp_path / "q.txt"))


def test_the_folder_is_a_beir_folder_with_the_texts_that_systems_read(tmp_path: Path):
    titled = Document("a", "Users\nAdd one.", "en", title="Users")
    named = Document("b", "Read me.", "de", title="readme.txt")
    plain = Document("c", "Nothing\nmore", "en")
    pools = made_pools(1, 3)
    passages = {one.doc_id: Passage.of(one) for one in (titled, named, plain)}
    pools = replace(pools, passages=passages, pools={"q0": ("b", "a", "c")})
    write_pools(tmp_path, pools)
    assert read_pools(tmp_path) == replace(pools, asked={**pools.asked, "number": 1})
    assert {d.doc_id: d.text for d in read_documents(tmp_path, "target")} == {
        one.doc_id: one.text for one in (titled, named, plain)
    }
    assert read_query_texts(tmp_path / "queries.jsonl") == {"q0": "How do I install a package?"}
    assert [passages[one].title for one in "abc"] == ["Users", "readme.txt", ""]
    assert passages["a"].body == "Add one."


def test_the_evaluation_says_what_pools_mean_and_that_questions_were_written(tmp_path: Path):
    pools = made_pools(1, 2)
    write_pools(tmp_path, replace(pools, asked={**pools.asked, "from": "written"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t2\nq0\td1\t0\n", encoding="utf-8")
    (judged,) = read_set(str(tmp_path))
    assert judged.grades == {"q0": {"d0": 2, "d1": 0}}
    assert judged.notes[-1] == "the questions were written by the run about its own documents; nobody asked them"
    assert "only the best 10 passages of bm25, merged~bm25 are judged" in judged.notes[-2]


def test_pools_only_grow():
    old, new = made_pools(2, 3), made_pools(3, 2)
    grown = joined(old, replace(new, systems=("bm25", "elastic")))
    assert list(grown.questions) == ["q0", "q1", "q2"]
    assert set(grown.pools["q0"]) == {"d0", "d1", "d2"}
    assert set(grown.pools["q2"]) == {"d2", "d3"}
    assert grown.systems == ("bm25", "merged~bm25", "elastic")
    assert joined(grown, new) == joined(joined(grown, new), new)
    other = {"q0": old.questions["q1"]._replace(query_id="q0")}
    with pytest.raises(InputError, match="question 'q0' is 'Where are kernel modules kept"):
        joined(old, replace(new, questions=other))
    read = {"d0": replace(old.passages["d0"], body="other words")}
    with pytest.raises(InputError, match="document 'd0' reads otherwise"):
        joined(old, replace(new, passages=read))


def test_names_of_runs_are_their_own(tmp_path: Path):
    (tmp_path / "r").write_text("", encoding="utf-8")
    for name in ("bm25", "teacher", "a/b"):
        with pytest.raises(Exception, match="a run cannot be called"):
            runs_named([f"{name}={tmp_path / 'r'}"])


def test_a_damaged_folder_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"no pools\.json in it; make pools with tamis label"):
        read_pools(tmp_path)
    write_pools(tmp_path, made_pools())
    file = tmp_path / "pools.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**facts, "pools": {"q0": ["gone"]}}), encoding="utf-8")
    with pytest.raises(InputError, match=r"'gone' is not in corpus\.jsonl"):
        read_pools(tmp_path)
    for changed in (
        [],
        {**facts, "pools": {}},
        {**facts, "pools": {"q0": [1]}},
        {**facts, "pools": {"q0": "d0"}},
        {**facts, "pools": {"q0": ["d0", "d0"]}},
        {**facts, "questions": "ten"},
        {**facts, "questions": {"from": "file", "left_out": {"why": "5"}}},
        {**facts, "notes": [1]},
    ):
        file.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(RunError, match=r"pools\.json: not understood"):
            read_pools(tmp_path)
    file.write_text(json.dumps(facts), encoding="utf-8")
    for name in ("queries", "corpus"):
        rows = tmp_path / f"{name}.jsonl"
        before = rows.read_text(encoding="utf-8")
        for wrong in ("5", "null"):
            rows.write_text(before.replace('"text": "', f'"text": {wrong}, "was": "', 1), encoding="utf-8")
            with pytest.raises(InputError, match=rf"{name}\.jsonl, line 1: not as tamis label writes it"):
                read_pools(tmp_path)
        rows.write_text(before, encoding="utf-8")
    assert read_pools(tmp_path).pools == made_pools().pools


@pytest.mark.parametrize(
    "more",
    [["--queries", "q.txt"], ["--runs", "a=q.txt"], ["--out", "new"], ["--depth", "3"], ["--questions", "1"]],
)
def test_what_changes_nothing_of_pools_is_refused(tmp_path: Path, more: list[str]):
    judged = tmp_path / "judged"
    write_pools(judged, made_pools())
    for command in (["label"], ["judge", "--url", "http://localhost:9/v1", "--model", "m"]):
        told = tamis(*command, judged, *more)
        assert told.status == 2
        assert told.complaint.startswith(f"{more[0]}: {judged} holds pools, which are graded as they are")


def test_a_folder_of_others_is_not_touched(tmp_path: Path):
    (tmp_path / "q.txt").write_text("How do I add a user?\n", encoding="utf-8")
    judged = write_beir(tmp_path / "judged")
    before = {file: file.read_bytes() for file in judged.rglob("*.*")}
    told = tamis("label", write_beir(tmp_path / "docs"), "--queries", tmp_path / "q.txt", "--out", judged)
    assert "already holds something else; remove it or name another folder" in told.complaint
    with pytest.raises(InputError, match="already holds something else"):
        write_pools(judged, made_pools())
    assert {file: file.read_bytes() for file in judged.rglob("*.*")} == before


def test_pools_that_a_page_has_open_do_not_grow_under_it(tmp_path: Path):
    (tmp_path / "q.txt").write_text("How do I add a user?\n", encoding="utf-8")
    documents, judged = write_beir(tmp_path / "docs"), tmp_path / "judged"
    write_pools(judged, made_pools())
    before = {file: file.read_bytes() for file in judged.rglob("*.json*")}
    with closing(GradeLog(judged)):
        told = tamis("label", documents, "--queries", tmp_path / "q.txt", "--out", judged)
    assert told.status == 2
    assert "another tamis label has it open" in told.complaint
    assert {file: file.read_bytes() for file in before} == before
