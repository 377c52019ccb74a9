"""Writes docs/settings.md: one table for each section of a recipe, made from the fields and their descriptions."""

import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tamis.pipeline.recipe import Recipe

PAGE = Path(__file__).parent.parent / "settings.md"

BEGINNING = """# Settings of a recipe

Every key of a recipe. [Adapting](adapting.md) shows recipes and says which keys most people need.

A key that is left out has its default. `--set KEY=VALUE` replaces a key on the command line.
`[]` after a name stands for each entry of a list.

This page is made from the code by `docs/tools/settings_reference.py`; change the descriptions there.
"""

SIMPLE = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path", Any: "anything"}
"""What the types of single values are called."""

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
"""Attributes of pydantic's constraints, and their words."""


class Part(NamedTuple):
    """A section, where it stands in a recipe."""

    path: str
    """Dotted, empty for the recipe itself; `[]` after what there may be several of."""
    section: type[BaseModel]
    field: FieldInfo | None
    """The key that holds the section; none for the recipe itself."""

    def key(self, name: str) -> str:
        """Dotted path of one of its keys."""
        return f"{self.path}.{name}" if self.path else name

    @property
    def leaves(self) -> list[tuple[str, FieldInfo]]:
        """Its keys that hold values or several sections, with their dotted paths."""
        fields = self.section.model_fields.items()
        return [(self.key(name), field) for name, field in fields if not is_section(field)]


def is_section(field: FieldInfo) -> bool:
    """Whether a key holds one section."""
    return bool(sections_in(field.annotation)) and not is_repeated(field.annotation)


def is_repeated(annotation: Any) -> bool:
    """Whether a type is a tuple or a mapping."""
    return get_origin(annotation) in (tuple, dict)


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a type holds, however deep, each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return list(dict.fromkeys(one for argument in get_args(annotation) for one in sections_in(argument)))


def parts(part: Part) -> Iterator[Part]:
    """A section and all within it, in the order of their keys."""
    yield part
    for name, field in part.section.model_fields.items():
        path = part.key(name) + ("[]" if is_repeated(field.annotation) else "")
        for section in sections_in(field.annotation):
            yield from parts(Part(path, section, field))


def type_words(annotation: Any, constraints: Iterable[Any] = ()) -> str:
    """What may stand there, in words, with its range."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0], [*arguments[1:], *constraints])
    if origin in (types.UnionType, Union):
        return type_words(next(one for one in arguments if one is not type(None)), constraints)
    if origin is tuple:
        several = "list" if arguments[-1] is Ellipsis else f"list of {len(arguments)}"
        return f"{several}: {type_words(arguments[0])}"
    if origin is dict:
        return f"mapping: {type_words(arguments[0])} to {type_words(arguments[1])}"
    if origin is Literal:
        return any_of([f"`{choice}`" for choice in arguments])
    word = "section" if sections_in(annotation) else SIMPLE[annotation]
    return ", ".join([word, *bound_words(constraints)])


def any_of(choices: list[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)


def bound_words(constraints: Iterable[Any]) -> list[str]:
    """`at least 0` and the like, of pydantic's constraints."""
    single = [one for item in constraints for one in (item.metadata if isinstance(item, FieldInfo) else [item])]
    bounds = {name: getattr(one, name) for name in BOUNDS for one in single if hasattr(one, name)}
    if bounds.keys() == {"ge", "le"}:
        return [f"{bounds['ge']:,} to {bounds['le']:,}"]
    return [f"{BOUNDS[name]} {bound:,}" for name, bound in bounds.items()]


def default_words(field: FieldInfo) -> str:
    """The default as YAML would have it; `required` where there is none, `empty` for nothing."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "empty" if value in (None, "", (), {}) else f"`{yaml_words(value)}`"


def yaml_words(value: Any) -> str:
    """A value as YAML's short form has it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {yaml_words(one)}' for key, one in value.items())}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(yaml_words, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def row(path: str, field: FieldInfo) -> str:
    """One line of a table."""
    kind = type_words(field.annotation, field.metadata)
    return f"| `{path}` | {kind} | {default_words(field)} | {field.description} |"


def heading(part: Part) -> str:
    """Path of a section; of one among several in a list also the kind that tells it apart."""
    depth = 3 if "." in part.path else 2
    kind = part.section.model_fields.get("kind")
    ending = f", kind {get_args(kind.annotation)[0]}" if kind else ""
    return f"{'#' * depth} {part.path or 'The recipe itself'}{ending}"


def sentence(part: Part) -> str:
    """What a section is: its field's description, else the first paragraph of its docstring."""
    described = part.field.description if part.field and is_section(part.field) else None
    words = described or " ".join((part.section.__doc__ or "").split("\n\n")[0].split())
    optional = part.field is not None and is_section(part.field) and part.field.default is None
    return f"{words} The section may be left out." if optional else words


def text_of(part: Part) -> str:
    """Heading, sentence and table of a section."""
    rows = [row(path, field) for path, field in part.leaves]
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []
    return "\n".join([heading(part), "", sentence(part), *([""] if rows else []), *table, ""])


def page() -> str:
    """The whole page."""
    return "\n".join([BEGINNING, *map(text_of, parts(Part("", Recipe, None)))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
