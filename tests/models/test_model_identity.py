"""What names a model in keys: all that it scores by, and nothing that only stands beside its scores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import file_hash
from tamis.errors import ModelError
from tamis.models.checkpoint import deployed_weights, model_identity
from tamis.models.saving import add_weights
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.recipe import Recipe
from tests.conftest import write_beir
from tests.keys import settings_of


@pytest.fixture
def model(warm_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(warm_folder, tmp_path / "model")


def change(model: Path, **fields: Any) -> None:
    file = model / "tamis.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(content | fields), encoding="utf-8")


def test_weights_of_first_stages_and_lineage_are_not_part_of_a_models_identity(model):
    before = model_identity(model)
    add_weights(model, {"elastic": 0.25, "order": 1.0}, {"elastic": {"de": 2.0}})
    change(model, lineage={"seed": 4})
    assert model_identity(model) == before


@pytest.mark.parametrize("field", [{"bias": 0.3}, {"activation": "tanh"}, {"match": 0.9}])
def test_whatever_else_its_file_says_is(model, field):
    before = model_identity(model)
    change(model, **field)
    assert model_identity(model) != before


def test_so_are_its_other_files(model):
    before = model_identity(model)
    file = model / "config.json"
    file.write_bytes(file.read_bytes() + b" ")
    assert model_identity(model) != before


def test_a_model_without_facts_is_the_hash_of_its_files_and_stays_it_with_weights_alone(stock_folder, tmp_path):
    folder = shutil.copytree(stock_folder, tmp_path / "model")
    (folder / "tamis.json").unlink()
    before = model_identity(folder)
    assert before == file_hash(folder)
    add_weights(folder, {"elastic": 0.25}, {})
    assert model_identity(folder) == before


def test_facts_that_cannot_be_read_are_named(model):
    (model / "tamis.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"tamis\.json: cannot be read"):
        model_identity(model)


def test_a_model_that_names_no_weight_adds_nothing_to_a_key(model, tiny_encoder):
    change(model, first_stage_weights={}, weights_by_language={})
    assert [deployed_weights(path) for path in (None, tiny_encoder, model)] == [None] * 3


def test_other_weights_of_the_start_do_over_what_reads_them_and_nothing_before(recipe, model, tmp_path):
    write_beir(tmp_path / "judged", "judged-")

    def settings(**merge: Any) -> dict[str, str]:
        content = recipe | {
            "student": {"start": str(model)},
            "scores": {"teachers": [{"kind": "reranker", "path": str(model)}]},
            "merge": {**recipe.get("merge", {}), **merge},
        }
        chosen: Recipe = recipe_from(content, "tiny")
        stages = ("candidates", "scores", "lists", "train", "merge", "evaluate")
        return {stage: json.dumps(settings_of(chosen, stage), default=str) for stage in stages}

    def other_than(before: dict[str, str], after: dict[str, str]) -> set[str]:
        return {name for name in before if before[name] != after[name]}

    judged = {"weigh_on": str(tmp_path / "judged")}
    own, on_judged = settings(), settings(**judged)
    add_weights(model, {"elastic": 0.25}, {})
    assert other_than(own, settings()) == {"merge", "evaluate"}
    assert other_than(on_judged, settings(**judged)) == {"evaluate"}  # the judged set alone decides
