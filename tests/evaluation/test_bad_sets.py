"""What is wrong with a set, a run or a name is said in one line, before anything is computed."""

import gzip
import json
import sys

import ir_measures
import numpy as np
import pyarrow as pa
import pytest

from tamis.evaluation.figures import document_languages
from tamis.evaluation.reading import read_set
from tamis.formats.qrels import write_qrels
from tamis.formulas.measures import measure_rankings, parse_measures
from tests.commands import tamis
from tests.conftest import write_beir


@pytest.fixture
def folder(tmp_path):
    return write_beir(tmp_path / "set")


@pytest.fixture
def evaluate(folder, tmp_path):
    """Runs the command on the set."""
    return lambda *more: tamis("evaluate", "--on", folder, "--out", tmp_path / "out", *more)


def judge(folder, *lines):
    file = folder / "qrels" / "test.tsv"
    file.write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n", encoding="utf-8")
    return file


def run_of(tmp_path, *lines):
    file = tmp_path / "other.trec"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"other={file}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q/en/1\tEN/1\t1", "line 3: document 'EN/1' is not in corpus.jsonl; did you mean 'en/1'? (add it"),
        ("nobody\ten/1\t1", "line 3: query 'nobody' is not in queries.jsonl, whose ids look like 'q/en/0' (add it"),
        ("q/en/0\ten/0\t2", "line 3: document 'en/0' is judged for query 'q/en/0' on line 2 too, with an"),
        (
            "q/en/1\ten/1\t0.5",
            "line 3: expected query-id, corpus-id and a whole number between tabs, got 'q/en/1\\ten/1\\t0",
        ),
    ],
)
def test_judgements_that_do_not_fit(folder, evaluate, line, message):
    file = judge(folder, "q/en/0\ten/0\t1", line)
    found = evaluate()
    assert found.status == 2
    assert found.complaint.startswith(f"{file}, {message}")
    assert found.out == ""


def test_judgements_of_another_corpus(folder, evaluate):
    file = judge(folder, "q/en/0\tx/0\t1", "q/en/1\tx/99\t1")
    found = evaluate()
    assert found.complaint.startswith(
        f"{file}, line 2: document 'x/0' is not in corpus.jsonl, whose ids look like 'en/0' (add it"
    )


def test_grades_below_0_are_no_relevant_ones_and_are_told(folder, evaluate):
    judge(folder, "q/en/0\ten/0\t1", "q/en/0\ten/1\t-2", "q/en/1\ten/1\t-1")
    found = evaluate()
    assert found.status == 0
    assert "note: 2 judgements are below 0, the first on line 3 of" in found.out
    assert "note: 1 questions have no relevant document; they count as 0 in every system" in found.out


def test_judgements_that_are_said_twice_are_told(folder, evaluate):
    judge(folder, "q/en/0\ten/0\t1", "q/en/1\ten/1\t1", "q/en/0\ten/0\t1")
    found = evaluate()
    assert found.status == 0
    assert "note: 1 judgements are said twice, with the same grade; each counts once" in found.out


def test_a_set_that_no_file_of_a_folder_of_runs_is_for(folder, evaluate, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "sets.trec").write_text("q/en/0 Q0 en/0 1 1 t\n")
    beside = evaluate("--run", f"mine={runs}")
    assert beside.status == 0
    said = f"mine: {runs} has no run of this set, which would be called set.trec; left out"
    assert f"note: {said}" in beside.out
    assert evaluate("--first", f"mine={runs}").complaint == f"set: nothing ranks it; {said}"
    (runs / "sets.trec").rename(runs / "set.trec")
    assert "no run of this set" not in evaluate("--run", f"mine={runs}").out


def test_a_run_of_distances_is_told(evaluate, tmp_path):
    given = run_of(tmp_path, "q/en/0 Q0 en/0 1 0.2 t", "q/en/0 Q0 en/1 2 0.9 t", "q/en/1 Q0 en/1 1 3 t")
    found = evaluate("--run", given)
    told = (
        "other: other.trec: for 1 of 20 queries the ranks contradict the scores; the scores count, so negate distances"
    )
    assert f"note: {told}" in found.out


def test_names_in_brackets_are_shown_as_they_are(folder, evaluate):
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    named = [row | {"domain": "[/b] law" if number % 2 else "[eu] law"} for number, row in enumerate(rows)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    found = evaluate()
    assert found.status == 0, found.err
    assert "[/b] law" in found.out
    assert "[eu] law" in found.out


def test_documents_without_a_language_are_counted_where_languages_count(folder):
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({**row, "metadata": {}} if row["_id"] == "de/9" else row) + "\n" for row in rows)
    )
    (judged,) = read_set(str(folder), "same")
    assert "1 documents do not say their language; with --languages same that is one of its own" in judged.notes


def test_numbers_that_a_spreadsheet_made_of_ids(tmp_path):
    folder = tmp_path / "numbers"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": 7, "text": "seven"}\n{"_id": "8", "text": "eight"}\n')
    (folder / "queries.jsonl").write_text('{"_id": 1, "text": "which number?"}\n')
    judge(folder, "1\t7\t1", "1\t8.0\t1")
    found = tamis("evaluate", "--on", folder, "--out", tmp_path / "out")
    assert "line 3: document '8.0' is not in corpus.jsonl; did you mean '8'?" in found.complaint
    judge(folder, "1\t7\t1")
    assert tamis("evaluate", "--on", folder, "--out", tmp_path / "out").status == 0
    run = run_of(tmp_path, "1 Q0 007 1 2.0 t")
    found = tamis("evaluate", "--on", folder, "--run", run, "--out", tmp_path / "out")
    assert "document '007' of query '1' is not in the corpus of numbers; did you mean '7'?" in found.complaint


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no run in it; expected lines of query id, Q0, document id"),
        (["q/en/0 Q0 en/0 1 nan t"], "line 1: the score is 'nan', expected a finite number"),
        (["q/en/0 Q0 en/0 1 2 t", "q/en/0 Q0 en/0 2 1 t"], "line 2: document 'en/0' comes twice for query 'q/en/0'"),
        (["q/en/0 Q0 en/77 1 2 t"], "document 'en/77' of query 'q/en/0' is not in the corpus of set; it has ids like"),
        (["else Q0 en/0 1 2 t"], "none of its queries is judged in set, which has ids like 'q/en/0'; do they belong"),
    ],
)
def test_runs_that_do_not_fit(evaluate, tmp_path, lines, message):
    for option in ("--run", "--first"):
        found = evaluate(option, run_of(tmp_path, *lines))
        assert found.status == 2
        assert message in found.complaint


def test_compressed_sets_are_read(folder, evaluate):
    content = (folder / "corpus.jsonl").read_bytes()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(content))
    (folder / "corpus.jsonl").unlink()
    qrels = (folder / "qrels" / "test.tsv").read_bytes()
    (folder / "qrels" / "test.tsv.zst").write_bytes(pa.Codec("zstd").compress(qrels, asbytes=True))
    (folder / "qrels" / "test.tsv").unlink()
    queries = (folder / "queries.jsonl").read_bytes()
    (folder / "queries.jsonl.zst").write_bytes(pa.Codec("zstd").compress(queries, asbytes=True))
    (folder / "queries.jsonl").unlink()
    assert evaluate().status == 0


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_runs_are_read_compressed_and_a_cut_one_is_refused(evaluate, tmp_path, ending):
    plain = "".join(f"q/en/{n} Q0 en/{n} 1 2 t\n" for n in range(10)).encode()
    packed = gzip.compress(plain) if ending == "gz" else pa.Codec("zstd").compress(plain, asbytes=True)
    file = tmp_path / f"other.trec.{ending}"
    file.write_bytes(packed)
    assert evaluate("--run", f"other={file}").status == 0
    file.write_bytes(packed[: len(packed) // 2])
    found = evaluate("--run", f"other={file}")
    assert found.status == 2
    assert found.complaint.startswith(str(file))
    assert "cannot be read: " in found.complaint


def test_an_empty_query_and_a_folder_that_is_no_set(folder, evaluate, tmp_path):
    with (folder / "queries.jsonl").open("a") as file:
        file.write('{"_id": "blank", "text": " "}\n')
    assert evaluate().complaint.endswith("queries.jsonl, line 21: query 'blank' is empty; write it or remove the line")
    (folder / "corpus.jsonl").unlink()
    assert "no corpus.jsonl in it; a BEIR folder has corpus.jsonl" in evaluate().complaint
    found = tamis("evaluate", "--on", tmp_path / "none", "--out", tmp_path / "out")
    assert found.complaint.startswith(f"--on {tmp_path / 'none'}: no such folder; expected a BEIR folder")


def test_a_split_that_is_not_there(folder):
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    assert read_set(str(folder))[0].name == "set"
    (folder / "qrels" / "train.tsv").write_bytes((folder / "qrels" / "dev.tsv").read_bytes())
    assert read_set(f"{folder}:train")[0].name == "set-train"
    found = tamis("evaluate", "--on", folder)
    assert found.complaint == f"{folder}: no qrels/test.tsv; it has dev, train: name one, {folder}:dev"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("recipe.yaml",),
            "recipe.yaml is a recipe, not a model; its stage is `tamis run recipe.yaml --until evaluate`",
        ),
        ((), "no set to measure on; name one with --on, for instance --on my/beir-folder"),
    ],
)
def test_a_recipe_or_nothing(arguments, message):
    assert tamis("evaluate", *arguments).complaint == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--first", "dense"), "--first dense: dense search needs a bi-encoder; name its folder with --encoder"),
        (("--first", "bm52"), "--first bm52: no such first stage; expected bm25, dense, hybrid or NAME=FILE"),
        (("--run", "lonely"), "--run lonely: expected NAME=FILE, a TREC run (or a folder with SET.trec for each set)"),
        (("--run", "x=/nowhere.trec"), "--run x=/nowhere.trec: /nowhere.trec is not there"),
        (("--run", "bm25=/dev/null"), "name 'bm25' stands for two systems; give one of them another, as in NAME=PATH"),
        (("--run", "a=/dev/null", "--run", "a=/dev/zero"), "name 'a' stands for two systems; give one of them another"),
        (("--first", "a=/dev/null", "--first", "a=/dev/null"), "name 'a' stands for two systems; give one of them"),
        (("--run", "a b=/dev/null"), "name 'a b' cannot name a file; use letters, digits, dots and hyphens: NAME=PATH"),
        (("--measure", "nice@10"), "--measure: measure 'nice@10': measure not found: nice"),
        (("--depth", "0"), "--depth is 0, expected at least 1"),
        (("--languages", "some"), "--languages is 'some', expected same, cross or any"),
        (("--precision", "int3"), "--precision is 'int3', expected float32, bfloat16 or auto"),
    ],
)
def test_options_that_are_not_understood(evaluate, arguments, message):
    found = evaluate(*arguments)
    assert found.status == 2
    assert found.complaint.startswith(message)


def test_two_sets_of_one_name_and_a_folder_of_something_else(folder, evaluate, tmp_path):
    second = write_beir(tmp_path / "other" / "set")
    assert "its name, set, is that of" in evaluate("--on", second).complaint
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    found = tamis("evaluate", "--on", folder, "--out", tmp_path / "full")
    assert "not empty and not a run folder; choose another one with --out" in found.complaint


def test_packages_that_are_not_installed(monkeypatch, tmp_path):
    for name, given in (("ir_datasets", "irds:beir/scifact/test"), ("mteb", "mteb:SciFact")):
        monkeypatch.setitem(sys.modules, name, None)
        found = tamis("evaluate", "--on", given, "--out", tmp_path / "out")
        assert found.complaint.startswith(f"--on {given}: {name} is not installed; pip install")


def test_a_disk_that_cannot_be_written_is_one_line(evaluate, tmp_path, tiny_encoder):
    assert evaluate().status == 0
    (tmp_path / "out" / "vectors").touch()
    found = evaluate("--encoder", tiny_encoder)
    assert found.status == 2
    assert found.complaint.startswith(f"{tmp_path / 'out' / 'vectors'}")
    assert "cannot be written: " in found.complaint


# Every measure that reads a grade below 0 otherwise than 0, by what ir-measures gives on such grades, and some others.
JUNK_MATTERS = ("Bpref", "infAP", "nDCG(judged_only=True)@10", "AP(judged_only=True)", "P(judged_only=True)@5")
JUNK_DOES_NOT = ("nDCG@10", "AP", "RR@10", "R@5", "Judged@10", "AP(rel=2)", "Rprec")


def test_junk_is_measured_as_ir_measures_does_on_the_file_of_judgements_itself(folder):
    rng = np.random.default_rng(3)
    doc_ids = [f"en/{n}" for n in range(10)] + [f"de/{n}" for n in range(10)]
    grades = {
        f"q/en/{n}": {str(d): int(rng.integers(-2, 4)) for d in rng.choice(doc_ids, 14, replace=False)}
        for n in range(10)
    }
    file = judge(folder, *(f"{q}\t{d}\t{grade}" for q, of in grades.items() for d, grade in of.items()))
    rankings = {q: [str(d) for d in rng.permutation(doc_ids)] for q in grades}
    scores = {q: {d: -float(rank) for rank, d in enumerate(ranked)} for q, ranked in rankings.items()}
    trec = file.with_name("plain.qrel")
    write_qrels(trec, grades)
    (judged,) = read_set(str(folder))
    measures = parse_measures([*JUNK_MATTERS, *JUNK_DOES_NOT])
    found = measure_rankings(rankings.items(), judged.grades, measures)
    theirs: dict[str, dict[str, float]] = {}
    for one in ir_measures.iter_calc(list(measures.values()), ir_measures.read_trec_qrels(str(trec)), scores):
        theirs.setdefault(str(one.measure), {})[one.query_id] = one.value
    assert found == {name: pytest.approx(values, abs=1e-9) for name, values in theirs.items()}
    floored = {q: {d: max(grade, 0) for d, grade in of.items()} for q, of in grades.items()}
    alike = measure_rankings(rankings.items(), floored, measures)
    assert {name for name in found if found[name] != pytest.approx(alike[name])} == {
        str(ir_measures.parse_measure(name)) for name in JUNK_MATTERS
    }


def test_a_question_that_has_junk_alone_has_no_relevant_document_of_its_language(folder):
    judge(folder, "q/en/0\ten/0\t1", "q/en/0\tde/0\t2", "q/en/1\ten/1\t-1", "q/en/1\tde/1\t1")
    (judged,) = read_set(str(folder))
    assert {language: sorted(of) for language, of in document_languages(judged).items()} == {
        "de": ["q/en/0", "q/en/1"],
        "en": ["q/en/0"],
    }
    (same,) = read_set(str(folder), "same")
    assert sorted(same.questions) == ["q/en/0"]
