"""Runs of passages, `DOC#3`, judged as documents: the best passage of a document counts."""

import json
import shutil
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from tamis import Reranker
from tamis.artifacts import ItemStore, read_json
from tamis.evaluation.graded import by_model
from tamis.evaluation.passages import document_of
from tamis.evaluation.reading import read_set, read_sets
from tamis.formats.trec import read_run
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tests.commands import tamis
from tests.conftest import TOPICS

ANSWERS = [answer for _, answer in TOPICS["en"]]
QUESTIONS = [question for question, _ in TOPICS["en"]]
PARTS = {f"doc{n}#{part + 1}": ANSWERS[(3 * n + part) % 10] for n in range(4) for part in range(3)}
SHORT = {"short": ANSWERS[9], "odd#x": "What nobody asks.", "other#0": "Passages are counted from 1."}


def write_set(folder: Path, corpus: dict[str, str], judged: dict[str, dict[str, int]]) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", corpus.items()), ("queries", [(f"q{n}", q) for n, q in enumerate(QUESTIONS)])):
        lines = "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    lines = [f"{q}\t{doc_id}\t{grade}" for q, own in judged.items() for doc_id, grade in own.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return folder


JUDGED = {f"q{n}": {f"doc{n // 3 if n < 9 else 3}": 1} for n in range(9)} | {"q9": {"short": 2, "doc3#2": 1, "doc3": 0}}


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("passages") / "set", PARTS | SHORT, JUDGED)


def collapsed(doc_ids: list[str]) -> list[str]:
    """By hand: what stands before the mark, where it stands first."""
    found: list[str] = []
    for doc_id in doc_ids:
        whole = doc_id.split("#")[0] if doc_id in PARTS else doc_id
        found += [whole] * (whole not in found)
    return found


def figures(run: dict[str, list[str]], judged: dict[str, dict[str, int]], name: str) -> float:
    ranked = {q: {d: float(-rank) for rank, d in enumerate(ids)} for q, ids in run.items()}
    return ir_measures.calc_aggregate([ir_measures.parse_measure(name)], judged, ranked)[
        ir_measures.parse_measure(name)
    ]


def runs_of(folder: Path, name: str) -> dict[str, list[str]]:
    return {q: list(found.doc_ids) for q, found in read_run(folder / f"{name}.trec").items()}


def test_documents_count_with_their_best_passage_and_passages_beside_them(passages, stock_folder, tmp_path):
    out = tmp_path / "out"
    said = tamis("evaluate", f"m={stock_folder}", "--on", passages, "--passages", "--out", out)
    assert said.status == 0, said.err
    sets = read_json(out / "results.json")["sets"]
    assert [*sets] == ["set", "set-passages"]
    assert "--passages" in read_json(out / "results.json")["command"]
    assert (sets["set"]["documents"], sets["set-passages"]["documents"]) == (7, 15)
    assert "4 documents are there in 12 passages; each counts with its best passage" in sets["set"]["notes"]
    as_documents = JUDGED | {"q9": {"short": 2, "doc3": 1}}
    as_passages = {
        q: {p: grade for d, grade in own.items() for p in (PARTS if d in ("doc0", "doc1", "doc2", "doc3") else [d])
            if p == d or p.split("#")[0] == d}
        for q, own in JUDGED.items()
    }  # fmt: skip
    as_passages["q9"] = {"short": 2, "doc3#1": 0, "doc3#2": 1, "doc3#3": 0}
    for system in ("bm25", "m@bm25", "m~bm25"):
        fine = runs_of(out / "sets/set-passages/runs", system)
        whole = runs_of(out / "sets/set/runs", system)
        assert whole == {q: collapsed(ids) for q, ids in fine.items()}
        for name in ("nDCG@10", "R@100"):
            assert sets["set"]["figures"][system][name] == pytest.approx(figures(whole, as_documents, name))
            assert sets["set-passages"]["figures"][system][name] == pytest.approx(figures(fine, as_passages, name))
    best = sets["set"]["figures"]["oracle@bm25"]["nDCG@10"]
    assert all(best >= sets["set"]["figures"][one]["nDCG@10"] for one in ("bm25", "m@bm25"))


def test_without_the_option_only_documents_are_shown_and_with_it_there_must_be_passages(passages, tmp_path):
    assert tamis("evaluate", "--on", passages, "--out", tmp_path / "out").status == 0
    assert [*read_json(tmp_path / "out/results.json")["sets"]] == ["set"]
    whole = write_set(tmp_path / "whole", {"a": ANSWERS[0], "b": ANSWERS[1]}, {"q0": {"a": 1}})
    complaint = tamis("evaluate", "--on", whole, "--passages", "--out", tmp_path / "out").complaint
    assert complaint == (
        "--passages: no document of whole is there in passages, DOC#1 and so on, with a judgement of DOC; leave the "
        "option out"
    )


def test_what_a_model_graded_of_passages_is_measured_by_passages_too(passages, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(passages, folder)
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "model.tsv")
    for person in read_set(str(folder), passages=True):
        model = by_model(person)
        assert (model.name, model.documents.keys()) == (person.name, person.documents.keys())
        assert model.grades == person.grades


def test_ids_that_look_like_passages_and_are_judged_stay_as_they_are(tmp_path):
    """MIRACL's documents are called 7#12, and its judgements too."""
    (found,) = read_set(str(write_set(tmp_path / "set", PARTS, {"q0": {"doc0#1": 1}, "q1": {"doc1#2": 1}})))
    assert not found.passages
    assert found.searched == found.documents
    assert found.documents.keys() == PARTS.keys()
    assert found.judged_ranking("q0", ["doc0#2", "doc0#1"]) == ["doc0#2", "doc0#1"]


def test_runs_of_passages_over_whole_documents_are_runs_of_documents(tmp_path):
    corpus = {f"doc{n}": " ".join(PARTS[f"doc{n}#{part}"] for part in (1, 2, 3)) for n in range(4)}
    folder = write_set(tmp_path / "set", corpus, {q: own for q, own in JUDGED.items() if q != "q9"})
    rng = np.random.default_rng(2)
    run = {f"q{n}": [[*PARTS][i] for i in rng.permutation(12)] for n in range(9)}
    lines = [f"{q} Q0 {d} {rank} {20 - rank} own" for q, ids in run.items() for rank, d in enumerate(ids)]
    (tmp_path / "own.trec").write_text("\n".join(lines) + "\n")
    given = ("--run", f"own={tmp_path / 'own.trec'}", "--first", f"ours={tmp_path / 'own.trec'}")
    assert tamis("evaluate", "--on", folder, *given, "--out", tmp_path / "out").status == 0
    for name in ("own", "ours"):
        found = runs_of(tmp_path / "out/sets/set/runs", name)
        assert found == {q: collapsed(ids) for q, ids in run.items()}
    compared = tamis(
        "compare", tmp_path / "own.trec", tmp_path / "out/sets/set/runs/own.trec", "--on", folder, "--json"
    )
    (one,) = json.loads(compared.out)["comparisons"]
    assert (one["moved"], one["before"]) == (0, pytest.approx(one["after"]))
    (tmp_path / "own.trec").write_text("q0 Q0 doc9#1 1 1 own\n")
    complaint = tamis("evaluate", "--on", folder, *given[:2], "--out", tmp_path / "out").complaint
    assert "document 'doc9#1' of query 'q0' is not in the corpus of set" in complaint


def test_a_question_does_not_find_passages_of_itself(tmp_path):
    (found,) = read_set(str(write_set(tmp_path / "set", PARTS | {"q0#1": "x", "q0#2": "y"}, {"q0": {"doc0": 1}})))
    assert found.own == {"q0"}
    assert found.judged_ranking("q0", ["q0#1", "doc0#2", "q0#2", "doc0#1"]) == ["doc0"]


@pytest.mark.parametrize(
    ("doc_id", "whole"),
    [("a#1", "a"), ("a#b#12", "a#b"), ("a\n#3", "a\n"), ("a", ""), ("#1", ""), ("a#0", ""), ("a#01", ""), ("a#1x", "")],
)
def test_which_ids_are_those_of_passages(doc_id: str, whole: str):
    assert document_of(doc_id) == whole


# Windows


def test_long_documents_are_read_in_windows_where_that_is_asked_for(passages, warm_folder, tmp_path):
    corpus = {f"doc{n}": " ".join(ANSWERS[n:] + ANSWERS[:n]) for n in range(6)}
    folder = write_set(tmp_path / "set", corpus, {f"q{n}": {f"doc{n}": 1} for n in range(6)})
    out, reranker = tmp_path / "out", Reranker(warm_folder)
    for long in ("first", "windows"):
        more = [] if long == "first" else ["--long", long]
        said = tamis("evaluate", f"m={warm_folder}", "--on", folder, *more, "--full", "--out", out)
        assert said.status == 0, said.err
        assert ("--long windows" in read_json(out / "results.json")["command"]) == (long == "windows")
        run = runs_of(out / "sets/set/runs", "m@full")
        for number in range(6):
            logits = reranker.score_pairs([(QUESTIONS[number], text) for text in corpus.values()], long=long).logits
            ranked = logits[[int(doc_id.removeprefix("doc")) for doc_id in run[f"q{number}"]]]
            assert sorted(ranked, reverse=True) == pytest.approx(ranked, abs=1e-4)
            assert len(ranked) == 6
            assert np.ptp(ranked) > 1e-2
    complaint = tamis("evaluate", f"m={warm_folder}", "--on", folder, "--long", "all", "--out", out).complaint
    assert complaint == "--long is 'all', expected first or windows"


# The stage of a run


def test_a_run_over_passages_keeps_questions_whose_answer_was_cut(recipe, corpus, tmp_path):
    rows = [json.loads(line) for line in (corpus / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[0]["text"] = " ".join(answer for _, answer in TOPICS["en"])
    (corpus / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe["corpus"] |= {"passages": {"tokens": 40, "by": "sentences"}}
    made = recipe_from(recipe, "tiny")
    folders = run_recipe(made, tmp_path / "run", until="corpus")
    with open_parts(made, ItemStore(tmp_path / "items")) as parts:
        parts.context.folders |= folders
        stage = next(stage for stage in parts.stages if stage.name == "evaluate")
        judged, _, dropped = stage._judged_set()
        assert stage.key()[-1] == ["passages as documents"] or "passages as documents" in stage.key()
    cut = rows[0]["_id"]
    assert {cut} < judged.documents.keys()
    assert {one.document for one in judged.passages.values()} == {cut, ""}
    assert judged.questions[f"q/{cut}"].relevant == {cut: 1}
    assert not dropped
    assert judged.judged_ranking(f"q/{cut}", [f"{cut}#2", "en/3", f"{cut}#1"]) == [cut, "en/3"]


def test_sets_of_one_name_are_told_apart_in_passages_too(passages, tmp_path):
    found = [one.name for one in read_sets([str(passages)], passages=True)]
    assert found == ["set", "set-passages"]
