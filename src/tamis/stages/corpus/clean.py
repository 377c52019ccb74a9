"""Corpus: from documents as they were read to clean ones with a language.

clean ─ with_languages
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from tamis.errors import InputError, SettingsError
from tamis.languages import LANGUAGE_TAG, UNKNOWN_LANGUAGE, language_identifier
from tamis.records import Document, Dropped
from tamis.text import CONTROL, clip, letters, normalise

_LINE_BREAK: Final = re.compile("\r\n?|[\x0b\x0c\x85]")
_MAX_UNREADABLE: Final = 0.1
_CLIPPED: Final = 200


def clean(documents: Iterable[Document | Dropped], max_chars: int) -> Iterator[Document | Dropped]:
    """Remove control characters and leave out what cannot be searched.

    Args:
        documents: Documents of all origins, as read; what was left out before passes unchanged.
        max_chars: Longest text to keep, in characters.

    Yields:
        For each document, in order, its clean form or why it was left out: `binary` (more than 10 % control or
        replacement characters), `no letters`, `too long`, or `duplicate text` (the words of an earlier document of the
        same origin and language, in the same order, which is named).

    Raises:
        InputError: Two documents have the same id.
    """
    origins: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    for document in documents:
        if isinstance(document, Dropped):
            yield document
            continue
        if document.doc_id in origins:
            raise InputError(
                f"document id {document.doc_id!r} comes twice, in {origins[document.doc_id]} and {document.origin} "
                "documents; ids must be unique in a run, rename one"
            )
        origins[document.doc_id] = document.origin
        text = CONTROL.sub("", _LINE_BREAK.sub("\n", document.text)).strip()
        reason, same = _unusable(document.text, text, max_chars), ""
        if reason is None:
            digest = _digest(document.origin, document.language, normalise(text))
            same = seen.setdefault(digest, document.doc_id)
            reason = None if same == document.doc_id else "duplicate text"
        if reason is None:
            yield replace(document, text=text)
        else:
            yield Dropped(document.doc_id, reason, document.language, clip(text, _CLIPPED), same)


def with_languages(documents: Iterable[Document], identify: Callable[[str], str]) -> Iterator[Document]:
    """Give a language to the documents that have none.

    Args:
        documents: Documents; those with a language other than `und` pass unchanged.
        identify: Text -> language tag.

    Yields:
        The documents in order.
    """
    for document in documents:
        yield replace(document, language=identify(document.text)) if document.language == UNKNOWN_LANGUAGE else document


def identify_languages(documents: Iterable[Document], languages: Sequence[str] | None) -> Iterator[Document]:
    """Give a language to the documents that have none, with py3langid.

    Args:
        documents: Documents; those with a language other than `und` pass unchanged.
        languages: The languages of the corpus where they are known, see `language_identifier`.

    Returns:
        The documents in order.

    Raises:
        SettingsError: One of `languages` is no language tag.
    """
    for tag in languages or ():
        if not LANGUAGE_TAG.fullmatch(tag):
            raise SettingsError(f"languages: got {tag!r}, expected a lower-case language tag such as de or zh-cn")
    return with_languages(documents, language_identifier(languages))


def _unusable(raw: str, text: str, max_chars: int) -> str | None:
    """The reason to leave a text out, judged by its raw form (binary) and its clean form (the others)."""
    unreadable = len(CONTROL.findall(_LINE_BREAK.sub("\n", raw))) + raw.count("\ufffd")
    if unreadable > _MAX_UNREADABLE * len(raw):
        return "binary"
    if len(text) > max_chars:
        return "too long"
    if letters(text) == 0:
        return "no letters"
    return None


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
