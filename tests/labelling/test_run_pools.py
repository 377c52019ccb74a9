"""Pools of a run hold what its own evaluation finds for the same questions."""

from pathlib import Path

import pytest

from tamis.artifacts import read_records
from tamis.errors import RunError
from tamis.formats.trec import by_rank, read_run, write_run
from tamis.labelling.run_pools import pools_of_run
from tamis.labelling.wanted import Wanted
from tamis.pipeline.kept_recipe import kept_recipe
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import SERVED, Query, TrainingList
from tests.conftest import tiny_recipe, write_beir


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("pooled")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    return run_recipe(recipe_from(content, "tiny"), base / "run", until="evaluate")


def test_the_heads_of_all_systems_as_the_evaluation_ranks_them(folders: dict[str, Path], tmp_path: Path):
    root = folders["corpus"].parent.parent
    write_run(tmp_path / "own.trec", [by_rank("q/en/0", ["en/9", "de/9"])], "own")
    asked = Wanted(root.parent / "corpus" / "queries.jsonl", depth=3, runs={"own": tmp_path / "own.trec"})
    pools = pools_of_run(root, asked)
    measured = {file.stem: read_run(file) for file in folders["evaluate"].glob("sets/*/runs/*.trec")}
    compared = {name for name in measured if "@" not in name and "+" not in name and "specialists" not in name}
    assert {"bm25", "dense", "hybrid", "teacher", "untrained~bm25", "merged~bm25", "merged~hybrid"} <= compared
    assert set(pools.systems) == {*compared, "own", f"untrained{SERVED}own", f"merged{SERVED}own"}
    assert len(pools.pools) == 20
    for query_id, pool in pools.pools.items():
        heads = {doc_id for name in compared for doc_id in measured[name][query_id].doc_ids[:3]}
        assert set(pool) == heads | ({"en/9", "de/9"} if query_id == "q/en/0" else set()), query_id
    assert pools.asked == {"from": "file", "file": "queries.jsonl", "left_out": {}}


def test_failing_questions_those_that_the_run_wrote_and_held_out(folders: dict[str, Path]):
    root = folders["corpus"].parent.parent
    pools = pools_of_run(root, Wanted(None, most=4))
    held_out = {
        one.query_id
        for one in read_records(folders["lists"] / "lists.parquet", TrainingList)
        if one.split == "held-out"
    }
    texts = {one.query_id: one.text for one in read_records(folders["queries"] / "queries.parquet", Query)}
    assert pools.asked["from"] == "written"
    assert len(pools.questions) == 4
    assert pools.questions.keys() <= held_out
    assert all(question.text == texts[query_id] for query_id, question in pools.questions.items())


def test_a_run_keeps_the_recipe_that_it_was_made_from(folders: dict[str, Path], tmp_path: Path):
    root = folders["corpus"].parent.parent
    content = tiny_recipe(root.parent / "corpus", root.parent / "general", kept_recipe(root).candidates.dense.path)
    assert kept_recipe(root) == recipe_from(content, "tiny")
    (tmp_path / "run.json").write_text('{"recipe": "tiny"}', encoding="utf-8")
    with pytest.raises(RunError, match="its recipe is not kept there; run the same command again"):
        pools_of_run(tmp_path, Wanted())
