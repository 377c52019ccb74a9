"""Lines of a text file, plain or compressed, each with its number for messages."""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from tamis.errors import InputError, MissingPartError
from tamis.text import clip

_COMPRESSED: Final = (".gz", ".zst")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def ending(path: Path) -> str:
    """What kind of file a path names, lower-case: `.jsonl` for `docs.JSONL`, `docs.jsonl.gz` and `docs.jsonl.zst`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a file in UTF-8, with their ends; only a line feed ends one.

    Args:
        file: Decompressed where its name ends in `.gz` or `.zst`.

    Raises:
        InputError: A file that cannot be opened, is cut or damaged, or bytes that are not UTF-8.
        MissingPartError: A `.zst` file, and a pyarrow that was built without zstd.
    """
    number = 0
    try:
        with _opened(file) as stream:
            for number, line in _decoded(stream, str(file)):
                yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        place = f"{file}, line {number + 1}" if number else str(file)
        raise InputError(f"{place}: cannot be read: {reason}") from error


def _decoded(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(stream, 1):
        try:
            yield number, raw.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(f"{name}, line {number}", error) from error


def filled_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, without their ends; see `lines`."""
    yield from _filled(lines(file))


def filled_lines_of(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """The same of a stream, which messages call by a name.

    Raises:
        InputError: Bytes that are not UTF-8.
    """
    yield from _filled(_decoded(stream, name))


def _filled(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in numbered:
        if line.strip():
            yield number, line.rstrip("\r\n")


def objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered JSON objects of a file that holds one a line; blank lines are passed over.

    Raises:
        InputError: See `lines`; or a line that is no JSON object.
    """
    for number, line in filled_lines(file):
        where = f"{file}, line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: got {clip(line, 60)!r}, expected a JSON object ({error})") from error
        if not isinstance(entry, dict):
            raise InputError(f"{where}: got {clip(line, 60)!r}, expected a JSON object")
        yield number, entry


def read_text(file: Path) -> str:
    """Text of a whole file in UTF-8, without a byte order mark.

    Raises:
        InputError: A file that cannot be read, or bytes that are not UTF-8, named by their line.
    """
    try:
        raw = file.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise not_utf8(f"{file}, line {line}", error) from error


def not_utf8(where: str, error: UnicodeDecodeError) -> InputError:
    """The error for bytes that are not UTF-8, with the first of them."""
    return InputError(f"{where}: byte {error.object[error.start]:#04x} is not UTF-8; save the file in UTF-8")


def _opened(file: Path) -> IO[bytes] | gzip.GzipFile:
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
