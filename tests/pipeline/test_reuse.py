"""Which stages a setting makes anew: every setting of a recipe is changed once."""

import json
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tamis.pipeline.reading import recipe_from
from tamis.pipeline.recipe import Recipe
from tamis.pipeline.run import NAMES, stage_keys
from tests.pipeline.reuse import CONSTANT, TEACHERS, Change, before_and_after, changes, everything, in_place, with_value

TOOL: dict[str, Any] = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs/tools/settings_reference.py"))
TEACHER = "scores.teachers[]"


def settings() -> Iterator[str]:
    """Every setting of the schema, those of teachers with the name of their section."""
    for part in TOOL["parts"](TOOL["Part"]("", Recipe, None)):
        for name, _ in part.leaves:
            if part.path == TEACHER:
                name = f"{TEACHER}.{part.section.__name__}.{name.rpartition('.')[2]}"
            if not name.endswith(f".{CONSTANT}"):
                yield name


def test_every_setting_is_classified() -> None:
    """A new setting needs a line in tests/pipeline/reuse.py: the first stage whose result it may change."""
    classified = [name for name, _ in changes()]
    assert sorted(classified) == sorted(set(settings()))
    assert {section.__name__ for section in TOOL["sections_in"](Recipe.model_fields["scores"].annotation)}
    assert all(content[CONSTANT] for content, _ in TEACHERS.values())


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("reuse")
    return everything(folder, tiny_encoder), folder


@cache
def keys_of(content: str) -> dict[str, str]:
    """The key of every stage of a recipe, given as JSON; most changes are made to the same one."""
    return stage_keys(recipe_from(json.loads(content), "all"))


def other_keys(name: str, change: Change, content: dict[str, Any], folder: Path) -> list[str]:
    """The stages that have another key after a change."""
    before, after = (keys_of(json.dumps(in_place(one, folder))) for one in before_and_after(name, change, content))
    return [stage for stage in NAMES if before[stage] != after[stage]]


@pytest.mark.parametrize(("name", "change"), list(changes()))
def test_a_setting_makes_its_stage_and_those_after_it_anew_and_no_other(
    content: tuple[dict[str, Any], Path], name: str, change: Change
) -> None:
    expected = list(NAMES[NAMES.index(change.first) :]) if change.first else []
    assert other_keys(name, change, *content) == expected


def test_a_corpus_is_read_again_under_another_name_where_a_run_is_told_by_it(
    content: tuple[dict[str, Any], Path],
) -> None:
    """The ids of its documents begin with its name."""
    recipe, folder = content
    (folder / "renamed").symlink_to(folder / "general")

    def named(name: str, with_run: bool) -> str:
        own = with_value(recipe, "corpus.general", [f"@{name}"])
        runs = {name: "@some.trec"} if with_run else {}
        own = with_value(own, "candidates.runs", runs)
        return stage_keys(recipe_from(in_place(own, folder), "all"))["corpus"]

    assert named("general", with_run=True) != named("renamed", with_run=True)
    assert named("general", with_run=False) == named("renamed", with_run=False)
