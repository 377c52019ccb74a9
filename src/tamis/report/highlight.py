"""Where a document answers a query: the stretch with most of the query's words, and these words marked."""

from collections import Counter
from collections.abc import Iterable, Set
from itertools import islice
from typing import Final, NamedTuple

from tamis.records import Document
from tamis.text import word_spans, words

DRAWN: Final = 200
"""Documents of a language whose words are counted."""

COMMON: Final = 0.25
"""A word in more than this part of them matches everything, and is not marked."""

ENOUGH: Final = 20
"""Fewer documents say nothing about which words are common."""

_BEFORE: Final = 24  # characters shown before the first match


class Fragment(NamedTuple):
    """A part of a text, and whether it matches."""

    text: str
    matched: bool


def common_words(documents: Iterable[Document]) -> dict[str, frozenset[str]]:
    """By language the words that are in more than a quarter of its first 200 documents; none of fewer than 20."""
    by_language: dict[str, list[str]] = {}
    for document in documents:
        texts = by_language.setdefault(document.language, [])
        if len(texts) < DRAWN:
            texts.append(document.text)
    found = {}
    for language, texts in by_language.items():
        counts = Counter(word for text in texts for word in {*words(text)})
        common = (word for word, count in counts.items() if count > COMMON * len(texts))
        found[language] = frozenset(common if len(texts) >= ENOUGH else ())
    return found


def matching_part(text: str, query: str, common: Set[str], n: int) -> list[Fragment]:
    """The part of a text with most different words of a query, the first of equals.

    Args:
        text: Any text; runs of white space become one space.
        query: Whose words are marked.
        common: Words that are not.
        n: Most characters of the part, without the ellipses where something was cut.

    Returns:
        Pieces that read as the part when joined.
    """
    line = " ".join(text.split())
    wanted = {*words(query)} - common
    matches = [span for span in word_spans(line) if span[2] in wanted]
    start = _start(line, matches, n)
    end = min(len(line), start + n)
    pieces = [Fragment("…", False)] if start else []
    at = start
    for first, last, _ in matches:
        if last > at and first < end:
            pieces += [
                Fragment(line[at : max(at, first)], False),
                Fragment(line[max(at, first) : min(last, end)], True),
            ]
            at = min(last, end)
    pieces.append(Fragment(line[at:end] + ("…" if end < len(line) else ""), False))
    return _joined(pieces)


def _start(line: str, matches: list[tuple[int, int, str]], n: int) -> int:
    """Where the part begins: the beginning of the line, or a little before a match, at a space if there is one."""
    best, most = 0, len({word for _, last, word in matches if last <= n})
    for number, (first, _, _) in enumerate(matches):
        start = max(0, first - _BEFORE)
        inside = islice(matches, number, None)
        count = len({word for _, last, word in inside if last <= start + n})
        if count > most:
            best, most = start, count
    space = line.find(" ", best, best + _BEFORE)
    return space + 1 if best and space >= 0 else best


def _joined(pieces: list[Fragment]) -> list[Fragment]:
    """Neighbours of one kind as one piece, empty ones left out."""
    joined: list[Fragment] = []
    for piece in pieces:
        if joined and joined[-1].matched == piece.matched:
            joined[-1] = Fragment(joined[-1].text + piece.text, piece.matched)
        elif piece.text:
            joined.append(piece)
    return joined
