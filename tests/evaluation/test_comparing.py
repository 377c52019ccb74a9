"""`tamis compare`: what changed, for which queries; figures by pytrec_eval, texts from the set."""

import random

import numpy as np
import pytest
import pytrec_eval

from tamis.evaluation.comparing import compare
from tamis.evaluation.reading import read_set
from tests.commands import tamis
from tests.conftest import TOPICS, write_beir

IDS = [f"{language}/{n}" for language in TOPICS for n in range(10)]


@pytest.fixture
def folder(tmp_path):
    return write_beir(tmp_path / "set")


@pytest.fixture
def runs(tmp_path):
    """Two runs: in the second one the relevant document comes first for half of the queries."""
    rng = random.Random(3)
    files, scores = [], []
    for name in ("a", "b"):
        found = {}
        for number, own in enumerate(IDS):
            ranked = rng.sample(IDS, 12)
            if name == "b" and number % 2:
                ranked = [own, *(d for d in ranked if d != own)][:12]
            found[f"q/{own}"] = {doc_id: 20.0 - rank for rank, doc_id in enumerate(ranked)}
        files.append(tmp_path / f"{name}.trec")
        files[-1].write_text("".join(f"{q} Q0 {d} 1 {s} x\n" for q, own in found.items() for d, s in own.items()))
        scores.append(found)
    return files, scores


def test_figures_are_those_of_trec_eval_and_the_largest_changes_come_first(folder, runs):
    files, scores = runs
    evaluator = pytrec_eval.RelevanceEvaluator({f"q/{own}": {own: 1} for own in IDS}, {"map"})
    theirs = [{q: found["map"] for q, found in evaluator.evaluate(run).items()} for run in scores]
    (found,) = compare(*files, str(folder), "AP", None, 4, 3)
    assert (found.measure, found.queries) == ("AP", 20)
    assert found.before == pytest.approx(np.mean(list(theirs[0].values())))
    assert found.after == pytest.approx(np.mean(list(theirs[1].values())))
    differences = {q: theirs[1][q] - theirs[0][q] for q in theirs[0]}
    assert found.test["wins"] == sum(d > 0 for d in differences.values())
    assert [change.after - change.before for change in found.changes] == pytest.approx(
        sorted(differences.values(), key=lambda d: -abs(d))[:4]
    )
    for change in found.changes:
        own = change.query_id.removeprefix("q/")
        for place, side, other in ((0, 0, 1), (1, 1, 0)):
            ranked = list(scores[side][change.query_id])
            elsewhere = list(scores[other][change.query_id])
            for shown, doc_id in zip(change.rankings[place], ranked[:3], strict=True):
                assert shown.doc_id == doc_id
                assert shown.elsewhere == (elsewhere.index(doc_id) + 1 if doc_id in elsewhere else None)
                assert shown.grade == (1 if doc_id == own else None)
                language, number = doc_id.split("/")
                assert shown.text == TOPICS[language][int(number)][1]


def test_without_judgements_the_overlap_of_the_best_ten_is_shown(runs):
    files, scores = runs
    found = tamis("compare", *files, "--queries", 1)
    assert found.status == 0
    (compared,) = compare(*files, None, "nDCG@10", None, 1, 5)
    heads = [{q: list(own)[:10] for q, own in run.items()} for run in scores]
    overlaps = {q: len({*heads[0][q]} & {*heads[1][q]}) / 10 for q in heads[0]}
    assert (compared.measure, compared.after) == ("overlap@10", pytest.approx(np.mean(list(overlaps.values()))))
    assert compared.changes[0].after == min(overlaps.values())
    assert "a → b" in found.out


def test_two_evaluations_are_compared_system_by_system(folder, runs, tmp_path):
    (a, b), _ = runs
    for name, run in (("one", a), ("two", b)):
        assert tamis("evaluate", "--on", folder, "--run", f"other={run}", "--out", tmp_path / name).status == 0
    found = tamis("compare", tmp_path / "one", tmp_path / "two", "--queries", 2, "--top", 2)
    assert found.status == 0
    assert "set: bm25" in found.out
    assert "set: other" in found.out
    assert "✓ 1" in found.out
    assert any(answer[:30] in found.out for topics in TOPICS.values() for _, answer in topics)
    by_title = {one.title: one for one in compare(tmp_path / "one", tmp_path / "two", None, "nDCG@10", None, 2, 2)}
    assert (by_title["set: bm25"].moved, by_title["set: bm25"].test["ties"]) == (0, 20)
    # The runs of an evaluation know their set.
    (own,) = compare(*(tmp_path / n / "sets/set/runs/other.trec" for n in ("one", "two")), None, "nDCG@10", None, 2, 2)
    assert own.after == pytest.approx(by_title["set: other"].after)
    # Where it is not known any more, ids have to do.
    for lost in ("{", "[]", '{"sets": []}', "[" * 100_000):
        (tmp_path / "one" / "results.json").write_text(lost)
        (without,) = compare(tmp_path / "one", tmp_path / "two", "set", "nDCG@10", "other", 1, 1)
        assert (without.after, without.changes[0].text) == (by_title["set: other"].after, "")
    complaint = tamis("compare", tmp_path / "one", tmp_path / "two", "--system", "nobody").complaint
    assert complaint.endswith("no run in common --system nobody; they have bm25, oracle@bm25, other")


def test_what_cannot_be_compared(runs, tmp_path):
    (a, _), _ = runs
    assert tamis("compare", a, tmp_path / "none").complaint.endswith(
        "not there; expected a TREC run, LOG:MODEL or the folder of an evaluation"
    )
    assert "one is a folder, one a file; compare two runs" in tamis("compare", a, tmp_path).complaint
    assert "no runs in it; expected the folder of an evaluation" in tamis("compare", tmp_path, tmp_path).complaint


def test_a_set_of_several_is_not_the_first_of_them(runs, monkeypatch, folder):
    files, _ = runs
    both = [*read_set(str(folder)), *read_set(str(folder))]
    monkeypatch.setattr("tamis.evaluation.reading.read_set", lambda given: both)
    assert tamis("compare", *files, "--on", folder).complaint == (
        f"--on {folder} holds 2 sets, expected one; name one of set, set"
    )
