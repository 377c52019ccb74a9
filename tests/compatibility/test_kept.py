"""What an earlier version left on a disk is read by this one, and its requests are answered as they were."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tamis
from tamis.artifacts import read_json
from tamis.errors import ModelError, RunError
from tamis.labelling.grade_log import GradeLog
from tamis.labelling.pools import read_pools
from tamis.models.reranker import Reranker
from tamis.pipeline.kept_recipe import kept_recipe as recipe_of
from tamis.pipeline.run import NAMES, run_recipe
from tests.commands import tamis as run_tamis
from tests.compatibility.make import HERE, MODELS, QUERY, TEXTS, UNTIL, answers

KEPT = sorted(path for path in HERE.iterdir() if (path / "scores.json").is_file())
STAGES = NAMES[: NAMES.index(UNTIL) + 1]


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a version left, in whose folder the test is."""
    shutil.copytree(request.param, tmp_path / "kept")
    monkeypatch.chdir(tmp_path / "kept")
    return tmp_path / "kept"


def test_this_version_is_among_those_that_are_kept() -> None:
    assert tamis.__version__ in [path.name for path in KEPT]


@pytest.mark.parametrize("family", MODELS)
def test_a_saved_model_scores_as_it_did(kept: Path, family: str) -> None:
    reranker = Reranker(kept / "models" / family)
    assert reranker.family == family
    assert reranker.deployment.weight_of("bm25", "de") == 3.0
    found = reranker.predict([(QUERY, text) for text in TEXTS])
    np.testing.assert_allclose(found, read_json(kept / "scores.json")[family], atol=1e-5)


def test_an_index_scores_as_the_texts_do(kept: Path) -> None:
    reranker = Reranker(kept / "models" / "warm", index=kept / "index")
    ids = [f"en/{number}" for number in range(3)]
    found = {hit["id"]: hit["score"] for hit in reranker.rank(QUERY, ids=ids)}
    expected = read_json(kept / "scores.json")["warm"]
    np.testing.assert_allclose([found[name] for name in ids], expected, atol=2e-3)  # of states in float16


def test_stages_of_a_run_are_reused_but_those_whose_version_rose(kept: Path) -> None:
    recipe, before = recipe_of(kept / "run"), _manifests(kept)
    reused: dict[str, bool] = {}
    folders = run_recipe(recipe, kept / "run", UNTIL, lambda stage, _, old: reused.update({stage: old}))
    now = {stage: read_json(folders[stage] / "manifest.json") for stage in STAGES}
    raised: set[str] = set()
    for stage in STAGES:
        if now[stage]["version"] != before[stage]["version"] or raised & set(now[stage]["reads"]):
            raised.add(stage)
    assert {stage for stage, old in reused.items() if not old} == raised
    assert all((kept / "run" / stage / before[stage]["key"]).is_dir() for stage in STAGES)


def test_the_model_of_a_run_ranks(kept: Path) -> None:
    key = _manifests(kept)["merge"]["key"]
    assert run_tamis("rerank", kept / "run" / "merge" / key / "model", "--query", QUERY, _lines(kept)).status == 0


def test_grades_are_read_and_go_on(kept: Path) -> None:
    pools = read_pools(kept / "pools")
    log = GradeLog(kept / "pools")
    log.close()
    assert [(entry.person, entry.query_id, entry.grade) for entry in log.entries] == [("a", "q0", 2)]
    assert log.entries[0].doc_id in pools.pools["q0"]


def test_requests_are_answered_as_they_were(kept: Path) -> None:
    for name, now in answers(kept / "models" / "warm").items():
        before = read_json(kept / "answers.json")[name]
        assert now["status"] == before["status"], name
        _is_still_there(before["answer"], now["answer"], name)


def test_a_run_folder_of_a_later_version_is_refused_by_name(kept: Path) -> None:
    marker = kept / "run" / "run.json"
    marker.write_text(json.dumps(read_json(marker) | {"format": 2}))
    with pytest.raises(RunError, match=r"run\.json: a run folder of format 2, expected 1: another version of tamis"):
        run_recipe(recipe_of(kept / "run"), kept / "run", UNTIL)


def test_a_model_of_a_later_version_is_refused_by_name(kept: Path) -> None:
    file = kept / "models" / "warm" / "tamis.json"
    file.write_text(json.dumps(read_json(file) | {"format": 3}))
    with pytest.raises(ModelError, match=r"tamis\.json: format 3, expected format 2"):
        Reranker(kept / "models" / "warm")


def test_a_kept_recipe_with_a_setting_of_a_later_version_is_refused_by_name(kept: Path) -> None:
    file = kept / "run" / "recipe.json"
    file.write_text(json.dumps(read_json(file) | {"colour": "red"}))
    with pytest.raises(tamis.errors.SettingsError, match="colour"):
        recipe_of(kept / "run")


def _manifests(kept: Path) -> dict[str, dict[str, Any]]:
    """The manifest of each stage that the version left."""
    return {read_json(path)["stage"]: read_json(path) for path in (kept / "run").glob("*/*/manifest.json")}


def _lines(kept: Path) -> Path:
    file = kept / "lines.txt"
    file.write_text("\n".join(TEXTS))
    return file


def _is_still_there(before: Any, now: Any, place: str) -> None:
    """Whatever a client read is there as it was; fields may come beside it, and ids of answers are new each time."""
    if isinstance(before, dict):
        assert before.keys() <= now.keys(), place
        for name in before.keys() - {"id", "created"}:
            _is_still_there(before[name], now[name], f"{place}.{name}")
    elif isinstance(before, list):
        assert len(before) == len(now), place
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            _is_still_there(old, new, f"{place}[{number}]")
    elif isinstance(before, float):
        assert now == pytest.approx(before, abs=1e-5), place
    else:
        assert now == before, place
