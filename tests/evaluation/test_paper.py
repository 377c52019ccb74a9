"""The paper's table: published rows as they were published, ours only where a column is complete."""

import re

import pytest

from tamis.evaluation.paper import COLUMNS, MEASURES, NOT_RUN, PUBLISHED, TASKS, measure_of, paper_table
from tests.commands import tamis
from tests.conftest import write_beir


def results(points):
    """What an evaluation of one system would say: fractions by set."""
    return {
        "sets": {name: {"figures": {"m@bm25": dict.fromkeys(MEASURES, value / 100)}} for name, value in points.items()}
    }


def all_sets(value_of):
    return {name: value_of(column) for column, sets in COLUMNS.items() for name in sets}


def test_the_columns_are_as_large_as_the_benchmarks():
    assert {column: len(sets) for column, sets in COLUMNS.items()} == {
        "BEIR": 15,
        "MIRACL": 18,
        "MTEB Multilingual v2": 6,
    }


@pytest.mark.parametrize("system", PUBLISHED)
def test_published_means_come_back_from_sets_that_average_to_them(system):
    """Sets spread around a published mean: the table's arithmetic gives that mean again."""
    published = PUBLISHED[system]
    points = {}
    for column, sets in COLUMNS.items():
        offsets = [place - (len(sets) - 1) / 2 for place in range(len(sets))]
        points |= {name: published[column] + offset for name, offset in zip(sets, offsets, strict=True)}
    *rows, ours = paper_table(results(points))
    theirs = next(row for row in rows if row.name == system)
    assert ours.means == pytest.approx(theirs.means)
    assert ours.mean == pytest.approx(theirs.mean) == pytest.approx(sum(published.values()) / 3)
    assert (theirs.note, ours.note) == (NOT_RUN, "")


def test_a_column_that_lacks_a_set_has_no_mean_and_says_how_many_are_there():
    points = all_sets(lambda _: 50.0)
    del points["scifact"]
    ours = paper_table(results(points))[-1]
    assert ours.means == {"BEIR": None, "MIRACL": pytest.approx(50), "MTEB Multilingual v2": pytest.approx(50)}
    assert (ours.counts["BEIR"], ours.mean) == (14, None)


def test_subsets_of_a_task_are_averaged_first():
    points = all_sets(lambda _: 40.0)
    del points["WikipediaRerankingMultilingual"]
    points |= {f"WikipediaRerankingMultilingual-{language}": value for language, value in (("de", 70.0), ("en", 90.0))}
    ours = paper_table(results(points))[-1]
    assert ours.means["MTEB Multilingual v2"] == pytest.approx((5 * 40 + 80) / 6)


@pytest.mark.filterwarnings("ignore")
def test_the_tasks_and_their_measures_are_those_of_mteb():
    import mteb

    main = {task.metadata.name: task.metadata.main_score for task in mteb.get_tasks(tasks=list(COLUMNS[TASKS]))}
    names = {"map_at_1000": "AP", "mrr_at_10": "RR@10"}
    assert {name: names[score] for name, score in main.items()} == {n: measure_of(TASKS, n) for n in COLUMNS[TASKS]}


def test_other_splits_of_a_set_are_no_part_of_the_table():
    points = all_sets(lambda _: 40.0) | {"scifact-train": 90.0}
    assert paper_table(results(points))[-1].means["BEIR"] == pytest.approx(40)


def test_the_command_prints_it_below_the_figures(tmp_path):
    folder = write_beir(tmp_path / "scifact")
    found = tamis("evaluate", "--on", folder, "--table", "paper", "--out", tmp_path / "out")
    assert found.status == 0
    assert re.search(r"Querit-4B +62\.29 +71\.13 +71\.08 +68\.17 +published, not run here", found.out)
    assert re.search(r"bm25 +1 of 15 +0 of 18 +0 of 6", found.out)
    complaint = tamis("evaluate", "--on", folder, "--table", "paper", "--measure", "P@1").complaint
    assert complaint == "--table paper needs nDCG@10: add --measure nDCG@10"
    assert tamis("evaluate", "--on", folder, "--table", "mine").complaint == "--table is 'mine', expected paper"
