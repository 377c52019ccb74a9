"""What the sections of a recipe have in common."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names that become file names."""

LanguageTag = Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[a-z0-9]{1,8})*)?$")]
"""A lower-case tag, or empty."""


class Section(BaseModel):
    """A part of a recipe: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PathSection(Section):
    """A part of a recipe that a path alone stands for, with the defaults of all else."""

    path: Path

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, content: Any) -> Any:
        return {"path": content} if isinstance(content, str | Path) else content
