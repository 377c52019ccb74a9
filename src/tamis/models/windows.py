"""Windows of long documents: parts that a model reads whole, so that nothing of a document stays unread."""

from functools import lru_cache, partial
from typing import Any, Final, Literal

from tamis.errors import InputError
from tamis.models.rows import Pair
from tamis.models.serializer import Apart, DocumentText, Joined, PairTemplate, Serializer, document_text

Long = Literal["first", "windows"]
"""What is read of a document that is longer than a model reads: its beginning, or all of it in windows."""

LONG: Final[tuple[Long, ...]] = ("first", "windows")

QUERIES: Final = 1024
"""Queries whose room is remembered."""

_SPARE: Final = 2
"""Tokens left free: a part of a text may have a token or two more than it had within the text."""

_LEAST: Final = 16
"""Tokens of a window, at least, however long query and title are."""

_BACK: Final = 0.25
"""Share of a window that is given up at most, to end it between two words."""


def check_long(name: str, given: object) -> Long:
    """What was said about long documents.

    Args:
        name: Of the argument or option, for the message.
        given: Anything.

    Raises:
        InputError: neither `first` nor `windows`.
    """
    for known in LONG:
        if given == known:
            return known
    raise InputError(f"{name} is {given!r:.100}, expected {' or '.join(LONG)}")


class Windows:
    """Pairs of a long document, one for each window of it.

    Not for several threads at once: the tokenizer has a state.
    """

    def __init__(self, serializer: Serializer, tokenizer: Any, instruction: str | None = None) -> None:
        """Take over how a model reads.

        Args:
            serializer: How texts become tokens.
            tokenizer: The checkpoint's own, a fast one.
            instruction: The caller's own; None for the serializer's.
        """
        self._title, self._tokenizer = serializer.title, tokenizer
        self._room = lru_cache(QUERIES)(partial(room_for_document, serializer, tokenizer, instruction=instruction))

    def __call__(self, query: str, document: DocumentText) -> list[Pair]:
        """A pair of plain texts for each window of a document, at least one; see `windows_of`."""
        parts = windows_of(document, self._tokenizer, self._room(query))
        return [(query, document_text(part, self._title)) for part in parts]


def room_for_document(serializer: Serializer, tokenizer: Any, query: str, instruction: str | None = None) -> int:
    """Tokens of a document that a model reads beside a query, special tokens and prefixes taken off.

    Args:
        serializer: How texts become tokens.
        tokenizer: The checkpoint's own.
        query: What is asked; the longer it is, the less room some models have.
        instruction: For models that take one; None for the serializer's own.
    """

    def count(text: str) -> int:
        return _tokens(text, tokenizer)

    if isinstance(serializer, Apart):
        room = serializer.document_tokens - count(serializer.document_prefix)
        return room - int(tokenizer.num_special_tokens_to_add(pair=False)) - _SPARE
    if isinstance(serializer, Joined):
        room = serializer.max_tokens - count(serializer.query_prefix + query) - count(serializer.document_prefix)
        return room - int(tokenizer.num_special_tokens_to_add(pair=True)) - _SPARE
    assert isinstance(serializer, PairTemplate), "there are three serializers"
    told = instruction or serializer.instruction
    around = serializer.template.format(instruction=told, query=query, document="")
    return serializer.max_tokens - sum(map(count, (serializer.prefix, around, serializer.suffix))) - _SPARE


def windows_of(document: DocumentText, tokenizer: Any, room: int) -> list[DocumentText]:
    """A document as the windows that a model reads one by one; a document that fits is its only window.

    Args:
        document: A text, or a mapping with `text` and perhaps `title`, which every window keeps.
        tokenizer: The checkpoint's own, a fast one.
        room: Tokens of a document that the model reads, see `room_for_document`.

    Returns:
        At least one; together they hold every word of the text, in order. A window ends between two words where
        one ends in its last quarter, else between two tokens, as in scripts without spaces.
    """
    title, text = ("", document) if isinstance(document, str) else (document.get("title") or "", document["text"])
    if title:
        room -= _tokens(title, tokenizer) + 1
    parts = _parts(text, tokenizer, max(room, _LEAST))
    if isinstance(document, str):
        return list(parts)
    return [{**document, "text": part} for part in parts]


def _tokens(text: str, tokenizer: Any) -> int:
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else 0


def _parts(text: str, tokenizer: Any, room: int) -> list[str]:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    if len(offsets) <= room:
        return [text]
    parts, start = [], 0
    while start < len(offsets):
        end = min(start + room, len(offsets))
        if end < len(offsets):
            end = _between_words(text, offsets, end, end - int(room * _BACK))
        parts.append(text[offsets[start][0] : offsets[end - 1][1]])
        start = end
    return [part for part in parts if part.strip()] or [text]  # tokens of white space alone say nothing


def _between_words(text: str, offsets: list[tuple[int, int]], end: int, least: int) -> int:
    """The last place, from `least` on, at which a new word begins; `end` where none does."""
    for place in range(end, least, -1):
        begins = offsets[place][0]
        if text[begins : begins + 1].isspace() or text[begins - 1 : begins].isspace():
            return place
    return end
