"""One file, one document: read whole, whatever its form, or left out with a reason."""

import gzip
import io
import os
import zlib
from typing import Final

from tamis.formats.file_text import FileText, LeftOut, titled
from tamis.formats.folder import LARGEST, Found, left_out, why
from tamis.formats.kinds import reader_of
from tamis.records import Document, Dropped

_TOO_LARGE: Final = f"larger than {LARGEST >> 20} MB"


def read_file(found: Found, origin: str) -> Document | Dropped:
    """Read a file as a document.

    Args:
        found: The file; its name becomes the id.
        origin: `target` or `general`.

    Returns:
        The document, whose text begins with its title where the file gives one; or why there is none.
    """
    try:
        read = _read(found)
    except LeftOut as error:
        return left_out(found.name, error.reason, error.detail)
    title = read.title or _of_name(found)
    return Document(found.name, titled(read.text, read.title), read.language, origin, title, found.name)


def _read(found: Found) -> FileText:
    try:
        content = _content(found)
    except OSError as error:
        raise LeftOut(why(error), error.strerror) from error
    try:
        return reader_of(found.kind)(content)
    except LeftOut:
        raise
    except MemoryError as error:
        raise LeftOut("takes too much memory") from error
    except Exception as error:  # what a library raises on a file that is damaged can be anything
        raise LeftOut(f"damaged or no {found.kind or 'text'}", f"{type(error).__name__}: {error}") from error


def _of_name(found: Found) -> str:
    name = found.name.rpartition("/")[2]
    stem = name.removesuffix(".gz").removesuffix(".zst")
    return stem[: len(stem) - len(found.kind)] if found.kind and stem.lower().endswith(found.kind) else stem


def _content(found: Found) -> bytes:
    """All bytes of a file, unpacked.

    Raises:
        LeftOut: It is too large, changed meanwhile, or is packed and cannot be unpacked.
        OSError: It cannot be read.
    """
    with found.file.open("rb") as stream:
        before = os.fstat(stream.fileno())
        raw = stream.read(LARGEST + 1)
        after = os.fstat(stream.fileno())
    if len(raw) > LARGEST:
        raise LeftOut(_TOO_LARGE)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(raw) != after.st_size:
        raise LeftOut("changed while it was read")
    suffix = found.file.suffix.lower()
    return _unpacked(raw, suffix) if suffix in (".gz", ".zst") else raw


def _unpacked(raw: bytes, suffix: str) -> bytes:
    try:
        if suffix == ".gz":
            content = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST + 1)
        else:
            import pyarrow as pa

            content = pa.CompressedInputStream(io.BytesIO(raw), "zstd").read(LARGEST + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise LeftOut(f"damaged {suffix}", error) from error
    if len(content) > LARGEST:
        raise LeftOut(f"unpacks to more than {LARGEST >> 20} MB")
    return content
