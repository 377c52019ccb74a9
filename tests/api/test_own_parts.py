"""Functions of the user's own as parts of a run: each decides what it should, and enters keys by name and version."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tamis
from tamis.artifacts import read_json
from tamis.context import RunContext
from tamis.errors import InputError, SettingsError
from tamis.executors.local import Executor, run_here
from tamis.pipeline.run import stage_keys
from tests.conftest import TOPICS


def lengths(query: str, documents: list[str]) -> list[int]:
    return [len(text) for text in documents]


def alone(recipe: dict[str, Any], teacher: tamis.Teacher) -> tamis.Recipe:
    """A recipe whose only teacher is this one."""
    return tamis.Recipe(**{**recipe, "scores": {"dense": 0, "bm25": 0, "seed_bonus": 0, "teachers": [teacher]}})


def test_a_teacher_that_counts_letters_decides_the_labels(recipe, tmp_path):
    teacher = tamis.Teacher(lengths, name="lengths", version="1")
    run = tamis.run(alone(recipe, teacher), out=tmp_path / "run", until="lists")
    size = {row["doc_id"]: len(row["text"]) for row in run.documents}
    rows = list(run.lists)
    assert len(rows) > 10
    for row in rows:
        sizes, labels = np.array([size[doc_id] for doc_id in row["doc_ids"]]), np.array(row["labels"])
        assert (np.sign(np.subtract.outer(sizes, sizes)) == np.sign(np.subtract.outer(labels, labels))).all()
    assert "lengths" in read_json(run.folders["scores"] / "manifest.json")["settings"][0]["teachers"][0].values()


def test_a_teacher_is_not_asked_twice_until_its_version_changes(recipe, tmp_path):
    asked: list[int] = []

    def counting(query: str, documents: list[str]) -> list[int]:
        asked.append(len(documents))
        return lengths(query, documents)

    def run(version: str, weight: float = 1.0) -> tamis.RunResult:
        teacher = tamis.Teacher(counting, name="counting", version=version, weight=weight)
        return tamis.run(tamis.Recipe(**recipe), out=tmp_path / "run", until="scores", teachers=[teacher])

    first = run("1")
    before = len(asked)
    assert before > 0
    assert run("1").folders == first.folders
    assert run("1", weight=2.0).folders["scores"] != first.folders["scores"]  # weighed anew, not asked anew
    assert len(asked) == before
    second = run("2")
    assert len(asked) == 2 * before
    assert second.folders["scores"] != first.folders["scores"]


def test_a_teacher_stands_beside_those_of_the_recipe(recipe):
    teacher = tamis.Teacher(lengths, name="lengths", version="1")
    plain = tamis.Recipe(**recipe)
    beside = tamis.api.run.with_own_parts(plain, [teacher], None, None)
    assert (beside.scores.dense, beside.scores.bm25, beside.scores.teachers) == (1.0, 0.5, (teacher,))
    again = tamis.Teacher(max, name="lengths", version="2")
    assert tamis.api.run.with_own_parts(beside, [again], None, None).scores.teachers == (again,)
    keys, plain_keys = stage_keys(beside), stage_keys(plain)
    changed = {stage for stage in keys if keys[stage] != plain_keys[stage]}
    assert changed == {"scores", "lists", "train", "merge", "evaluate", "report"}


def test_two_functions_of_one_name_are_refused_before_one_is_asked(recipe, corpus, tmp_path):
    asked: list[object] = []

    def never(*given: object) -> None:
        asked.append(given)

    found = [tamis.Retriever(never, name="mine", version=version) for version in "12"]
    with pytest.raises(SettingsError, match=r"^name 'mine' stands for two systems; give one of them another"):
        tamis.evaluate([], on=corpus, first=found, out=tmp_path / "out")
    with pytest.raises(SettingsError, match=r"^name 'bm25' stands for two systems"):
        tamis.evaluate([], on=corpus, first=[tamis.Retriever(never, name="bm25", version="1")], out=tmp_path / "out")
    teachers = [tamis.Teacher(never, name="mine", version=version) for version in "12"]
    with pytest.raises(SettingsError, match=r"^teachers: name 'mine' stands for two functions; give one of them"):
        tamis.run(tamis.Recipe(**recipe), out=tmp_path / "run", teachers=teachers)
    assert not asked
    assert not (tmp_path / "out").exists()


def test_a_retriever_decides_the_candidates(recipe, tmp_path):
    asked: list[tuple[int, int]] = []

    def numbered(queries: list[str], k: int) -> tuple[list[list[str]], list[list[float]]]:
        asked.append((len(queries), k))
        ids = [f"{language}/{number}" for language in TOPICS for number in (3, 7, 5)]
        return [[*ids, "nowhere"]] * len(queries), [[1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 9.0]] * len(queries)

    retriever = tamis.Retriever(numbered, name="numbered", version="1")
    run = tamis.run(tamis.Recipe(**recipe), out=tmp_path / "run", until="candidates", retriever=retriever)
    language = {row["query_id"]: (row["origin"], row["language"]) for row in run.queries}
    found = {row["query_id"]: row["doc_ids"] for row in run.candidates}
    own = {query_id for query_id in found if language[query_id][0] == "target"}
    assert {tuple(found[query_id]) for query_id in own} == {
        (f"{code}/7", f"{code}/5", f"{code}/3") for code in ("en", "de")
    }
    assert asked == [(len(own), 10)]
    assert all(len(found[query_id]) == 10 for query_id in found.keys() - own)  # general queries are searched
    manifest = read_json(run.folders["candidates"] / "manifest.json")
    assert manifest["unknown_documents_of_runs"] == {"numbered": len(own)}


def test_a_writer_decides_the_queries_and_what_it_leaves_out_is_counted(recipe, tmp_path):
    questions = {answer: question for pairs in TOPICS.values() for question, answer in pairs}

    def asking(documents: list[str]) -> list[Any]:
        found = [questions[text] for text in documents]
        return [question if "?" in question and len(question) > 24 else [] for question in found]

    writer = tamis.Writer(asking, name="people", version="1")
    content = {**recipe, "queries": {"writer": writer}}
    run = tamis.run(tamis.Recipe(**content), out=tmp_path / "run", until="queries")
    wanted = {question for question in questions.values() if len(question) > 24}
    written = [row for row in run.queries if row["origin"] == "target"]
    assert {row["text"] for row in written} == wanted
    assert all(row["query_id"] == f"people/0/{row['document_id']}" for row in written)
    silent = [row for row in run.dropped if row["stage"] == "queries" and row["reason"] == "no text in the answer"]
    assert len(silent) == len(questions) - len(wanted)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"teachers": [lengths]}, "teachers[0]: got lengths without a name and a version; give tamis.Teacher(function"),
        ({"retriever": lengths}, "retriever: got lengths without a name and a version; give tamis.Retriever(function"),
        ({"writer": lengths}, "writer: got lengths without a name and a version; give tamis.Writer(function"),
    ],
)
def test_a_function_without_name_and_version_is_refused(recipe, tmp_path, part, told):
    with pytest.raises(SettingsError) as caught:
        tamis.run(tamis.Recipe(**recipe), out=tmp_path / "run", **part)
    assert str(caught.value).startswith(told)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: tamis.Teacher(lengths, name="two words", version="1"),
            "tamis.Teacher: name is 'two words'; it should",
        ),
        (lambda: tamis.Writer(lengths, name="w", version=""), "tamis.Writer: version is ''; it should have at least 1"),
        (lambda: tamis.Teacher(lengths, name="t", version="1", weight=0), "tamis.Teacher: weight is 0; it should be"),
        (lambda: tamis.Retriever(3, name="r", version="1"), "tamis.Retriever: got 3, expected a function"),
    ],
)
def test_what_names_no_function_is_told(make, told):
    with pytest.raises(SettingsError) as caught:
        make()
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([1.0], "expected 2 numbers, one for each document, got shape [1]"),
        (["a", "b"], "expected 2 numbers, one for each document, got no numbers"),
        (0.5, "expected 2 numbers, one for each document, got shape []"),
    ],
)
def test_a_teacher_that_gives_something_else_is_told(answer, told):
    with pytest.raises(InputError, match="teacher 'odd'") as caught:
        tamis.Teacher(lambda query, documents: answer, name="odd", version="1").score("q", ["a", "b"])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "answer", [[], [["a"]], ([["a"]], []), ([["a", "a"]], [[1, 2]]), ([["a"]], [[float("nan")]]), ([["a"]], [["x"]])]
)
def test_a_retriever_that_gives_something_else_is_told(answer):
    with pytest.raises(InputError, match="retriever 'odd'"):
        tamis.Retriever(lambda queries, k: answer, name="odd", version="1").find(["q"], 5)


def test_of_more_than_k_the_best_count():
    retriever = tamis.Retriever(lambda q, k: ([["a", "b", "c"]], [np.array([1, 3, 2])]), name="r", version="1")
    assert retriever.find(["q"], 2) == [{"b": 3.0, "c": 2.0}]


@pytest.mark.parametrize("answer", ["ab", ["a"], [1, 2], [["a"], [1]], {"a": 1, "b": 2}, None])
def test_a_writer_that_gives_something_else_is_told(answer):
    with pytest.raises(InputError, match="writer 'odd'"):
        tamis.Writer(lambda documents: answer, name="odd", version="1").write(["a", "b"])


def test_a_recipe_that_only_names_a_function_wants_it_before_anything_is_done(recipe, tmp_path):
    content = {**recipe, "scores": {"teachers": [{"kind": "own", "name": "lengths", "version": "1"}]}}
    named = tamis.Recipe(**content)
    with pytest.raises(SettingsError, match=r"'lengths' is a function of your own .* tamis\.Teacher\(function"):
        tamis.run(named, out=tmp_path / "run", until="corpus")
    teacher = tamis.Teacher(lengths, name="lengths", version="1")
    given = tamis.api.run.with_own_parts(named, [teacher], None, None)
    keys, others = stage_keys(given), stage_keys(named)
    assert {stage for stage in keys if keys[stage] != others[stage]} <= {"report"}  # it shows what was written


def test_what_cannot_be_sent_runs_here_and_that_is_told(caplog, monkeypatch):
    pytest.importorskip("ray")
    context = object.__new__(RunContext)
    context.executor = Executor(run_here, elsewhere=True)
    lock = threading.Lock()
    kept = tamis.Teacher(lambda query, documents: lock.locked(), name="kept", version="1")
    sent = tamis.Teacher(lengths, name="sent", version="1")
    assert context.executor_for(sent).elsewhere
    assert not caplog.records
    assert not context.executor_for(kept).elsewhere
    assert "kept cannot be sent to other processes" in caplog.text


def test_a_retriever_of_ones_own_is_measured_like_a_run(corpus, tiny_encoder, tmp_path):
    answers = {question: f"{code}/{n}" for code, pairs in TOPICS.items() for n, (question, _) in enumerate(pairs)}

    def half_right(queries: list[str], k: int) -> tuple[list[list[str]], list[list[float]]]:
        """The right document, first for English questions and second for German ones."""
        ids = [[answers[q], "en/0" if answers[q] != "en/0" else "en/1"] for q in queries]
        return ids, [[2, 1] if found[0].startswith("en") else [1, 2] for found in ids]

    first = tamis.Retriever(half_right, name="mine", version="1")
    found = tamis.evaluate([], on=corpus, first=["bm25", first], out=tmp_path / "out")
    rows = [row for row in found.per_query if row["system"] == "mine"]
    values = {row["language"]: row["nDCG@10"] for row in rows}
    assert values["en"] == pytest.approx(1.0)
    assert values["de"] == pytest.approx(1 / np.log2(3))  # in the second place
    assert {row["system"] for row in found.per_query} >= {"bm25", "mine"}
    assert found.report._repr_html_().startswith("<iframe")
    assert Path(found.folder / "results.json").is_file()
