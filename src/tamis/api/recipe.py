"""A recipe made in Python or read from a file, with the same one-line complaints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from tamis.complaints import settings_error
from tamis.pipeline import recipe as sections
from tamis.pipeline.reading import read_recipe


class Recipe(sections.Recipe):
    """Everything that a run needs: one section for each stage, as in YAML. It cannot be changed once it is made.

    Example:
        >>> recipe = Recipe(  # doctest: +SKIP
        ...     name="mine",
        ...     corpus={"target": "my/documents"},
        ...     queries={"written": ["my/queries.tsv"]},
        ...     candidates={"dense": {"path": "demo/models/e5-small"}},
        ...     lists={"domains": {"all": "*"}},
        ... )

    Attributes:
        name: Name of the run, of letters, digits, '.', '_' and '-'.
        seed: Number that every random draw starts from.
        precision: Number format of matrix products: auto, float32 or bfloat16.
        corpus: Which documents.
        queries: Who writes queries about them.
        candidates: What searches.
        scores: Who teaches.
        lists: How training lists are drawn, and the specialists.
        student: What learns.
        train: How.
        merge: How the specialists become one model.
        evaluate: Judged questions; None where there are none.
        machine: What changes speed and no result.
    """

    def __init__(self, **content: Any) -> None:
        """Make a recipe of its sections.

        Args:
            **content: Sections by name, each a mapping or an object of its class; `docs/settings.md` has every key.

        Raises:
            SettingsError: an unknown key, or a value out of range; one line names the field.
        """
        try:
            super().__init__(**content)
        except ValidationError as error:
            raise settings_error(error, sections.Recipe, "tamis.Recipe") from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # reading a file does not come by here

    @classmethod
    def from_yaml(cls, path: str | Path, changes: Sequence[str] = ()) -> Self:
        """Read a YAML recipe. Relative paths in it are relative to the working directory.

        Args:
            path: The file.
            changes: `section.key=value` each, the value in YAML; they replace what the file says.

        Raises:
            SettingsError: no such file, not YAML, an unknown key, or a value out of range; one line names the field.
        """
        return cls.model_validate(read_recipe(Path(path), changes).model_dump(exclude_unset=True))
