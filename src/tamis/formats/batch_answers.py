"""Files of answers to a batch: which lines are answers, and what a file is that holds none.

The form is that of OpenAI's and vLLM's batches: a JSON object a line, with `custom_id`, and with `response` or `error`.
"""

import codecs
import json
from pathlib import Path
from shlex import quote
from typing import IO, Any, Final

from tamis.errors import InputError
from tamis.text import clip

EXPECTED: Final = "custom_id with response or error, as in the answers to a file of --batch-out"
"""What each line should hold, as one JSON object."""

_ANSWERS: Final = "give the file of answers that the batch service or vllm run-batch wrote"
_PACKED: Final = {b"\x1f\x8b": "a gzip file", b"\x28\xb5\x2f\xfd": "a zstd file", b"PK\x03\x04": "a zip file"}
_BINARY: Final = {b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", **_PACKED}
"""What files begin with that are no text."""


def object_in(raw: bytes) -> dict[str, Any] | None:
    """The JSON object that a line of UTF-8 is; None where it is something else."""
    try:
        # Strictly UTF-8: JSON's reader would take UTF-16 by its zeros, but lines of that do not end with the byte LF.
        content = json.loads(raw.decode("utf-8-sig", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def answer_in(raw: bytes) -> dict[str, Any] | None:
    """The answer or the failure that a line holds; None where it is something else."""
    content = object_in(raw)
    if content is None or not isinstance(content.get("custom_id"), str):
        return None
    return content if {"response", "error"} & content.keys() else None


def opened(path: Path) -> IO[bytes]:
    """A file to read, more than once and from any place.

    Raises:
        InputError: It cannot be opened, or is a pipe.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    if stream.seekable():
        return stream
    stream.close()
    raise InputError(f"{path}: is a pipe, which cannot be read twice; write the answers to a file and give that")


def check_answers(path: Path) -> None:
    """See that a file holds answers; of a good one only the beginning is read.

    Raises:
        InputError: It cannot be read, is one JSON array, or no line of it is an answer. What the first line is stands
            in the message.
    """
    try:
        with opened(path) as stream:
            number, first = next(((n, raw) for n, raw in enumerate(stream, 1) if raw.strip()), (0, b""))
            if not _is_array(first) and (answer_in(first) or any(map(answer_in, stream))):
                return
    except OSError as error:
        raise _unreadable(path, error) from error
    if not number:
        raise InputError(f"{path}: no answers in it; expected the answers to a file of --batch-out")
    raise InputError(
        f"{path}, line {number}: got {what_came(first)}, expected a JSON object a line with {EXPECTED}; "
        f"{_advice(first, path)}"
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read: {error.strerror}")


def what_came(raw: bytes) -> str:
    """What a line is that is no answer, in a few words."""
    if encoding := _other_encoding(raw):
        return f"{encoding} text"
    if known := [name for begin, name in _BINARY.items() if raw.startswith(begin)]:
        return known[0]
    if _is_array(raw):
        return "the beginning of a JSON array"
    if _is_prompt(raw):
        return "a prompt"
    if b"\0" in raw:
        return f"bytes that are no text ({raw[:8].hex(' ')})"
    return repr(clip(raw[:200].decode("utf-8", "replace").strip(), 60))


def _advice(raw: bytes, path: Path) -> str:
    """What to do with a file that begins with such a line and holds no answer."""
    name = quote(path.name)
    if encoding := _other_encoding(raw):
        return f"write it as UTF-8 (iconv -f {encoding} -t UTF-8 {name} > answers-utf8.jsonl) and give that file"
    if _is_array(raw):
        return f"write an element a line (jq -c '.[]' {name} > answers-lines.jsonl) and give that file"
    if _is_prompt(raw):
        return f"send the prompts to a batch service or to vllm run-batch, and {_ANSWERS}"
    return f"unpack it and {_ANSWERS}" if raw.startswith(tuple(_PACKED)) else _ANSWERS


def _is_array(raw: bytes) -> bool:
    return raw.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _is_prompt(raw: bytes) -> bool:
    return (object_in(raw) or {}).keys() >= {"custom_id", "method", "body"}


def _other_encoding(raw: bytes) -> str:
    """UTF-16 or UTF-32 as iconv calls it, where a line is printable text in it; else empty."""
    encoding = json.detect_encoding(raw)
    if encoding.startswith("utf-8"):
        return ""
    text = raw.decode(encoding, "ignore").strip("\ufeff \t\r\n")
    # Other bytes with a zero among the first are letters of many scripts in it.
    told = text[:1].isascii() and text.isprintable()
    return encoding.upper().replace("-LE", "LE").replace("-BE", "BE") if text and told else ""
