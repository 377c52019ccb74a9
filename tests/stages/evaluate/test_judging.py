"""Whose first-stage weights a student is measured by."""

import json
import shutil

import pytest

from tamis.models.checkpoint import Deployment
from tamis.pipeline.reading import recipe_from
from tamis.stages.evaluate.pools import deployment_of_start

MERGED = Deployment({"order": 0.5, "hybrid": 2.0}, {})


@pytest.mark.parametrize(
    ("weights", "order"),
    [({"order": 1.5}, 1.5), ({"hybrid": 1.0}, 0.0), ({}, 0.5)],  # the last one says nothing
)
def test_the_untrained_student_is_served_as_its_own_checkpoint_says(recipe, warm_folder, tmp_path, weights, order):
    start = shutil.copytree(warm_folder, tmp_path / "start")
    facts = json.loads((start / "tamis.json").read_text(encoding="utf-8"))
    (start / "tamis.json").write_text(json.dumps(facts | {"first_stage_weights": weights}), encoding="utf-8")
    recipe["student"] = {"start": str(start)}
    assert deployment_of_start(recipe_from(recipe, "tiny").student.start, MERGED).weight_of("order") == order


def test_one_that_starts_from_an_encoder_is_served_like_the_merged_one(recipe, tiny_encoder):
    assert deployment_of_start(recipe_from(recipe, "tiny").student.start, MERGED) is MERGED
    recipe["student"] = {"start": str(tiny_encoder), "head": "stock"}
    assert deployment_of_start(recipe_from(recipe, "tiny").student.start, MERGED) is MERGED
