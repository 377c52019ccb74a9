"""docs/settings.md, which is made from the fields of a recipe."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from tamis.pipeline.reading import recipe_from
from tamis.pipeline.recipe import Recipe
from tests.pipeline.test_recipe import with_setting

DOCS = Path(__file__).parent.parent.parent / "docs"
TOOL: dict[str, Any] = runpy.run_path(str(DOCS / "tools" / "settings_reference.py"))
LEAVES = [leaf for part in TOOL["parts"](TOOL["Part"]("", Recipe, None)) for leaf in part.leaves]


def test_the_page_is_what_the_fields_say():
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == TOOL["page"](), (
        "run python docs/tools/settings_reference.py"
    )


def test_every_setting_has_a_description_in_whole_sentences():
    assert len(LEAVES) > 150
    for path, field in LEAVES:
        words = field.description or ""
        assert words[:1].isupper(), path
        assert words.endswith("."), path
        assert not words.startswith("Of "), path


def test_every_section_is_there():
    def classes(section: type[BaseModel]) -> set[str]:
        inner = [one for field in section.model_fields.values() for one in TOOL["sections_in"](field.annotation)]
        return {section.__name__}.union(*map(classes, inner))

    assert {part.section.__name__ for part in TOOL["parts"](TOOL["Part"]("", Recipe, None))} == classes(Recipe)


def rows() -> list[list[str]]:
    """Key, type and default of the settings that stand in a recipe once."""
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    return [list(row) for row in re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| (.+?) \|", text, re.MULTILINE)]


@pytest.mark.parametrize("setting", ["lists.near", "train.temperature", "merge.t", "student.head", "seed"])
def test_the_default_on_the_page_is_taken_by_a_recipe_and_changes_nothing(setting: str):
    (default,) = [default.strip("`") for key, _, default in rows() if key == setting]
    value: Any = yaml.safe_load(default)
    assert recipe_from(with_setting(setting, value), "r") == recipe_from(with_setting("seed", 0), "r")


def test_ranges_and_choices_are_told():
    told = {key: kind for key, kind, _ in rows()}
    assert told["lists.solved"] == "number, 0 to 1"
    assert told["lists.held_out"] == "number, above 0, below 1"
    assert told["candidates.fusion"] == "`rrf` or `weighted`"
    assert told["candidates.depth"] == "whole number, at least 2"
    assert told["lists.domains"] == "mapping: text to list: text"
