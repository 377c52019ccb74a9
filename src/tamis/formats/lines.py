"""Lines of a text file, plain or compressed, each with its number for messages."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from tamis.errors import InputError, MissingPartError
from tamis.text import clip

_COMPRESSED: Final = (".gz", ".zst")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LONGEST: Final = 256 << 20
"""Bytes of a line, or characters in another encoding than UTF-8: a packed file may hold one that fills any memory."""

_BLANKS: Final = re.compile("[ \t\v\f\r]+")
"""What C calls white space within a line, as trec_eval reads it."""


def ending(path: Path) -> str:
    """What kind of file a path names, lower-case: `.jsonl` for `docs.JSONL`, `docs.jsonl.gz` and `docs.jsonl.zst`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Numbered lines of a file, with their ends; only a line feed ends one.

    Args:
        file: Decompressed where its name ends in `.gz` or `.zst`.
        encoding: Of the file; in another one than UTF-8, what does not fit becomes U+FFFD.

    Raises:
        InputError: A file that cannot be opened, is cut or damaged, or bytes that are not UTF-8.
        MissingPartError: A `.zst` file, and a pyarrow that was built without zstd.
    """
    number = 0
    try:
        with opened(file) as stream:
            found = _decoded(_raw(stream), str(file)) if encoding == "utf-8" else _in(stream, encoding, str(file))
            for number, line in found:
                yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        place = f"{file}, line {number + 1}" if number else str(file)
        raise InputError(f"{place}: cannot be read: {reason}") from error


def _decoded(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(stream, 1):
        if len(raw) > _LONGEST:
            raise _too_long(f"{name}, line {number}")
        try:
            yield number, raw.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(f"{name}, line {number}", error) from error


def _raw(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """Lines as they stand in a file; of one that is too long no more than says so."""
    while line := stream.readline(_LONGEST + 1):
        yield line


def _in(stream: Any, encoding: str, name: str) -> Iterator[tuple[int, str]]:
    """The same in another encoding, whose line feeds may be more than one byte."""
    with io.TextIOWrapper(io.BufferedReader(stream), encoding, "replace", newline="\n") as text:
        number = 0
        while line := text.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise _too_long(f"{name}, line {number}")
            yield number, line.removeprefix("\ufeff") if number == 1 else line


def _too_long(where: str) -> InputError:
    return InputError(f"{where}: longer than {_LONGEST >> 20} MB, expected a row or a text; split it")


def filled_lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, without their ends; see `lines`."""
    yield from _filled(lines(file, encoding))


def filled_lines_of(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """The same of a stream, which messages call by a name.

    Raises:
        InputError: Bytes that are not UTF-8.
    """
    yield from _filled(_decoded(stream, name))


def _filled(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in numbered:
        if line.strip():
            yield number, line.removesuffix("\n").removesuffix("\r")


def columns_of(line: str) -> list[str]:
    """The columns of a line of a TREC file, between blanks and tabs; other white space may be part of an id."""
    return _BLANKS.sub(" ", line).strip(" ").split(" ")


def objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered JSON objects of a file that holds one a line; blank lines are passed over.

    Raises:
        InputError: See `lines`; or a line that is no JSON object.
    """
    for number, line in filled_lines(file):
        yield number, json_object(line, f"{file}, line {number}")


def json_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: Its text.
        where: File and line, for messages.

    Raises:
        InputError: It is none.
    """
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: got {clip(text, 60)!r}, expected a JSON object ({error})") from error
    if not isinstance(entry, dict):
        raise InputError(f"{where}: got {clip(text, 60)!r}, expected a JSON object")
    return entry


def not_utf8(where: str, error: UnicodeDecodeError) -> InputError:
    """The error for bytes that are not UTF-8, with the first of them."""
    return InputError(f"{where}: byte {error.object[error.start]:#04x} is not UTF-8; save the file in UTF-8")


def opened(file: Path) -> IO[bytes] | gzip.GzipFile:
    """The bytes of a file, decompressed where its name ends in `.gz` or `.zst`.

    Raises:
        MissingPartError: A `.zst` file, and a pyarrow that was built without zstd.
    """
    suffix = file.suffix.lower()
    if suffix == ".gz":
        return gzip.open(file, "rb")
    if suffix == ".zst":
        import pyarrow as pa  # carries zstd with it, which Python does only from 3.14 on

        if not pa.Codec.is_available("zstd"):
            raise MissingPartError(f"{file}: this pyarrow cannot read zstd; decompress the file, or save it as .gz")
        # Through Python's own file object, so that whoever watches what is opened sees it.
        return io.BufferedReader(pa.CompressedInputStream(file.open("rb"), "zstd"))
    return file.open("rb")
