"""What is wrong with settings that a user wrote, in plain words: what was expected, what came, and what to write."""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tamis.errors import SettingsError
from tamis.languages import not_a_tag
from tamis.section import NAME, NO_PATH, TAG_OR_NONE, TRUTH

PydanticError = Mapping[str, Any]
"""One of pydantic's findings: its `type`, `input` and, for bounds and choices, `ctx`."""

Location = tuple[int | str, ...]
"""Where in the settings something stands: names of fields, places in lists."""

_MEMBER: Final = re.compile(r"float|int|str|bool|literal\[.*\]")
"""What pydantic calls a plain type among several."""

_YAML_TRUTH: Final = "YAML takes yes, no, on and off for true and false, put such a word between quotes"
_PLAIN: Final = r"[\w./-]+"
"""Text that YAML takes as it stands."""

_EXPECTED: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    TRUTH: lambda bound: "a number",
    NO_PATH: lambda bound: "a path ('.' for the working directory)",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), lambda bound: "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), lambda bound: "a number"),
    "finite_number": lambda bound: "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda bound: "true or false"),
    **dict.fromkeys(("string_type", "string_too_short"), lambda bound: "text"),
    "path_type": lambda bound: "a path",
    "dict_type": lambda bound: "names with what each stands for, NAME: VALUE",
    "invalid_key": lambda bound: "a name",
    **dict.fromkeys(("model_type", "model_attributes_type"), lambda bound: "a section with keys"),
    "literal_error": lambda bound: str(bound["expected"]),
    "greater_than": lambda bound: f"a number above {_number(bound['gt'])}",
    "greater_than_equal": lambda bound: f"a number of at least {_number(bound['ge'])}",
    "less_than": lambda bound: f"a number below {_number(bound['lt'])}",
    "less_than_equal": lambda bound: f"a number of at most {_number(bound['le'])}",
    "too_short": lambda bound: f"at least {_entries(bound['min_length'])}",
    "too_long": lambda bound: f"at most {_entries(bound['max_length'])}",
}
"""By kind of finding; `tests/pipeline/test_recipe.py` goes through all that a recipe can have."""


class _Loader(yaml.SafeLoader):
    """YAML's own, but for a key that comes twice in one mapping: the first value would go in silence."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} comes twice, in lines {seen[key.value]} and {line}; keep one")
            seen[key.value] = line
        return node


def parsed_yaml(text: str, where: str) -> Any:
    """Content of a YAML text.

    Args:
        text: The text.
        where: What holds it, for messages.

    Raises:
        SettingsError: it is none; PyYAML's own errors, and what it lets through: keys that come twice, impossible
            dates, bottomless nesting, numbers without end, tags of another kind (`!!bool maybe`).
    """
    try:
        return yaml.load(text, _Loader)  # a safe one
    except (yaml.YAMLError, ValueError, RecursionError, ArithmeticError, LookupError, AttributeError) as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def apply_changes(content: dict[str, Any], changes: Sequence[str]) -> None:
    """Put changes into a recipe given as nested mappings; each a dotted name and a value, `train.loss=gap-hinge`.

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
    content[key] = parsed_yaml(value, f"--set {change}")


def settings_error(error: ValidationError, settings: type[BaseModel], where: str) -> SettingsError:
    """The error that a user is told: where it stands, the field, and what is wrong with it."""
    return SettingsError(f"{where}: {complaint_of(error, settings)}")


def complaint_of(error: ValidationError, settings: type[BaseModel]) -> str:
    """What pydantic found first in a recipe or in other settings, with the name of the field."""
    every: Sequence[Mapping[str, Any]] = error.errors(include_url=False)
    found = every[0]
    location: Location = found["loc"]
    place = _without_member(location)
    expected = [_expected(one) for one in every if place == _without_member(one["loc"]) != one["loc"]]
    if len(expected) > 1:
        return f"{'.'.join(map(str, place))}: expected {' or '.join(expected)}, got {shown(found['input'])}"
    if found["type"] in (TRUTH, NO_PATH):
        location, found = (*location, *found["ctx"]["place"]), {**found, "input": found["ctx"]["value"]}
    field = ".".join(str(part) for part in location if part != "[key]")
    if found["type"] == "extra_forbidden":
        return f"unknown key {field!r}{_nearest(location, settings)}"
    if found["type"] == "missing":
        return f"{field} is missing; add it"
    if found["type"] == "value_error":  # our own words
        return f"{field}: {found['ctx']['error']}" if field else str(found["ctx"]["error"])
    return f"{field}: {in_words(found, _entry_type(location, settings))}"


def _without_member(location: Location) -> Location:
    """The place of a field in whose type several plain ones stand: pydantic adds which of them it tried."""
    return location[:-1] if len(location) > 1 and _MEMBER.fullmatch(str(location[-1])) else location


def _expected(found: PydanticError) -> str:
    kind, bound = found["type"], found.get("ctx", {})
    return _EXPECTED[kind](bound) if kind in _EXPECTED else str(found["msg"]).removeprefix("Input should be ")


def _entry_type(location: Location, settings: type[BaseModel]) -> Any:
    """Type of the entries of a list at some place of a recipe; None where it is not known."""
    found: Any = settings
    for part in location:
        section = next((one for one in _sections(found) if part in one.model_fields), None)
        if section is None:
            return None
        found = section.model_fields[str(part)].annotation
    entries = next(iter(get_args(found)), None)
    return next(iter(get_args(entries)), entries)  # without what is said of its range


def _nearest(location: Location, settings: type[BaseModel]) -> str:
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


def in_words(found: PydanticError, entries: Any) -> str:
    """What follows the name of a field.

    Args:
        found: What pydantic says of it.
        entries: Type of the entries, where a list was expected.
    """
    kind, value, bound = found["type"], found["input"], found.get("ctx", {})
    if kind == "tuple_type":
        return f"expected a list{_of(entries)}, got {shown(value)}{_as_list(value, entries)}"
    if kind == "string_pattern_mismatch":
        return _pattern(str(bound["pattern"]), value)
    if kind == "union_tag_invalid":
        return f"expected a kind among {bound['expected_tags']}, got {shown(bound['tag'])}"
    if kind == "union_tag_not_found":
        return f"kind is missing in {shown(value)}; add it"
    norway = f"; {_YAML_TRUTH}" if kind in ("string_type", "literal_error") and isinstance(value, bool) else ""
    return f"expected {_expected(found)}, got {shown(value)}{norway}"


def shown(value: object, most: int = 80) -> str:
    """A value as a message quotes it, on one line of at most `most` characters."""
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _of(entries: Any) -> str:
    return {Path: " of paths", float: " of numbers", int: " of numbers"}.get(entries, "")


def _as_list(value: object, entries: Any) -> str:
    """How a single value is written as a list, where it may stand in one."""
    if not isinstance(value, str) or entries in (int, float) or len(value) > 60:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return f"; write [{value}]" if is_number and entries in (int, float) else ""
    return f"; write [{value if re.fullmatch(_PLAIN, value) else json.dumps(value, ensure_ascii=False)}]"


def _pattern(pattern: str, value: object) -> str:
    if pattern == NAME:
        name = "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit"
        return f"expected {name}, got {shown(value)}"
    wrong = not_a_tag(str(value)[:60]) if pattern == TAG_OR_NONE else None
    return wrong or f"expected text like {pattern}, got {shown(value)}"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"
