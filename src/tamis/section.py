"""What the sections of a recipe have in common."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names that become file names."""

TAG_OR_NONE = r"^([a-z]{2,3}(-[a-z0-9]{1,8})*)?$"
"""What a language tag looks like, or none."""

LanguageTag = Annotated[str, Field(pattern=TAG_OR_NONE)]
"""A lower-case tag, or empty."""

TRUTH = "truth_for_a_number"
"""Kind of pydantic's finding that true or false came where a number was expected."""

NO_PATH = "text_for_a_path"
"""Kind of pydantic's finding that an empty text came where a path was expected."""


class Section(BaseModel):
    """A part of a recipe: immutable, and closed to keys it does not know and to numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, content: Any) -> Any:
        """Refuse true and false, which Python takes for 1 and 0, where a number belongs."""
        for name, value in content.items() if isinstance(content, dict) else ():
            places = _places(value, lambda one: isinstance(one, bool)) if name in cls.model_fields else []
            if places and _is_numeric(cls.model_fields[name].annotation):
                value = value if places == [()] else value[places[0][0]]
                raise PydanticCustomError(TRUTH, "expected a number", {"place": (name, *places[0]), "value": value})
        return content

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_no_path(cls, content: Any) -> Any:
        """None for an empty text where there may be no path; Python would take it for the working directory."""
        for name, value in content.items() if isinstance(content, dict) else ():
            kinds = list(_kinds(cls.model_fields[name].annotation)) if name in cls.model_fields else []
            places = _places(value, lambda one: isinstance(one, str) and not one) if Path in kinds else []
            if places == [()] and type(None) in kinds:
                content = {**content, name: None}
            elif places:
                raise PydanticCustomError(NO_PATH, "expected a path", {"place": (name, *places[0]), "value": ""})
        return content


class PathSection(Section):
    """A part of a recipe that a path alone stands for, with the defaults of all else."""

    path: Path

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, content: Any) -> Any:
        return {"path": content} if isinstance(content, str | Path) else content


def _is_numeric(annotation: Any) -> bool:
    """Whether a field's type has numbers in it and nothing that may be true or false."""
    kinds = list(_kinds(annotation))
    return any(kind in (int, float) for kind in kinds) and not any(kind in (bool, Any) for kind in kinds)


def _kinds(annotation: Any) -> Iterator[Any]:
    """All types in a field's type, however deep; sections look after themselves."""
    yield annotation
    for argument in get_args(annotation):
        yield from _kinds(argument)


def _places(value: Any, wrong: Callable[[Any], bool]) -> list[tuple[Any, ...]]:
    """Where something wrong stands in a value: at its place, or at those of its entries."""
    if wrong(value):
        return [()]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [(place,) for place, entry in entries if wrong(entry)]
