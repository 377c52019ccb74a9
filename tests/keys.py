"""What the stages of a recipe depend on, without running any."""

import tempfile
from pathlib import Path

from tamis.artifacts import ItemStore
from tamis.pipeline.parts import open_parts
from tamis.pipeline.recipe import Recipe


def settings_of(recipe: Recipe, stage: str) -> object:
    """What a stage's key is made of."""
    with tempfile.TemporaryDirectory() as folder, open_parts(recipe, ItemStore(Path(folder) / "items.sqlite")) as parts:
        return next(one for one in parts.stages if one.name == stage).key()


def writers_settings(recipe: Recipe) -> object:
    """What the written queries depend on."""
    with tempfile.TemporaryDirectory() as folder, open_parts(recipe, ItemStore(Path(folder) / "items.sqlite")) as parts:
        return parts.writers.key()
