"""Prompts that users may write themselves: YAML in a file, checked against a model of its fields."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tamis.errors import InputError

Fields = TypeVar("Fields", bound=BaseModel)


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
