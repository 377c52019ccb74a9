"""The paper's table: published rows as they were published, ours only where a column is complete."""

import json
import re
import sys

import pytest

from benchmarks.paper import (
    BEIR,
    COLUMNS,
    FORUMS,
    MEASURES,
    MIRACL,
    NOT_RUN,
    PUBLISHED,
    TASKS,
    main,
    measure_of,
    names_of,
    names_of_forum,
    paper_table,
)


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


@pytest.mark.filterwarnings("ignore")
def test_sets_go_by_the_names_that_mteb_and_ir_datasets_give_them():
    import mteb
    from ir_datasets import registry

    retrieval = {task.metadata.name for task in mteb.get_tasks(task_types=["Retrieval"], exclude_superseded=False)}
    languages = mteb.get_task("MIRACLRetrieval").metadata.hf_subsets
    known = retrieval | {f"MIRACLRetrieval-{one}" for one in languages} | {name.replace("/", "-") for name in registry}
    asked = [names_of(column, member) for column in (BEIR, MIRACL) for member in COLUMNS[column]]
    for names in [names for names in asked if names[0] != "cqadupstack"] + [names_of_forum(one) for one in FORUMS]:
        assert sum(name in known for name in names) >= 2, names
    assert set(languages) == {member.removeprefix("miracl-") for member in COLUMNS[MIRACL]}


def test_a_set_counts_once_by_any_of_its_names_and_cqadupstack_by_all_its_forums():
    points = all_sets(lambda _: 40.0)
    for member in ("cqadupstack", "scifact", "msmarco", "miracl-sw"):
        del points[member]
    # The second name of scifact, and the test questions of msmarco, are not averaged in.
    points |= {"SciFact": 70.0, "beir-scifact-test": 70.0, "msmarco-dev": 55.0, "msmarco": 90.0}
    points |= {"MIRACLRetrieval-sw": 58.0}
    points |= {names_of_forum(forum)[place % 3]: 40.0 + place for place, forum in enumerate(FORUMS)}
    ours = paper_table(results(points))[-1]
    assert ours.means[BEIR] == pytest.approx((12 * 40 + 70 + 55 + 45.5) / 15)
    assert ours.means[MIRACL] == pytest.approx(40 + 1)
    del points[names_of_forum(FORUMS[5])[5 % 3]]
    assert paper_table(results(points))[-1].means[BEIR] is None


def test_other_splits_of_a_set_are_no_part_of_the_table():
    points = all_sets(lambda _: 40.0) | {"scifact-train": 90.0}
    assert paper_table(results(points))[-1].means["BEIR"] == pytest.approx(40)


def test_it_is_printed_from_the_results_of_an_evaluation(tmp_path, capsys, monkeypatch):
    file = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["paper.py", str(file)])
    file.write_text(json.dumps({"measures": MEASURES, **results({"scifact": 50.0})}), encoding="utf-8")
    main()
    printed = capsys.readouterr().out
    # The published figures, and the one mean that they allow: over the three columns.
    for row in (
        r"Qwen3-Embedding-0\.6B +54\.11 +59\.87 +61\.41 +58\.46",
        r"Querit A0\.4B +59\.28 +67\.70 +65\.84 +64\.27",
        r"Querit-4B +62\.29 +71\.13 +71\.08 +68\.17",
    ):
        assert re.search(rf"{row} +published, not run here", printed)
    assert "71.08 is about 68 once ties are scored fairly" in printed
    assert re.search(r"m@bm25 +1 of 15 +0 of 18 +0 of 6", printed)
    file.write_text(json.dumps({"measures": ["P@1"]}), encoding="utf-8")
    with pytest.raises(SystemExit):
        main()
    assert "the table needs nDCG@10, which was not measured: evaluate with --measure nDCG@10" in capsys.readouterr().err
