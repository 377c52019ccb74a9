"""Measures are those of pytrec_eval and ir-measures, whatever the ties, the blocks and the order."""

import os
import re
import shutil
import subprocess
import sys

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.formulas import measures as ours
from tamis.formulas.measures import measure_rankings, parse_measures
from tamis.formulas.ranking import rank_order, tie_key

NAMES = ("nDCG@10", "RR@10", "AP", "R@100", "Success@1", "P@5", "nDCG@3")
TREC = {
    "nDCG@10": "ndcg_cut_10",
    "AP": "map",
    "R@100": "recall_100",
    "Success@1": "success_1",
    "P@5": "P_5",
    "nDCG@3": "ndcg_cut_3",
}
DOC_IDS = [f"d{number}" for number in range(40)]


def random_judgements(rng, queries=15):
    return {
        f"q{n}": {d: int(rng.integers(0, 4)) for d in rng.choice(DOC_IDS, int(rng.integers(1, 9)), replace=False)}
        for n in range(queries)
    }


def random_scores(rng, grades, levels):
    """Scores of some documents for most of the queries; few levels, so that many are tied."""
    return {
        query_id: {d: float(rng.integers(levels)) for d in rng.choice(DOC_IDS, int(rng.integers(1, 40)), replace=False)}
        for query_id in grades
        if rng.random() < 0.9
    }


def ranked(scores):
    for query_id, found in scores.items():
        doc_ids = list(found)
        keys = [tie_key(query_id, doc_id) for doc_id in doc_ids]
        yield query_id, [doc_ids[i] for i in rank_order(np.array(list(found.values())), keys)]


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([1, 2, 5, 10_000]))
@settings(max_examples=25)
def test_every_measure_is_that_of_trec_eval_and_ir_measures_once_ties_are_broken(seed, levels):
    rng = np.random.default_rng(seed)
    grades = random_judgements(rng)
    rankings = dict(ranked(random_scores(rng, grades, levels)))
    found = measure_rankings(rankings.items(), grades, parse_measures(NAMES))
    strict = {q: {d: 1000.0 - rank for rank, d in enumerate(doc_ids)} for q, doc_ids in rankings.items()}
    theirs = pytrec_eval.RelevanceEvaluator(grades, set(TREC.values())).evaluate(strict)
    for name, key in TREC.items():
        assert found[name] == pytest.approx({q: theirs.get(q, {}).get(key, 0.0) for q in grades}, abs=1e-9)
    # Over all judged queries, those without results included.
    means = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in NAMES], grades, strict)
    for measure, mean in means.items():
        assert np.mean(list(found[str(measure)].values())) == pytest.approx(mean, abs=1e-9)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_neither_the_order_of_the_input_nor_the_size_of_the_blocks_changes_a_figure(seed):
    rng = np.random.default_rng(seed)
    grades = random_judgements(rng)
    scores = random_scores(rng, grades, 2)
    measures = parse_measures(NAMES)
    expected = measure_rankings(ranked(scores), grades, measures)
    turned = {q: dict(reversed(found.items())) for q, found in reversed(scores.items())}
    assert measure_rankings(ranked(turned), grades, measures) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "BLOCK", 2)
        assert measure_rankings(ranked(turned), grades, measures) == expected


def test_a_constant_scorer_is_worth_what_chance_is_worth_wherever_the_relevant_document_stands():
    queries, documents = 1500, 10
    grades = {f"q{n}": {"d0": 1} for n in range(queries)}
    constant = {q: {f"d{n}": 0.5 for n in range(documents)} for q in grades}  # the relevant one always first
    found = measure_rankings(ranked(constant), grades, parse_measures(["RR@10", "Success@1", "nDCG@10"]))
    chance = {
        "RR@10": np.mean(1 / np.arange(1, documents + 1)),
        "Success@1": 1 / documents,
        "nDCG@10": np.mean(1 / np.log2(np.arange(2, documents + 2))),
    }
    for name, expected in chance.items():
        values = np.array(list(found[name].values()))
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / np.sqrt(queries))


def test_queries_without_results_count_0_and_queries_without_judgements_do_not_count():
    grades = {"q": {"d": 1}, "empty": {"d": 1}, "missing": {"d": 1}}
    found = measure_rankings([("q", ["d"]), ("empty", []), ("unjudged", ["d"])], grades, parse_measures(["MRR@10"]))
    assert found == {"RR@10": {"q": 1.0, "empty": 0.0, "missing": 0.0}}


def test_where_nothing_was_found_at_all_every_query_counts_0():
    found = measure_rankings([("q", []), ("r", [])], {"q": {"d": 1}, "r": {"d": 1}}, parse_measures(["AP", "P@5"]))
    assert found == {name: {"q": 0.0, "r": 0.0} for name in ("AP", "P@5")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", r"^measure 'nonsense': measure not found: nonsense; expected nDCG@10"),
        ("nDCG@", r"^measure 'nDCG@': problem parsing measure"),
        ("alpha_nDCG@10", r"^measure 'alpha_nDCG@10': Unsupported measures .*pip install ir-measures"),
    ],
)
def test_what_is_no_measure_is_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message):
        parse_measures([name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(
            (f"{name}@0", "the cutoff is 0, and a whole number from 1")
            for name in ("nDCG", "P", "R", "AP", "RR", "ERR")
        ),
        ("Success@0", "the cutoff is 0"),
        ("nDCG@1.5", r"the cutoff is 1\.5"),
        ("nDCG@True", "the cutoff is True"),
        ("P@18446744073709551616", "the cutoff is 18446744073709551616"),
        ("AP(rel=0)", "relevance_level should be positive"),
        ("INST", "it needs the parameter"),
        ("RBP(p=0.8)@10", "Unsupported measures"),
        ("", "problem parsing measure"),
        ("nice@10", "measure not found: nice"),
    ],
)
def test_what_cannot_be_computed_is_told_and_ends_no_process(name, message):
    with pytest.raises(ValueError, match=rf"^measure '{re.escape(name)}': .*{message}.*; expected nDCG@10, RR@10"):
        parse_measures([name])


def test_measures_of_a_program_that_is_not_there_are_told():
    # In a process of its own: ir-measures remembers what it has not found.
    code = "from tamis.formulas.measures import parse_measures; parse_measures(['ERR@10'])"
    environment = {**os.environ, "PATH": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert re.search(r"ValueError: measure 'ERR@10': .*perl", ended.stderr)


@pytest.mark.skipif(shutil.which("perl") is None, reason="gdeval is a program in perl")
def test_measures_of_a_program_take_any_ids_and_are_those_of_their_papers():
    names = ("ERR@3", "nDCG(dcg='exp-log2')@3")
    grades = {"q 1/\u200c": {"a b": 3, "c\u3000d": 0, "e": 1, "f": 4}, "2": {"a b": 2}}
    rankings = {"q 1/\u200c": ["c\u3000d", "a b", "e", "z"], "2": ["x", "a b"]}
    found = measure_rankings(rankings.items(), grades, parse_measures(names))
    for query_id, ranked in rankings.items():
        gains = [2 ** grades[query_id].get(d, 0) - 1 for d in ranked[:3]]
        best = sorted((2**grade - 1 for grade in grades[query_id].values()), reverse=True)[:3]
        # Chapelle et al., CIKM 2009, with grades up to 4; Burges et al., ICML 2005.
        stops = [gain / 16 for gain in gains]
        err = sum(stop / rank * np.prod([1 - s for s in stops[: rank - 1]]) for rank, stop in enumerate(stops, 1))
        dcg, ideal = (sum(gain / np.log2(rank + 1) for rank, gain in enumerate(some, 1)) for some in (gains, best))
        assert found["ERR@3"][query_id] == pytest.approx(err, abs=1e-5)
        assert found[names[1]][query_id] == pytest.approx(dcg / ideal, abs=1e-5)


@pytest.mark.skipif(shutil.which("perl") is None, reason="gdeval is a program in perl")
def test_grades_that_a_program_does_not_take_are_told():
    with pytest.raises(InputError, match=r"ERR@10: .*gdeval.* does not take these judgements; grades above 4"):
        measure_rankings([("q", ["d"])], {"q": {"d": 5}}, parse_measures(["ERR@10"]))


def test_a_measure_that_is_not_defined_for_a_ranking_is_told():
    # Accuracy is the share of pairs in the right order: ir-measures divides by the others, and here there are none.
    with pytest.raises(InputError, match=r"^nDCG@10, Accuracy@10: one of them cannot be computed .*division by zero"):
        measure_rankings([("q", ["d"])], {"q": {"d": 1}}, parse_measures(["nDCG@10", "Accuracy@10"]))


def test_a_measure_that_is_no_number_is_told(monkeypatch):
    class Evaluator:
        def iter_calc(self, run):
            yield from (ir_measures.Metric(q, ir_measures.AP, float("nan")) for q in run)

    measures = parse_measures(["AP"])
    monkeypatch.setattr(ir_measures, "evaluator", lambda *given: Evaluator())
    with pytest.raises(
        InputError, match=r"^AP: one of them cannot be computed for these rankings \(AP is nan for a query"
    ):
        measure_rankings([("q", ["d"])], {"q": {"d": 1}}, measures)
