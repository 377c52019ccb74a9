"""From YAML to a recipe; an unknown key is an error that names the nearest one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tamis.complaints import apply_changes, parsed_yaml, settings_error, shown
from tamis.errors import SettingsError
from tamis.pipeline.recipe import Recipe


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe.

    Relative paths inside it are relative to the working directory, as on a command line.

    Args:
        path: The file.
        changes: `section.key=value` each, value in YAML; they replace what the file says.

    Raises:
        SettingsError: no such file, not YAML, an unknown key, or a value out of range; one line names the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as a recipe: {error}") from None
    content = parsed_yaml(text, str(path))
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a recipe with sections, got {shown(content)}")
    apply_changes(content, changes)
    return recipe_from(content, str(path))


def recipe_from(content: Mapping[str, Any], name: str) -> Recipe:
    """Check a recipe given as nested mappings; `name` stands for it in messages.

    Raises:
        SettingsError: see `read_recipe`.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise settings_error(error, Recipe, name) from None
