"""What users may put into prompts: YAML with words, checked against a model of its fields, and queries as examples."""

import string
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tamis.errors import InputError, SettingsError
from tamis.formats.fields import QUERY_TEXTS, shown, text_of
from tamis.formats.query_rows import told_rows
from tamis.formats.tables import Row
from tamis.text import one_line

Fields = TypeVar("Fields", bound=BaseModel)

FEWEST_STYLE_LINES: Final = 8
MOST_STYLE_LINES: Final = 50
LONGEST_STYLE_QUERY: Final = 200
"""Characters; what is written like a longer one would be left out as too long."""


def placeholders(text: str) -> set[str]:
    """The names between braces in a text.

    Raises:
        ValueError: A brace that belongs to none.
    """
    try:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise ValueError(f"{error}; write a brace that is no placeholder twice") from None


def read_prompt(path: Path, kind: type[Fields], what: str, loader: type[Any] = yaml.SafeLoader) -> Fields:
    """Read a file.

    Args:
        path: The file.
        kind: What its fields have to be.
        what: What it is, for messages.
        loader: PyYAML's loader; `BaseLoader` leaves every value the text that it is.

    Raises:
        InputError: The file cannot be read, or lacks something.
    """
    try:
        return kind.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as {what}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise InputError(f"{path}: {field}: {first['msg'].removeprefix('Value error, ')}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML in UTF-8: {' '.join(str(error).split())}") from None


def read_style(path: Path) -> tuple[str, ...]:
    """Read queries of people that show a language model how they search; blank lines are passed over.

    Args:
        path: A query a line, id and text between a tab, or rows, see `told_rows`.

    Raises:
        InputError: The file cannot be read, or holds a query that is empty or longer than 200 characters.
        SettingsError: It holds fewer than 8 or more than 50 different queries.
    """
    if not path.exists():
        raise InputError(
            f"queries.prompt.like: {path}: no such file; expected {FEWEST_STYLE_LINES} to {MOST_STYLE_LINES} queries "
            "that people typed, one a line"
        )
    found = tuple(dict.fromkeys(_style_query(row) for row in told_rows(path)))
    if not FEWEST_STYLE_LINES <= len(found) <= MOST_STYLE_LINES:
        raise SettingsError(
            f"queries.prompt.like: {path} holds {len(found)} different queries, expected {FEWEST_STYLE_LINES} to "
            f"{MOST_STYLE_LINES}, one a line; {'add' if len(found) < FEWEST_STYLE_LINES else 'leave out'} some"
        )
    return found


def _style_query(row: Row) -> str:
    query = one_line(text_of(row.content, row.where, QUERY_TEXTS))
    if not 0 < len(query) <= LONGEST_STYLE_QUERY:
        raise InputError(
            f"{row.where}: {shown(query)} has {len(query):,} characters, expected 1 to {LONGEST_STYLE_QUERY} of "
            "somebody's query as an example of style; shorten it or leave it out"
        )
    return query
