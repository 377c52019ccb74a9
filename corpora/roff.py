"""Sections of a manual page as plain text, from the macros of man and mdoc. Layout and what only printers show go."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from corpora.manual_text import tidy
from corpora.mdoc import MDOC_MACROS, mdoc_text
from corpora.roff_escapes import arguments, plain

_CODING = re.compile(rb"coding: *([A-Za-z0-9_.-]+)")
_CODING_CHARACTERS = 200  # the coding stands in the first line
_REDIRECT = re.compile(r"\s*(?:[.'\\].*\n)*?\.so ")
_REDIRECT_CHARACTERS = 600  # a longer page includes another one, but has text of its own

_CONTROL = re.compile(r"[.']\s*([A-Za-z][^\s\\]*)?\s*(.*)")
_TABLE_FORMAT_END = re.compile(r'\.\s*(?:\\["#].*)?$')
_TABLE_RULES = frozenset({"_", "="})

_HIDDEN_UNTIL = {"de": "..", "de1": "..", "am": "..", "ig": "..", "EQ": ".EN"}
_CONDITIONS = frozenset({"if", "ie", "el", "while"})
_SECTIONS = frozenset({"SH", "Sh"})
_HEADINGS = _SECTIONS | {"SS", "Ss"}
_PARAGRAPHS = frozenset({
    "PP", "P", "LP", "Pp", "Lp", "sp", "br", "TP", "TQ", "HP", "IP", "RS", "RE", "nf", "fi", "EX", "EE", "SY", "YS",
    "OP", "It", "Bl", "El", "Bd", "Ed", "D1", "Dl", "Fd", "In", "Fn", "Ft",
})  # fmt: skip
_PARAGRAPHS_IN_SYNOPSIS = frozenset({"Fn", "Ft"})  # elsewhere they stand inside a sentence
_MDOC_TEXT = MDOC_MACROS - {"Dd", "Dt", "Os", "Sm", "Bk", "Ek", "Bl", "Bd"}  # the arguments of these are settings
_TEXT_OF: Mapping[str, Callable[[Sequence[str]], str]] = {
    **dict.fromkeys(("BR", "RB", "BI", "IB", "IR", "RI"), "".join),
    **dict.fromkeys(("B", "I", "SM", "SB", "R", "CW", "UE", "ME", "SY"), " ".join),
    "IP": lambda words: "".join(words[:1]),
    "OP": lambda words: f"[{' '.join(words)}]",
    "MR": lambda words: f"{words[0]}({words[1]}){''.join(words[2:])}" if len(words) > 1 else "".join(words),
    "In": lambda words: f"#include <{' '.join(words)}>",
    "Fn": lambda words: f"{words[0]}({', '.join(words[1:])})" if words else "",
}


@dataclass(slots=True)
class RoffSection:
    """One section of a page.

    Attributes:
        heading: Its heading, as the page writes it.
        paragraphs: Headings of its subsections, paragraphs, list items and table rows, each without line ends.
    """

    heading: str
    paragraphs: list[str] = field(default_factory=list)


def read_roff(content: bytes, name: str) -> list[RoffSection]:
    """Read the sections of a manual page.

    Args:
        content: The page, unpacked; UTF-8 unless its first line names another coding.
        name: Name of the page, which mdoc pages leave out of their sentences.

    Returns:
        The sections in the order of the page; none for a page that only points to another one (`.so man1/gzip.1`).
    """
    source = _decode(content)
    if len(source) < _REDIRECT_CHARACTERS and _REDIRECT.match(source):
        return []
    return _Reader(source, name).read()


def _decode(content: bytes) -> str:
    named = _CODING.search(content[:_CODING_CHARACTERS])
    for encoding in (named[1].decode() if named else "utf-8", "utf-8"):
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("latin-1")


def _shown_lines(source: str) -> Iterator[str]:
    """Lines of a page without definitions, equations, comments and what is not for a terminal."""
    lines = _whole_lines(source)
    for line in lines:
        request, rest = _control(line)
        if request in _HIDDEN_UNTIL:
            _skip_to(_HIDDEN_UNTIL[request], lines)
        elif request in _CONDITIONS:
            depth = _depth(line)
            if not (request == "if" and rest.startswith("n ")):  # `.if n` is for terminals: its block is shown
                _skip_block(depth, lines)
        elif request or line[:1] not in (".", "'"):
            yield line


def _whole_lines(source: str) -> Iterator[str]:
    lines = iter(source.split("\n"))
    for line in lines:
        while line.endswith("\\") and not line.endswith("\\\\") and (following := next(lines, None)) is not None:
            line = line[:-1] + following
        yield line


def _skip_to(end: str, lines: Iterator[str]) -> None:
    for line in lines:
        if line.startswith(end):
            return


def _skip_block(depth: int, lines: Iterator[str]) -> None:
    while depth > 0 and (line := next(lines, None)) is not None:
        depth += _depth(line)


def _depth(line: str) -> int:
    return line.count("\\{") - line.count("\\}")


def _control(line: str) -> tuple[str, str]:
    """Request or macro of a control line and what follows it; two empty texts for any other line."""
    match = _CONTROL.match(line)
    return (match[1] or "", match[2]) if match else ("", "")


class _Table(Enum):
    """Where in a table the reader is."""

    OUTSIDE = auto()
    FORMAT = auto()  # the lines before the rows say how the columns look; the last one ends with a full stop
    ROWS = auto()


_TABLE_AFTER = {"TS": _Table.FORMAT, "T&": _Table.FORMAT, "TE": _Table.OUTSIDE}


class _Reader:
    def __init__(self, source: str, name: str) -> None:
        self._lines = _shown_lines(source)
        self._name = name
        self._sections = [RoffSection("")]  # what stands before the first heading
        self._pieces: list[str] = []
        self._table = _Table.OUTSIDE

    def read(self) -> list[RoffSection]:
        for line in self._lines:
            request, rest = _control(line)
            if self._table is _Table.FORMAT:
                self._table = _Table.ROWS if _TABLE_FORMAT_END.search(line) else _Table.FORMAT
            elif request in _TABLE_AFTER:
                self._end_paragraph()
                self._table = _TABLE_AFTER[request]
            elif request in _HEADINGS:
                self._read_heading(request, rest)
            elif request:
                self._read_macro(request, arguments(rest))
            else:
                self._read_text(line)
        self._end_paragraph()
        return [section for section in self._sections[1:] if section.heading or section.paragraphs]

    def _read_heading(self, request: str, rest: str) -> None:
        self._end_paragraph()
        heading = tidy(plain(" ".join(arguments(rest or next(self._lines, "")))))
        if request in _SECTIONS:
            self._sections.append(RoffSection(heading))
        elif heading:
            self._sections[-1].paragraphs.append(heading)

    def _read_macro(self, macro: str, words: Sequence[str]) -> None:
        in_sentence = macro in _PARAGRAPHS_IN_SYNOPSIS and "SYN" not in self._sections[-1].heading.upper()
        if macro in _PARAGRAPHS and not in_sentence:
            self._end_paragraph()
        if macro in _TEXT_OF:
            self._pieces.append(plain(_TEXT_OF[macro](words)))
        elif macro in _MDOC_TEXT:
            self._pieces.append(plain(mdoc_text([macro, *words], self._name)))

    def _read_text(self, line: str) -> None:
        if self._table is _Table.ROWS:
            if line.strip() in _TABLE_RULES:
                return
            self._end_paragraph()
            line = re.sub(r"T[{}]|\t", " ", line)
        if line.strip():
            self._pieces.append(plain(line))
        else:
            self._end_paragraph()

    def _end_paragraph(self) -> None:
        text = tidy(" ".join(self._pieces))
        self._pieces.clear()
        if text:
            self._sections[-1].paragraphs.append(text)
