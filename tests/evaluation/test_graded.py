"""Folders of few graded questions: intervals by a person's and a model's grades, against the files, and the verdict."""

import io
import itertools
import json
import re
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from rich.console import Console

from tamis.evaluation.graded import FEWEST, PLANNED, WORTH, decide, width_table
from tamis.evaluation.tables import print_evaluation, print_widths
from tamis.formulas.prediction_powered import MeanInterval, mean_interval, powered_interval
from tamis.report.answer import answer_of
from tests.commands import tamis
from tests.evaluation.test_report import made_results, page_of
from tests.schemas import complaints, undescribed

GRADED = 35  # three languages of eleven questions, two of the fourth
LANGUAGES = ("de", "en", "fr", "it")
OF_EACH = 11
ALL = OF_EACH * len(LANGUAGES)


def write_graded(folder: Path, graded: int = GRADED) -> Path:
    """A person graded the first questions; a model graded all of them, and errs by a seeded coin."""
    (folder / "qrels").mkdir(parents=True)
    ids = [f"{language}/{number}" for language in LANGUAGES for number in range(OF_EACH)]
    rows = {
        "corpus": [
            {"_id": i, "title": "", "text": f"word{n} word{n // 2}", "metadata": {"lang": i[:2]}}
            for n, i in enumerate(ids)
        ],
        "queries": [{"_id": f"q/{i}", "text": f"word{n // 2}", "metadata": {"lang": i[:2]}} for n, i in enumerate(ids)],
    }
    for name, some in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in some))
    rng = np.random.default_rng(0)
    pooled = {n: sorted({n, *rng.integers(0, len(ids), 3).tolist()}) for n in range(len(ids))}
    person = [f"q/{ids[q]}\t{ids[d]}\t{2 * (q == d)}" for q in range(graded) for d in pooled[q]]
    liked = {q: {d: int(d == q or rng.random() < 0.1) for d in found} for q, found in pooled.items()}
    model = [f"q/{ids[q]}\t{ids[d]}\t{grade}" for q, found in liked.items() for d, grade in found.items()]
    for name, some in (("test", person), ("model", model)):
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *some]) + "\n")
    return folder


def write_run(file: Path, ids: list[str]) -> Path:
    """Another engine that puts the right document among the first five of ten."""
    rng = np.random.default_rng(1)
    lines = []
    for place, doc_id in enumerate(ids):
        found = [ids[(place + step) % len(ids)] for step in range(1, 11)]
        found.insert(int(rng.integers(5)), doc_id)
        lines += [f"q/{doc_id} Q0 {one} {rank} {-rank} other" for rank, one in enumerate(found, 1)]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("graded")
    folder = write_graded(base / "judged")
    run = write_run(base / "other.trec", [f"{language}/{n}" for language in LANGUAGES for n in range(OF_EACH)])
    found = tamis("evaluate", "--on", folder, "--first", "bm25", "--run", f"other={run}", "--out", base / "out")
    assert found.status == 0, found.err
    assert "by grades of a person (35 questions) and of a model" in found.out
    return base


@pytest.fixture(scope="module")
def results(measured) -> dict:
    return json.loads((measured / "out" / "results.json").read_text(encoding="utf-8"))


def differences(folder: Path, runs: Path, measure: str) -> dict[str, float]:
    """Of each judged question, as ir-measures finds them in the files that were written."""
    qrels = [
        ir_measures.Qrel(*line.split("\t")[:2], int(line.split("\t")[2]))
        for line in folder.read_text().splitlines()[1:]
    ]
    values = [
        {
            one.query_id: one.value
            for one in ir_measures.iter_calc(
                [ir_measures.parse_measure(measure)], qrels, ir_measures.read_trec_run(str(runs / f"{name}.trec"))
            )
        }
        for name in ("bm25", "other")
    ]
    return {query_id: value - values[0][query_id] for query_id, value in values[1].items()}


@pytest.mark.parametrize("measure", ["nDCG@10", "RR@10"])
def test_the_intervals_are_those_of_the_files(measured, results, measure):
    qrels, runs = measured / "judged" / "qrels", measured / "out" / "sets" / "judged"
    person = differences(qrels / "test.tsv", runs / "runs", measure)
    model = differences(qrels / "model.tsv", runs / "model" / "runs", measure)
    assert (len(person), len(model)) == (GRADED, ALL)
    grades = results["sets"]["judged"]["grades"]
    (found,) = [one for one in grades["comparisons"] if one["measure"] == measure]
    alone = mean_interval(np.array(list(person.values())))
    assert found["alone"]["interval"] == pytest.approx([alone.lower, alone.upper], abs=1e-9)
    sides = [np.array([side[q] for q in person]) for side in (person, model)]
    both = powered_interval(*sides, np.array([value for q, value in model.items() if q not in person]))
    assert found["both"]["interval"] == pytest.approx([both.lower, both.upper], abs=1e-9)
    assert found["both"]["weight"] == pytest.approx(both.weight)
    assert found["model_alone"]["difference"] == pytest.approx(np.mean(list(model.values())), abs=1e-9)
    assert found["changed"] == sum(value != 0 for value in person.values())
    assert (found["verdict"], found["more"]) == decide(both, GRADED, found["changed"])


def test_results_are_as_the_schema_says_and_the_other_figures_are_the_persons(measured, results):
    assert complaints(results) == []
    assert undescribed() == []
    found = results["sets"]["judged"]
    assert found["questions"] == found["grades"]["person"] == GRADED
    assert found["language_means"]["languages"] == list(LANGUAGES[:3])
    means = [found["groups"]["language"][one]["figures"]["other"] for one in LANGUAGES[:3]]
    assert found["language_means"]["figures"]["other"]["nDCG@10"] == pytest.approx(np.mean(means))


def test_documents_that_nobody_graded_are_counted(measured, results):
    grades = {}
    for line in (measured / "judged" / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query_id, doc_id, _ = line.split("\t")
        grades.setdefault(query_id, set()).add(doc_id)
    run = (measured / "out" / "sets" / "judged" / "runs" / "other.trec").read_text()
    lines = [line.split() for line in run.splitlines()]
    marks = [doc_id not in grades[q] for q, _, doc_id, rank, *_ in lines if int(rank) <= 10]
    found = results["sets"]["judged"]["grades"]["ungraded"]
    assert found["other"] == pytest.approx(np.mean(marks))
    assert found["other"] > 0.5
    assert found.keys() == {"bm25", "other"}


def test_a_models_grades_do_not_count_where_they_lack_a_question_of_the_person(measured, tmp_path):
    folder = write_graded(tmp_path / "judged")
    kept = [line for line in (folder / "qrels" / "model.tsv").read_text().splitlines() if "q/en/3\t" not in line]
    (folder / "qrels" / "model.tsv").write_text("\n".join(kept) + "\n")
    found = tamis("evaluate", "--on", folder, "--run", f"other={measured / 'other.trec'}", "--out", tmp_path / "out")
    grades = json.loads((tmp_path / "out" / "results.json").read_text())["sets"]["judged"]["grades"]
    assert grades["lacking"] == 1
    assert all(one["both"] is None and one["alone"] for one in grades["comparisons"])
    assert "The model lacks 1 of the person's questions" in found.out


def test_a_model_alone_is_shown_and_no_verdict_follows(measured, tmp_path):
    folder = write_graded(tmp_path / "judged")
    (folder / "qrels" / "test.tsv").unlink()
    tamis("evaluate", "--on", folder, "--run", f"other={measured / 'other.trec'}", "--out", tmp_path / "out")
    grades = json.loads((tmp_path / "out" / "results.json").read_text())["sets"]["judged"]["grades"]
    assert (grades["person"], grades["model"]) == (0, ALL)
    for one in grades["comparisons"]:
        assert one["alone"] is None
        assert one["both"] is None
        assert (one["verdict"], one["more"]) == ("ask", FEWEST)


@pytest.mark.parametrize(
    ("interval", "questions", "changed", "verdict"),
    [
        ((0.04, 0.01, 0.07), 30, 10, ("deploy", 0)),
        ((0.04, 0.01, 0.07), 29, 10, ("ask", 1)),
        ((0.0, -0.02, 0.02), 30, 10, ("do not", 0)),
        ((-0.1, -0.2, -0.01), 30, 10, ("do not", 0)),
        ((0.02, -0.04, 0.08), 30, 10, ("ask", 240)),
        ((0.04, 0.01, 0.07), 30, 4, ("ask", 8)),
        ((0.0, 0.0, 0.0), 30, 0, ("ask", 70)),
        ((0.0, 0.0, 0.0), 100, 0, ("do not", 0)),
    ],
)
def test_a_verdict_follows_from_the_interval(interval, questions, changed, verdict):
    assert decide(MeanInterval(*interval), questions, changed) == verdict


@pytest.mark.parametrize(
    ("verdict", "more", "told"),
    [
        ("deploy", 0, "Deploy mine behind bm25, and send the first stage’s scores with the documents."),
        ("do not", 0, "Do not deploy mine behind bm25."),
        ("ask", 1, "Ask 1 more question before you deploy mine behind bm25."),
        ("ask", 240, "Ask 240 more questions before you deploy mine behind bm25."),
    ],
)
def test_page_and_terminal_answer_by_grades_where_there_are_some(verdict, more, told, tmp_path):
    results = made_results()
    entry = {"difference": 0.04, "interval": [0.01, 0.07]}
    results["sets"]["set0"]["grades"] = {
        "person": 30,
        "model": 300,
        "lacking": 0,
        "worth": WORTH,
        "ungraded": {"mine+bm25": 0.25, "bm25": 0.0},
        "comparisons": [
            {
                "system": "mine+bm25",
                "baseline": "bm25",
                "measure": "nDCG@10",
                "alone": entry,
                "both": {**entry, "weight": 0.5},
                "model_alone": entry,
                "changed": 12,
                "verdict": verdict,
                "more": more,
            }
        ],
    }
    assert complaints(results) == []
    answer = answer_of(results)
    assert answer.verdict.text == told
    said = "".join(part.text for part in answer.sentence)
    assert "+4.0 points of nDCG@10 against bm25, 95 % interval +1.0 to +7.0" in said
    assert "by 30 questions of a person and 300 of a model" in said
    printed = io.StringIO()
    print_evaluation(results, Console(file=printed, width=150))
    assert told in printed.getvalue()
    page = page_of(results, tmp_path)
    assert told in page.text
    assert "Model alone, unchecked" in page.text
    for said in (page.text, printed.getvalue()):
        assert re.search(r"best ten documents (of )?(25% of )?mine\+bm25", said)


def test_the_table_before_anyone_begins_says_what_more_questions_and_a_model_bring():
    rows = width_table(300)
    assert [row.questions for row in rows] == list(PLANNED)
    assert all(a.alone > b.alone for a, b in itertools.pairwise(rows))
    assert all(min(row.helped.values()) < row.alone for row in rows)
    printed = io.StringIO()
    print_widths(300, Console(file=printed, width=120))
    assert f"± {100 * rows[0].alone:.1f}" in printed.getvalue()
    assert mean_interval(np.zeros(4)) == MeanInterval(0.0, 0.0, 0.0)
