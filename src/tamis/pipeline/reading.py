"""From YAML to a recipe; an unknown key is an error that names the nearest one."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tamis.errors import SettingsError
from tamis.pipeline.complaints import in_words, shown
from tamis.pipeline.recipe import Recipe
from tamis.section import TRUTH


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
    content = _parse(text, str(path))
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a recipe with sections, got {shown(content)}")
    apply_changes(content, changes)
    return recipe_from(content, str(path))


def apply_changes(content: dict[str, Any], changes: Sequence[str]) -> None:
    """Put changes into a recipe given as nested mappings; see `read_recipe`.

    Raises:
        SettingsError: a change is not understood.
    """
    for change in changes:
        _apply(content, change)


def _apply(content: dict[str, Any], change: str) -> None:
    """Put `section.key=value` into a recipe's content."""
    name, equals, value = change.partition("=")
    if not equals:
        raise SettingsError(f"--set {change}: expected KEY=VALUE, for instance train.loss=gap-hinge")
    *sections, key = name.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise SettingsError(f"--set {change}: {section!r} is not a section of the recipe")
    content[key] = _parse(value, f"--set {change}")


def _parse(text: str, where: str) -> Any:
    """Content of a YAML text. PyYAML's own errors, and what it lets through: impossible dates, bottomless nesting."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def recipe_from(content: Mapping[str, Any], name: str) -> Recipe:
    """Check a recipe given as nested mappings; `name` stands for it in messages.

    Raises:
        SettingsError: see `read_recipe`.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{name}: {complaint_of(error)}") from None


def complaint_of(error: ValidationError, settings: type[BaseModel] = Recipe) -> str:
    """What pydantic found first in a recipe, or in other settings, in plain words."""
    found: Mapping[str, Any] = error.errors(include_url=False)[0]
    location: tuple[int | str, ...] = found["loc"]
    if found["type"] == TRUTH:
        location, found = (*location, *found["ctx"]["place"]), {**found, "input": found["ctx"]["value"]}
    field = ".".join(str(part) for part in location if part != "[key]")
    if found["type"] == "extra_forbidden":
        return f"unknown key {field!r}{_nearest(location, settings)}"
    if found["type"] == "missing":
        return f"{field} is missing; add it"
    if found["type"] == "value_error":  # our own words
        return f"{field}: {found['ctx']['error']}" if field else str(found["ctx"]["error"])
    return f"{field}: {in_words(found, _entries(location, settings))}"


def _entries(location: tuple[int | str, ...], settings: type[BaseModel]) -> Any:
    """Type of the entries of a list at some place of a recipe; None where it is not known."""
    found: Any = settings
    for part in location:
        section = next((one for one in _sections(found) if part in one.model_fields), None)
        if section is None:
            return None
        found = section.model_fields[str(part)].annotation
    entries = next(iter(get_args(found)), None)
    return next(iter(get_args(entries)), entries)  # without what is said of its range


def _nearest(location: tuple[int | str, ...], settings: type[BaseModel]) -> str:
    """' (did you mean ...?)' for an unknown key, or the keys that its section knows."""
    section = settings
    within: list[type[BaseModel]] = []
    for part in location[:-1]:
        if part in section.model_fields:
            within = _sections(section.model_fields[str(part)].annotation)
            section = within[0] if len(within) == 1 else section
        elif isinstance(part, str):  # names one of several sections by its kind
            section = next((one for one in within if part in get_args(one.model_fields["kind"].annotation)), section)
    known = list(section.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections in a field's type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]
