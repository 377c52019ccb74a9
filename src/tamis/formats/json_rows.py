"""Rows of JSON files: objects line by line, lists of them, or one object that holds such a list."""

import io
import json
import zlib
from collections.abc import Iterator, Mapping
from json.decoder import JSONDecoder
from pathlib import Path
from typing import IO, Any, Final

from tamis.errors import InputError
from tamis.formats.lines import ending, filled_lines, json_object, opened
from tamis.text import clip, quoted

_LARGEST: Final = 100 << 20  # characters of one object that is not on a line of its own
_PEEK: Final = 1 << 16
_DEEPEST: Final = 4

Place = str
"""`line 3` or `row 3`, from 1."""


def json_rows(file: Path, encoding: str = "utf-8") -> Iterator[tuple[Place, dict[str, Any] | InputError]]:
    """Rows of a JSON file with their places; one that is no object gives its error.

    Args:
        file: Lines of objects, a list of objects (streamed too) or several one behind another, or, where its name ends
            in `.json`, one object.
        encoding: See `lines`.

    Raises:
        InputError: The file cannot be read, or not to its end.
    """
    beginning = _beginning(file, encoding)
    line, more, _ = beginning.partition("\n")
    if beginning.startswith("["):
        for number, entry in enumerate(_entries(file, encoding), 1):
            fit = isinstance(entry, dict)
            wrong = InputError(f"{file}, row {number}: got {clip(repr(entry), 60)}, expected a JSON object")
            yield f"row {number}", entry if fit else wrong
    elif ending(file) == ".json" and more and not _is_object(line):
        yield "row 1", json_object(_whole(file, encoding), str(file))
    else:
        for number, text in filled_lines(file, encoding):
            yield f"line {number}", _object_or_error(text, f"{file}, line {number}")


def inner_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows inside an object that wraps them, as search engines and content management systems give theirs.

    Returns:
        The objects of the first list that holds nothing else, level by level; none where there is none.
    """
    level: list[Mapping[str, Any]] = [content]
    for _ in range(_DEEPEST):
        values = [value for each in level for value in each.values()]
        for value in values:
            if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
                return value
        level = [value for value in values if isinstance(value, dict)]
    return []


def _beginning(file: Path, encoding: str) -> str:
    """The first characters; where they are not understood, the reader of lines says so with their place."""
    try:
        with opened(file) as stream, _text(stream, encoding, "replace") as text:
            return text.read(_PEEK).lstrip("\ufeff \t\r\n")
    except (OSError, EOFError, zlib.error):
        return ""


def _entries(file: Path, encoding: str) -> Iterator[Any]:
    """What a list holds; of the file little more is in memory than its largest entry."""
    number = 0
    try:
        with opened(file) as stream, _text(stream, encoding, "strict" if encoding == "utf-8" else "replace") as text:
            for entry in _decoded_entries(text):
                number += 1
                yield entry
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        place = f"{file}, row {number + 1}"
        raise InputError(f"{place}: cannot be read as an entry of a JSON list: {clip(str(error), 120)}") from error


def _decoded_entries(text: IO[str]) -> Iterator[Any]:
    """Entries of a list, and of those behind it, as where files of one list each were put together."""
    decoder, wanted, buffer = JSONDecoder(), _PEEK, ""
    while buffer := _next_list(buffer, text):
        buffer = buffer[1:]
        while not (buffer := buffer.lstrip(" \t\r\n,")).startswith("]"):
            try:
                entry, end = decoder.raw_decode(buffer)
            except ValueError:
                more = text.read(wanted) if len(buffer) < _LARGEST else ""
                if not more:
                    raise
                buffer, wanted = buffer + more, 2 * wanted  # doubled, so that a large entry is not read over and over
            else:
                buffer, wanted = buffer[end:], _PEEK
                yield entry
        buffer = buffer[1:]


def _next_list(buffer: str, text: IO[str]) -> str:
    """What follows a list, from the bracket of the next one; empty at the end of the file."""
    while not (buffer := buffer.lstrip("\ufeff \t\r\n")) and (more := text.read(_PEEK)):
        buffer = more
    if buffer and not buffer.startswith("["):
        raise ValueError(f"behind the list stands {quoted(buffer, 40)}, expected nothing or another list; remove it")
    return buffer


def _text(stream: Any, encoding: str, errors: str) -> IO[str]:
    return io.TextIOWrapper(io.BufferedReader(stream), encoding, errors)


def _object_or_error(line: str, where: str) -> dict[str, Any] | InputError:
    try:
        return json_object(line, where)
    except InputError as error:
        return error


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _whole(file: Path, encoding: str) -> str:
    try:
        with opened(file) as stream, _text(stream, encoding, "strict" if encoding == "utf-8" else "replace") as text:
            found = text.read(_LARGEST + 1).lstrip("\ufeff")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read: {clip(str(error), 120)}") from error
    if len(found) > _LARGEST:
        raise InputError(f"{file}: one object of more than {_LARGEST >> 20} MB; write one object a line")
    return found
