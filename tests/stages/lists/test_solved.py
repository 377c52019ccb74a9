"""Which queries the student answers already, against its own scores."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.artifacts import ItemStore, read_json, read_records
from tamis.context import Workshop
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Dropped, ScoredCandidates, TrainingList
from tamis.stages.lists.solved import LOOKED_AT, solved_queries
from tamis.stages.lists.stage import lists_settings
from tests.rerankers import logits


@pytest.fixture
def found(recipe: dict[str, Any], tmp_path: Path):
    recipe["lists"]["solved"] = 0.0
    recipe["student"] |= {"scale": 60.0}
    read = recipe_from(recipe, "tiny")
    folders = run_recipe(read, tmp_path / "run", "lists")
    with closing(Workshop(read, ItemStore(tmp_path / "run" / "items.sqlite"))) as shop:
        shop.folders.update(folders)
        yield shop, folders


def test_solved_are_the_queries_whose_document_takes_nine_tenths_of_the_students_scores(found):
    shop, folders = found
    solved = solved_queries(shop)
    student = shop.untrained_student()
    expected = set()
    for one in read_records(folders["scores"] / "scores.parquet", ScoredCandidates):
        query = shop.queries[one.query_id]
        if query.origin != "target" or query.document_id not in one.doc_ids:
            continue
        others = [doc_id for doc_id in one.doc_ids if doc_id != query.document_id][: LOOKED_AT - 1]
        texts = [(query.text, shop.documents[doc_id].text) for doc_id in (query.document_id, *others)]
        weights = np.exp(logits(student, texts) - logits(student, texts).max())
        if weights[0] / weights.sum() >= 0.9:
            expected.add(one.query_id)
    assert solved == expected
    assert 0 < len(solved) < len(shop.queries)


def test_they_are_dropped_with_the_reason_and_counted(found):
    shop, folders = found
    dropped = read_records(folders["lists"] / "dropped.parquet", Dropped)
    left_out = {one.record_id for one in dropped if one.reason == "the student answers it already"}
    solved = solved_queries(shop)
    assert left_out
    assert left_out <= solved
    lists = read_records(folders["lists"] / "lists.parquet", TrainingList)
    assert {one.split for one in lists if one.query_id in solved} <= {"held-out"}
    assert read_json(folders["lists"] / "manifest.json")["solved"] == len(solved)


def test_where_all_are_learnt_from_the_student_is_not_asked_and_is_in_no_key(recipe: dict[str, Any]):
    read = recipe_from(recipe, "tiny")
    other = recipe_from(recipe | {"student": {"joint_layers": 2}}, "tiny")
    assert lists_settings(read) == lists_settings(other)
    asked = [recipe_from(recipe | {"lists": {**recipe["lists"], "solved": 0.5}, "student": s}, "tiny")
             for s in ({"joint_layers": 1}, {"joint_layers": 2})]  # fmt: skip
    assert lists_settings(asked[0]) != lists_settings(asked[1])
