"""Adapting a model that is there: to a corpus, merged into it, judged by the domains of its past."""

import json

import pytest

from tamis import adaptation
from tamis.adaptation import adapt
from tamis.artifacts import read_json
from tamis.errors import InputError, RunError, SettingsError
from tamis.models.reranker import Reranker
from tamis.pipeline import run_recipe
from tamis.settings import recipe_from
from tests.commands import tamis
from tests.conftest import tiny_recipe, write_beir


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_encoder):
    folder = tmp_path_factory.mktemp("adaptation")
    content = tiny_recipe(write_beir(folder / "old"), write_beir(folder / "general", "g-"), tiny_encoder)
    folders = run_recipe(recipe_from(content, "tiny"), folder / "run", "merge")
    (folder / "model").symlink_to(folders["merge"] / "model")
    write_beir(folder / "new", "n-")
    return folder


@pytest.fixture
def small_recipe(monkeypatch):
    """Few steps, short lists, few that judge: what is accounted for depends on none of it."""

    def small(content, name):
        sizes = {
            "lists": {"documents": 4},
            "train": {"specialist_steps": 12, "checkpoints": 2},
            "merge": {"held_out": 10},
        }
        return recipe_from(content | {part: content[part] | some for part, some in sizes.items()}, name)

    monkeypatch.setattr(adaptation, "recipe_from", small)


@pytest.mark.usefixtures("small_recipe")
def test_a_model_is_adapted_and_every_domain_is_accounted_for(base, tmp_path, tiny_encoder):
    told = []
    found = adapt(
        str(base / "model"), base / "new", tmp_path / "run", [base / "run"], None, lambda stage, *_: told.append(stage)
    )
    assert told[-1] == "merge"
    assert set(found.agreement) == {"corpus", "run/english", "run/german"}
    path = read_json(found.model.parent / "path.json")
    bounds = path["agreement"]["untrained"]
    for domain, (before, _, after) in found.agreement.items():
        assert before == bounds[domain]
        if "start" in found.order or len(found.order) > 1:
            assert after >= before - 0.005 - 1e-9
    assert sum(after for *_, after in found.agreement.values()) >= sum(b for b, *_ in found.agreement.values()) - 1e-9
    facts = json.loads((found.model / "tamis.json").read_text())
    assert facts["lineage"]["encoder"] == str(tiny_encoder)
    assert f"2 {(base / 'model').name}" in facts["lineage"]["teacher"]
    assert len(Reranker(found.model).rank("install a package", ["the sky is blue", "install a package"])) == 2


@pytest.mark.slow
def test_the_command_prints_what_was_gained_and_lost(base, tmp_path):
    outcome = tamis("adapt", base / "model", base / "new", "--out", tmp_path / "run", "--keep", base / "run")
    assert outcome.status == 0, outcome.err
    assert all(word in outcome.out for word in ("as it came", "specialist", "run/english", "corpus", "model:"))


def test_a_model_that_names_no_encoder_needs_one(base, tmp_path):
    copy = tmp_path / "model"
    copy.mkdir()
    for file in (base / "model").iterdir():
        (copy / file.name).symlink_to(file.resolve())
    facts = json.loads((copy / "tamis.json").read_text())
    del facts["lineage"]["encoder"]
    (copy / "tamis.json").unlink()
    (copy / "tamis.json").write_text(json.dumps(facts))
    with pytest.raises(SettingsError, match=r"no bi-encoder to retrieve and teach with .*--encoder"):
        adapt(str(copy), base / "new", tmp_path / "run", [], None, lambda *_: None)


def test_a_folder_without_a_training_is_no_past(base, tmp_path):
    with pytest.raises(RunError, match=r"no finished stage train in it"):
        adapt(str(base / "model"), base / "new", tmp_path / "run", [tmp_path], None, lambda *_: None)


def test_a_corpus_may_have_any_name(base, tmp_path, tiny_encoder):
    with pytest.raises(InputError, match=r"my manuals \(new\)\.jsonl: not found; the recipe"):
        adapt(
            str(base / "model"),
            tmp_path / "my manuals (new).jsonl",
            tmp_path / "run",
            [],
            tiny_encoder,
            lambda *_: None,
        )
