"""Passages: long documents cut at headings, paragraphs and sentences into parts that a student reads whole."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from tamis.errors import SettingsError
from tamis.formats.file_text import titled
from tamis.formulas.ranking import tie_key
from tamis.models.read_part import Reading, ReadPart, tokenizer_identity
from tamis.records import Document, Dropped, Facts
from tamis.stages.corpus.settings import PassageSettings
from tamis.text import clip, normalise, one_line

VERSION: Final = 1
"""Raised when documents are cut otherwise than before."""

SAMPLE: Final = 1000
"""Documents of a table, at most, whose median length says whether it is cut."""

_LEAST: Final = 8  # tokens of text that a passage must have room for
_HEADERS: Final = 3  # title and headings take at most one of so many parts of a passage
_CLIPPED: Final = 200
_HEADING: Final = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE: Final = re.compile(r"[ \t]*(```|~~~)")


class Heading(NamedTuple):
    """A heading in a text.

    Attributes:
        start: Its first character.
        level: From 1, the highest, to 6.
        words: What it says, on one line.
    """

    start: int
    level: int
    words: str


def headings_of(text: str) -> Iterator[Heading]:
    """The headings of a text, lines that begin with `#` outside of listings, in order."""
    start, fence = 0, ""
    for line in text.split("\n"):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and (found := _HEADING.match(line)):
            yield Heading(start, len(found[1]), one_line(found[2]))
        start += len(line) + 1


class Cutter:
    """Cuts documents into passages of a student's own tokens.

    Attributes:
        tokens: Most tokens of a passage: its title, its headings, what the student puts before it, and special tokens
            are counted too.
    """

    def __init__(self, reading: Reading, settings: PassageSettings) -> None:
        """Load the student's tokenizer.

        Raises:
            ModelError: There is none.
            SettingsError: The passages would be too short for a sentence.
        """
        self._read, self._settings = ReadPart(reading), settings
        self.tokens = min(settings.tokens, reading.tokens)
        self._room = self.tokens - self._read.count("")
        if self._room < _LEAST:
            raise SettingsError(
                f"corpus.passages: {self.tokens} tokens leave room for {self._room} tokens of text, expected at least "
                f"{_LEAST}; raise corpus.passages.tokens and student.document_tokens, or set corpus.passages: off"
            )

    def mostly_long(self, documents: Sequence[Document]) -> bool:
        """Whether the median document is longer than the student reads; of many, a thousand by a hash of their ids."""
        some = sorted(documents, key=lambda document: tie_key("passages", document.doc_id))[:SAMPLE]
        longer = sum(self._read.is_longer(document.text, self._read.tokens) for document in some)
        return 2 * longer > len(some)

    def cut(self, document: Document) -> Iterator[Document | Dropped]:
        """Cut a document.

        Args:
            document: A clean one.

        Yields:
            The document itself where it fits. Else its passages in order, with the ids `DOC#1`, `DOC#2` and so on: each
            the title, if the document's text begins with it, the headings that it stands below, outer ones first, and
            its part of the text. Title and headings together take at most a third of a passage: outer headings, then
            the title are left out for that. A part without letters and digits is left out as `no letters`.
        """
        if not self._read.is_longer(document.text, self.tokens):
            yield document
            return
        for number, passage in enumerate(self._passages(document), 1):
            passage = replace(passage, doc_id=f"{document.doc_id}#{number}")
            part = document.text[passage.start : passage.end]
            if normalise(part):
                yield passage
            else:
                yield Dropped(passage.doc_id, "no letters", document.language, clip(part, _CLIPPED))

    def _passages(self, document: Document) -> list[Document]:
        """Passages, each short enough: parts are cut shorter where a header and a part count more than both alone."""
        headings = [] if self._settings.by == "sentences" else list(headings_of(document.text))
        title = document.title if titled(document.text, document.title) == document.text else ""
        paths = [_path(headings, heading.start + 1, "") for heading in headings]
        headers = [self._header(title, path) for path in [(), *paths]]
        room = self._room - max(map(self._length, headers)) - 1  # for the line break
        while True:
            found = [self._passage(document, title, headings, *part) for part in self._parts(document, room, headings)]
            excess = max(self._read.count(passage.text) for passage in found) - self.tokens
            if excess <= 0 or room == 1:
                return found
            room = max(1, room - excess)

    def _parts(self, document: Document, room: int, headings: Sequence[Heading]) -> list[tuple[int, str]]:
        """Parts of a text with their first characters; a word is cut only if it is longer than a part alone."""
        by = self._settings.by
        splitter = MarkdownSplitter if by == "headings" or (by == "auto" and headings) else TextSplitter
        overlap = min(self._settings.overlap, room // 2)
        return splitter.from_callback(self._size(room), room, overlap).chunk_indices(document.text)

    def _size(self, room: int) -> Callable[[str], int]:
        """Counts tokens, of a text that is far too long only those of its beginning: any number too high will do."""
        far = 16 * room

        def size(text: str) -> int:
            start = self._length(text[:far])
            return start if start > room or len(text) <= far else self._length(text)

        return size

    def _length(self, text: str) -> int:
        return self._read.count(text) - (self.tokens - self._room)

    def _passage(self, document: Document, title: str, headings: Sequence[Heading], start: int, part: str) -> Document:
        path = _path(headings, start, part)
        header = self._header(title, path)
        said = not header or (header == title and titled(part, title) == part)
        text = part if said else f"{header}\n{part}"
        return replace(document, text=text, document=document.doc_id, start=start, end=start + len(part), headings=path)

    def _header(self, title: str, path: Sequence[str]) -> str:
        """Title and headings, as much of them as may stand before a part of the text."""
        path = [words for words in path if words != title]
        inner = [path[skipped:] for skipped in range(len(path) + 1)]
        lines = [[title, " > ".join(some)] for some in inner] + [[" > ".join(some)] for some in inner]
        texts = ("\n".join(filter(None, some)) for some in lines)
        return next(text for text in texts if self._length(text) <= self._room // _HEADERS)


def _path(headings: Sequence[Heading], start: int, part: str) -> tuple[str, ...]:
    """The headings that a part of a text stands below, outer ones first; not the one that it begins with."""
    path: list[Heading] = []
    own = _HEADING.match(part.partition("\n")[0])
    for heading in headings:
        if heading.start >= start:
            break
        path = [*(outer for outer in path if outer.level < heading.level), heading]
    return tuple(heading.words for heading in path if not own or heading.level < len(own[1]))


def in_passages(documents: Iterable[Document], cutter: Cutter) -> Iterator[Document | Dropped]:
    """Documents in their order, long ones of the target cut into passages; see `Cutter.cut`."""
    for document in documents:
        if document.origin == "target":
            yield from cutter.cut(document)
        else:
            yield document


def passage_facts(documents: Sequence[Document]) -> Facts:
    """How many passages there are, and of how many documents, for a manifest; nothing where no document was cut."""
    of = [document.document or document.doc_id for document in documents if document.origin == "target"]
    cut = {document.document for document in documents if document.document}
    return {"passages": {"kept": len(of), "documents": len({*of}), "cut": len(cut)}} if cut else {}


def cut_facts(reading: Reading, settings: PassageSettings) -> Facts:
    """All that decides how a document is cut, for a key."""
    tokens = min(settings.tokens, reading.tokens)
    facts = settings.model_dump(mode="json") | {"tokens": tokens, "reads": reading.tokens, "prefix": reading.prefix}
    return facts | {"tokenizer": tokenizer_identity(reading.start), "version": VERSION}
