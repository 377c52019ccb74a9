"""Which fields of a row hold id, text, title and language, and what may stand in them."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tamis.errors import InputError
from tamis.languages import LANGUAGE_TAG, UNKNOWN_LANGUAGE
from tamis.text import clip

Content = Mapping[str, Any]
"""Field name -> value, as JSON, Parquet or CSV gave it."""

IDS: Final = ("_id", "id", "doc_id", "docid")
TEXTS: Final = ("text", "contents", "content", "body")
TITLE: Final = "title"
LANGUAGES: Final = ("metadata", "lang", "language")
DOMAIN: Final = "domain"
QUERY_IDS: Final = ("_id", "id", "query_id", "qid")
QUERY_TEXTS: Final = ("text", "query", "question")
DOCUMENT_FIELDS: Final = (*IDS, *TEXTS, TITLE, *LANGUAGES)
"""All fields that a document may be read from; other columns of a table stay unread."""

_HALF_OF_A_PAIR: Final = re.compile("[\ud800-\udfff]")


def record_id(content: Content, where: str, names: Sequence[str] = IDS) -> str:
    """The id of a row as text.

    Args:
        content: The row.
        where: File and line or row, for messages.
        names: Fields that may hold it; the first that is there does.

    Raises:
        InputError: No such field, or neither printable text nor a whole number in it.
    """
    name = _first_present(content, names)
    if name is None:
        raise InputError(f"{where}: no id; expected a field {_listed(names)}{_present(content)}")
    value = content[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(f"{where}: {name} is {shown(value)}, expected printable text or a whole number")
    return value


def text_of(content: Content, where: str, names: Sequence[str] = TEXTS) -> str:
    """The text of a row; it may be empty.

    Args:
        content: The row.
        where: File and line or row, for messages.
        names: Fields that may hold it; the first that is there does.

    Raises:
        InputError: No such field, or no text in it.
    """
    name = _first_present(content, names)
    if name is None:
        raise InputError(f"{where}: no {names[0]}; expected a field {_listed(names)} with text{_present(content)}")
    return checked_text(content[name], name, where)


def checked_text(value: object, name: str, where: str) -> str:
    """The value if it is text, without halves of surrogate pairs, which no file could store.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {shown(value)}, expected text")
    return _HALF_OF_A_PAIR.sub("", value)


def titled_text(content: Content, where: str) -> str:
    """The text of a row with its title, where it has one, as the first line.

    Raises:
        InputError: See `text_of`; or a title that is no text.
    """
    title = checked_text(content[TITLE], TITLE, where) if content.get(TITLE) is not None else ""
    text = text_of(content, where)
    return f"{title}\n{text}" if title else text


def language_of(content: Content, where: str) -> str:
    """The language of a row as a lower-case tag, `und` where none is given.

    Raises:
        InputError: Something else than a language tag.
    """
    metadata = content.get("metadata")
    inner = metadata.get("lang") if isinstance(metadata, dict) else None
    given = (inner, content.get("lang"), content.get("language"))
    value = next((each for each in given if each), UNKNOWN_LANGUAGE)
    tag = language_tag(value)
    if tag is None:
        raise InputError(f"{where}: the language is {shown(value)}, expected a tag such as de or zh-cn")
    return tag


def domain_of(content: Content, where: str) -> str:
    """What a row is about, as `domain` or `metadata.domain` says; empty where neither does.

    Raises:
        InputError: Something else than a name on one line.
    """
    metadata = content.get("metadata")
    inner = metadata.get(DOMAIN) if isinstance(metadata, dict) else None
    value = content.get(DOMAIN) if inner is None else inner
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise InputError(f"{where}: the domain is {shown(value)}, expected a name such as medicine")
    return value.strip()


def language_tag(value: object) -> str | None:
    """A language tag in lower case with hyphens, or None for what is none."""
    tag = value.strip().lower().replace("_", "-") if isinstance(value, str) else ""
    return tag if LANGUAGE_TAG.fullmatch(tag) else None


def number(value: object, name: str, where: str) -> float:
    """A finite number; text that says one, as in CSV, counts.

    Raises:
        InputError: Anything else.
    """
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{where}: {name} is {shown(value)}, expected a finite number")
    return found


def content_id(text: str) -> str:
    """An id for text that came without one: 16 hex digits, the same for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shown(value: object) -> str:
    """A value as a message quotes it, on one line of at most 60 characters; what cannot be seen is escaped."""
    if isinstance(value, str) and len(value) > 200:
        value = value[:200]
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
        return clip("".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text), 60)
    except (ValueError, TypeError, RecursionError):
        return type(value).__name__


def _first_present(content: Content, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in content), None)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _present(content: Content) -> str:
    return f"; it has {clip(', '.join(map(str, content)) or 'none', 60)}"
