"""The page of `tamis evaluate`: its verdict, its figures, its heat maps, and where the models come from."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tamis.evaluation.figures import ComparedPair, Measured, PairedTests, model_facts, results_of, set_figures
from tamis.evaluation.judged import Question
from tamis.evaluation.sets import JudgedSet
from tamis.evaluation.systems import System
from tamis.evaluation.tables import print_evaluation
from tamis.records import Document
from tamis.report.examples import Case, ChangedQuestions, Top
from tamis.report.highlight import Fragment
from tamis.report.page import ReportData, write_report
from tamis.report.sets import heats
from tests.report.test_report import HOSTILE, Page

LANGUAGES = ("ar", "de", "ja")


def made_set(name, gain, notes=(), domains=("", "", ""), served=0.0, seen=True):
    """Thirty questions in three languages, each relevant in each of them.

    The model ranks better by `gain` with BM25's scores, by `served` as served, and much better alone.
    """
    rng = np.random.default_rng(len(name))
    documents = {f"{lang}{n}": Document(f"{lang}{n}", f"document {n}", lang) for lang in LANGUAGES for n in range(10)}
    questions = {
        f"q{lang}{n}": Question(
            f"q{lang}{n}", "question " * (1 + n), lang, {f"{one}{n}": 1 for one in LANGUAGES}, domain
        )
        for lang, domain in zip(LANGUAGES, domains, strict=True)
        for n in range(10)
    }
    judged = JudgedSet(name, f"sets/{name}", documents, questions, notes=notes)
    base = rng.uniform(0.2, 0.4, 30)
    measured = []
    for number, (system, group, baseline) in enumerate(
        [
            ("bm25", "first stage", None),
            ("oracle@bm25", "oracle", None),
            ("mine~bm25", "as served", "bm25"),
            ("mine@bm25", "model", "bm25"),
            ("mine+bm25", "model + first stage", "bm25"),
        ]
    ):
        values = base + (0, 0.5, served, 0.3, gain)[number] + rng.uniform(-0.05, 0.05, 30) * (number > 1)
        across = {lang: values * (1 - 0.1 * place) for place, lang in enumerate(LANGUAGES)}
        tied = None if group == "oracle" else 0.1
        measured.append(
            Measured(System(system, system, group, baseline), {"nDCG@10": values, "AP": values / 2}, tied, across)
        )
    names = ("mine~bm25", "mine@bm25", "mine+bm25")
    tests = PairedTests([ComparedPair(system, "bm25", number) for number, system in enumerate(names)], 500)
    return set_figures(judged, measured, "nDCG@10", tests, {"mine": seen})


def made_results(gains=(0.2,), seen=True, notes=(), served=None):
    served = served or [gain / 2 for gain in gains]
    sets = {
        f"set{number}": made_set(f"set{number}", gain, notes, served=own, seen=seen)
        for number, (gain, own) in enumerate(zip(gains, served, strict=True))
    }
    cost = {
        "pairs_per_second": 41.5,
        "pairs": 600,
        "milliseconds_per_100": 2410.0,
        "parameters": 118_000_000,
        "active_parameters": 118_000_000,
        "peak_memory_bytes": 2**30,
        "device_memory_bytes": 0,
        "disk_bytes": 470 * 2**20,
        "device": "cpu",
        "precision": "float32",
        "measured": "2026-11-30 14:20 UTC",
        "processor_share": 0.451,
    }
    lineage = {"start": "/home/somebody/secret/e5-small", "teacher": "1 bi-encoder", "recipe": "demo", "seed": 7}
    models = {"mine": model_facts("models/mine", "float32", lineage, cost)}
    return {
        **results_of(sets, ["nDCG@10", "AP"], 50, "any", models),
        "seconds": 1.0,
        "command": "tamis evaluate mine=/home/somebody/models/mine --on sets/set0 --out /home/somebody/out",
        "versions": {"numpy": "2.4.6"},
    }


def made_changed(names=("set0",), question="Where is the key?"):
    top = Top([Fragment("The ", False), Fragment("key", True), Fragment(" is here.", False)], "de", True)
    helped = [Case(question, "de", 0.1, 0.9, 8, 1, replace(top, relevant=False), top)]
    hurt = [Case("Wo?", "de", 1.0, 0.0, 1, None, top, None)]
    return [ChangedQuestions(name, "mine+bm25", "bm25", helped, hurt) for name in names]


@pytest.fixture
def in_words(monkeypatch):
    """Pages have no plots, which take nearly all of the time to write one."""
    monkeypatch.setattr("tamis.report.plots.language_changes", lambda *given: "<svg></svg>")


def page_of(results, folder, changed=()):
    write_report(ReportData("Evaluation on some sets", results, changed), folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_every_figure_and_what_each_model_comes_from_stand_in_the_table_of_the_set(tmp_path):
    results = made_results()
    page = page_of(results, tmp_path)
    rows = {row[0].removesuffix("T"): row[1:] for row in page.table("set0: every system")}
    for name, figures in results["sets"]["set0"]["figures"].items():
        assert [cell.split()[0] for cell in rows[name][1:3]] == [f"{100 * value:.1f}" for value in figures.values()]
    assert [row[0] for name, row in rows.items() if name.startswith("mine")] == ["as served", "model", SCORED]
    assert rows["mine+bm25"][:1] + rows["mine+bm25"][4:] == [SCORED, "…/e5-small", "1 bi-encoder"]
    assert "as served (MODEL~FIRST STAGE, marked at the left) is what a client gets who sends" in page.text
    assert "somebody" not in page.text
    assert page.table("What each checkpoint")[1][4] == "set0: transductive"
    speed, size = ["mine", "41.5", "2410", "118,000,000", "118,000,000"], ["1.0 GiB", "–", "470 MiB", "cpu, float32"]
    assert page.table("Speed, size")[1] == [*speed, *size, "2026-11-30 14:20 UTC, 45%"]
    assert "tamis evaluate mine=…/mine --on sets/set0 --out …/out" in page.text


SCORED = "model + first stage"
IN_ORDER = ", and send the documents in its order."
WITH_SCORES = ", and send the first stage’s scores with the documents."


@pytest.mark.parametrize(
    ("gains", "served", "said"),
    [
        ((0.2,), (0.1,), "Deploy mine behind bm25" + WITH_SCORES),
        ((0.1,), (0.2,), "Deploy mine behind bm25" + IN_ORDER),
        ((0.2,), (-0.1,), "Deploy mine behind bm25" + WITH_SCORES),
        ((-0.1,), (0.2,), "Deploy mine behind bm25" + IN_ORDER),
        ((0.2, 0.1), (0.1, 0.05), "Deploy mine behind bm25" + WITH_SCORES),
        ((0.1, 0.1), (0.2, 0.1), "Deploy mine behind bm25" + IN_ORDER),
        ((0.2, -0.2), (-0.1, -0.2), "Deploy mine behind bm25 for set0 only" + WITH_SCORES),
        ((-0.1, -0.1), (-0.2, -0.1), "Do not deploy mine behind bm25: it ranks worse."),
        ((-0.2,), (-0.1,), "Do not deploy mine behind bm25: it ranks worse."),
        ((0.0,), (0.0,), "Do not deploy mine behind bm25 yet: what it changes may be chance."),
    ],
)
def test_the_verdict_is_on_what_a_client_gets_though_the_model_alone_ranks_best(
    in_words, tmp_path, gains, served, said
):
    results = made_results(gains, served=served)
    page = page_of(results, tmp_path)
    text = " ".join(page.text.split())
    openings = (
        "With the first stage’s scores sent along, mine ",
        "As served, with documents sent in the first stage’s",
    )
    opening = openings[0] if WITH_SCORES in said else openings[1]
    assert text.index(said) < text.index(opening)
    told = io.StringIO()
    print_evaluation(results, Console(file=told, width=300))
    assert f"{said} {opening}" in told.getvalue()
    figures = (results["means"][name]["nDCG@10"] for name in ("mine~bm25", "bm25"))
    served, before = (f"{100 * value:.1f}" for value in figures)
    against = f"As served, without the scores, it has {served} against bm25’s {before}"
    assert (against in text) == (WITH_SCORES in said)


def test_a_model_that_was_only_measured_alone_is_not_said_to_be_deployed(tmp_path):
    results = made_results()
    found = results["sets"]["set0"]
    for name in ("mine~bm25", "mine+bm25"):
        found["systems"] = [one for one in found["systems"] if one["name"] != name]
        found["comparisons"] = [one for one in found["comparisons"] if one["system"] != name]
        del found["figures"][name], found["tie_rate"][name], results["means"][name]
    text = page_of(results, tmp_path).text
    assert "mine@bm25 ranks best." in text
    assert "Deploy" not in text


def test_of_several_models_the_answer_names_the_best(tmp_path):
    results = made_results()
    results["models"]["theirs"] = results["models"]["mine"]
    results["sets"]["set0"]["adapted_to_corpus"]["theirs"] = False
    assert "sent along, mine, which ranks best of the models, raises mean nDCG@10 by" in page_of(results, tmp_path).text


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (True, "Transductive: mine learnt from documents of set0, the same that it ranks here."),
        (None, "Its checkpoint does not say whether mine learnt from these documents."),
    ],
)
def test_what_the_checkpoint_says_of_the_documents_stands_below_the_verdict(in_words, tmp_path, seen, said):
    assert said in page_of(made_results(seen=seen), tmp_path).text
    assert said not in page_of(made_results(seen=False), tmp_path).text


def test_the_matrix_of_languages_is_a_heat_map(tmp_path):
    results = made_results()
    page = page_of(results, tmp_path)
    matrix = results["sets"]["set0"]["matrix"]
    rows = page.table("mine+bm25: questions (rows)")
    assert rows[0] == ["Question", *LANGUAGES]
    for row in rows[1:]:
        assert row[1:] == [f"{100 * matrix[row[0]][one]['figures']['mine+bm25']:.1f}" for one in LANGUAGES]
    assert [[cell.height for cell in row] for row in heats([[0.2, 0.4], [None, 0.3]])] == [
        [0.0, 1.0],
        [0.0, pytest.approx(0.5)],
    ]


def test_questions_that_changed_most_are_shown_with_their_matches(tmp_path):
    page = page_of(made_results(), tmp_path, made_changed())
    text = " ".join(page.text.split())
    assert "bm25 → mine with scores" in text
    assert "Where is the key? nDCG@10 10.0 → 90.0 ▲" in text
    assert "Relevant document: rank 8 → rank 1" in text
    assert "Relevant document: rank 1 → not in the first ten" in text
    assert "<mark>key</mark>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "where it hurt" not in page_of(made_results(), tmp_path).text


def test_questions_are_grouped_by_domain_where_a_set_names_some(tmp_path):
    results = made_results()
    assert results["sets"]["set0"]["groups"]["domain"] == {}
    domains = ("medicine", "", "law")
    results["sets"]["set0"] |= {"groups": made_set("set0", 0.2, domains=domains)["groups"]}
    groups = results["sets"]["set0"]["groups"]["domain"]
    assert {name: group["questions"] for name, group in groups.items()} == {"law": 10, "medicine": 10, "not said": 10}
    rows = page_of(results, tmp_path).table("set0: nDCG@10 by domain of the question")
    assert rows[0] == ["System", "law (10)", "medicine (10)", "not said (10)"]
    own = [f"{100 * group['figures']['mine+bm25']:.1f}" for group in groups.values()]
    assert ["mine+bm25", *own] in rows


def test_hostile_text_stays_text_and_nothing_comes_from_outside(tmp_path):
    page = page_of(made_results(notes=(HOSTILE,)), tmp_path, made_changed(question=HOSTILE))
    assert page.tags.count("script") == 1
    assert HOSTILE in page.text
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\((?!#)", source)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_runs_without_a_model_still_have_a_page(tmp_path):
    results = made_results()
    found = results["sets"]["set0"]
    found["systems"] = found["systems"][:2]
    for part in (found["figures"], found["tie_rate"], results["means"]):
        del part["mine~bm25"], part["mine@bm25"], part["mine+bm25"]
    found |= {"comparisons": [], "adapted_to_corpus": {}}
    assert "bm25 ranks best." in page_of(results | {"models": {}}, tmp_path).text
