"""What users may put into prompts: YAML with words, checked against a model of its fields, and queries as examples."""

from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tamis.errors import InputError, SettingsError
from tamis.formats.lines import filled_lines
from tamis.text import one_line

Fields = TypeVar("Fields", bound=BaseModel)

FEWEST_STYLE_LINES: Final = 8
MOST_STYLE_LINES: Final = 50


def read_prompt(path: Path, kind: type[Fields], what: str, loader: type[Any] = yaml.SafeLoader) -> Fields:
    """Read a file.

    Args:
        path: The file.
        kind: What its fields have to be.
        what: What it is, for messages.
        loader: Of PyYAML; `BaseLoader` leaves every value the text that it is.

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
    """Read queries of people, one a line, that show a language model how they search; blank lines are passed over.

    Raises:
        InputError: The file cannot be read.
        SettingsError: It holds fewer than 8 or more than 50 different lines.
    """
    found = tuple(dict.fromkeys(one_line(line) for _, line in filled_lines(path)))
    if not FEWEST_STYLE_LINES <= len(found) <= MOST_STYLE_LINES:
        raise SettingsError(
            f"queries.prompt.like: {path} holds {len(found)} different queries, expected {FEWEST_STYLE_LINES} to "
            f"{MOST_STYLE_LINES}, one a line; {'add' if len(found) < FEWEST_STYLE_LINES else 'leave out'} some"
        )
    return found
