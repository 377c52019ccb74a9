"""Which fields of a row hold id, text, title and language, and what may stand in them."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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
_NOT_IN_IDS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Names:
    """What a user calls the fields of documents; dots lead into fields of fields. Empty: the usual names.

    Attributes:
        id: Field of the id.
        text: Field of the text; of one whose last name holds `html` the text of the page is taken.
        title: Field of the title.
        lang: Field of the language.
    """

    id: str = ""
    text: str = ""
    title: str = ""
    lang: str = ""

    @property
    def columns(self) -> set[str]:
        """Columns of a table that may hold them."""
        given = self.given.values()
        return {*given, *(name.partition(".")[0] for name in given)}

    @property
    def given(self) -> dict[str, str]:
        """Those that are given, by what they stand for."""
        return {field.name: name for field in fields(self) if (name := getattr(self, field.name))}


USUAL: Final = Names()


def renamed(content: Content, names: Names) -> Content:
    """A row with the fields of a document under their usual names.

    Args:
        content: The row.
        names: What the user calls them. A name that the row has as it stands is taken before the path that it may be.

    Returns:
        The row as it is where no name is given. Otherwise each named field, where the row has it, replaces all that
        could stand for the same.
    """
    if names == USUAL:
        return content
    row = dict(content)
    usual = ((names.id, IDS), (names.text, TEXTS), (names.title, (TITLE,)), (names.lang, LANGUAGES))
    for name, others in usual:
        if name:
            found = _at(content, name)
            for other in others:
                row.pop(other, None)
            if found is not None:
                row[others[0] if others != LANGUAGES else "lang"] = found
    return row


class Unseen:
    """Names of fields that no row has had so far: one that none has at all is misspelt."""

    def __init__(self, names: Names) -> None:
        """No row was seen yet."""
        self._left, self._seen = names.given, False

    def look(self, content: Content) -> None:
        """See a row, as it is."""
        self._seen = True
        if self._left:
            self._left = {
                k: name for k, name in self._left.items() if name not in content and _at(content, name) is None
            }

    def check(self, where: str) -> None:
        """Refuse a name that was in no row, where there was any row.

        Args:
            where: What holds the rows, for the message.

        Raises:
            InputError: There is one; all that it stands for would be missing without a word.
        """
        for kind, name in self._left.items() if self._seen else ():
            raise InputError(
                f"{where}: no row has the field {shown(name)}, which corpus.fields.{kind} names; correct it, or leave "
                "it out"
            )


def usable_id(value: str) -> bool:
    """Whether text can be an id: not blank, on one line, no tabs or control characters; any script's joiners do."""
    return bool(value.strip()) and not _NOT_IN_IDS.search(value)


def _at(content: Content, name: str) -> Any:
    """What stands in a field or at a path of fields; of a list of one thing that thing, None where there is nothing."""
    if name in content:
        found: Any = content[name]
    else:
        first, dot, rest = name.partition(".")
        inner = content.get(first)
        inner = inner[0] if isinstance(inner, list) and len(inner) == 1 else inner
        found = _at(inner, rest) if dot and isinstance(inner, Mapping) else None
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def record_id(content: Content, where: str, names: Sequence[str] = IDS) -> str:
    """The id of a row as text.

    Args:
        content: The row.
        where: File and line or row, for messages.
        names: Fields that may hold it; the first that is there does.

    Raises:
        InputError: No such field, or neither a line of text without control characters nor a whole number in it.
    """
    name = _first_present(content, names)
    if name is None:
        raise InputError(f"{where}: no id; expected a field {_listed(names)}{_present(content)}{_hint(names)}")
    value = content[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not usable_id(value):
        raise InputError(f"{where}: {name} is {shown(value)}, expected a line of text or a whole number")
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
        raise InputError(
            f"{where}: no {names[0]}; expected a field {_listed(names)} with text{_present(content)}{_hint(names)}"
        )
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
    if not isinstance(value, str) or (value and not usable_id(value)):
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


def _hint(names: Sequence[str]) -> str:
    """What to do for documents; the fields of queries have no setting."""
    return "; name its field with corpus.fields" if names in (IDS, TEXTS) else ""


def _present(content: Content) -> str:
    return f"; it has {clip(', '.join(map(str, content)) or 'none', 60)}"
