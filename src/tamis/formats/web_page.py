"""The text that a reader of an HTML page sees, without what surrounds it."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

from tamis.formats.encodings import decode_page
from tamis.formats.fields import language_tag
from tamis.formats.file_text import FileText
from tamis.formats.open_elements import OpenElements
from tamis.languages import UNKNOWN_LANGUAGE

_HIDDEN: Final = frozenset({"script", "style", "template", "noscript", "svg", "nav", "iframe", "object"})
_BLOCKS: Final = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "dialog", "div", "dl"),
        *("dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"),
        *("hr", "li", "main", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th"),
        *("thead", "tr", "ul"),
    }
)
_SPACE: Final = re.compile(r"\s+")
_HEADING: Final = re.compile("h[1-6]")
_FENCE: Final = "```"
_PERMANENT_LINKS: Final = "¶\uf0c1 "
"""What generators of documentation put behind a heading, to link to it."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """What a page says.

    Attributes:
        title: Its title on one line, empty where it has none.
        text: Its visible text, a line for each block. A heading begins with one `#` for each level, listings keep their
            lines and stand between lines of three backticks: as in Markdown, so that headings can be told.
        language: Lower-case tag of its `lang`, `und` where it gives none.
        heading: Its first heading of the first level, else its first heading; empty where it has none.
    """

    title: str
    text: str
    language: str
    heading: str = ""


def read_html(raw: bytes) -> FileText:
    """A file of one page; its first heading is its title, else what it calls itself."""
    page = read_page(decode_page(raw))
    return FileText(page.text, page.heading or page.title, page.language)


def read_page(page: str) -> WebPage:
    """Take the text out of an HTML page; scripts, styles and navigation are left out.

    Args:
        page: Any text; tags that are never closed or closed twice are taken as browsers do.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    reader.end_line()
    reader.end_listing()
    heading = reader.headings.get(1) or next(iter(reader.headings.values()), "")
    return WebPage(_one_line("".join(reader.title)), "\n".join(reader.lines), reader.language, heading)


def _one_line(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.lines: list[str] = []
        self.language = UNKNOWN_LANGUAGE
        self._in_title = False
        self.headings: dict[int, str] = {}  # the first of each level, in their order
        self._level = 0  # of the heading that is open, 0 for none
        self._listings = 0  # `pre` elements that are open
        self._listing_from: int | None = None  # lines that were there when the outermost of them had begun
        self._open = OpenElements()
        self._pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "html":
            self.language = language_tag(attributes.get("lang") or "") or self.language
        self._open.start(tag, _hides(tag, attributes))
        if self._open.hidden:
            return
        if tag in _BLOCKS:
            self.end_line()
        self._in_title = self._in_title or (tag == "title" and not self.title)
        self._level = int(tag[1]) if _HEADING.fullmatch(tag) else 0 if tag in _BLOCKS else self._level
        if tag == "pre":
            self._begin_listing()

    def handle_endtag(self, tag: str) -> None:
        if not self._open.end(tag):
            return
        if tag in _BLOCKS:
            self.end_line()
            self._level = 0
        if tag == "title":
            self._in_title = False
        if tag == "pre" and self._listings:
            self._listings -= 1
            if not self._listings:
                self.end_listing()

    def handle_data(self, data: str) -> None:
        if self._open.hidden:
            return
        if self._in_title:
            self.title.append(data)
        elif self._listings:
            *whole, last = data.split("\n")
            for line in whole:
                self._pieces.append(line)
                self.end_line()
            self._pieces.append(last)
        else:
            self._pieces.append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Pass over `<![...]>` whatever it says; the standard library asserts that it knows the word."""
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1

    def end_line(self) -> None:
        """Close the line that is being read."""
        line = "".join(self._pieces)
        self._pieces.clear()
        line = line.rstrip() if self._listings else _one_line(line)
        if not line.strip():
            return
        if self._level and not self._listings:
            line = line.rstrip(_PERMANENT_LINKS)
            self.headings.setdefault(self._level, line)
            line = f"{'#' * self._level} {line}"
        self.lines.append(line)

    def _begin_listing(self) -> None:
        if not self._listings:
            self.lines.append(_FENCE)
            self._listing_from = len(self.lines)
        self._listings += 1

    def end_listing(self) -> None:
        """Close the listing that is being read, where one is."""
        if self._listing_from is not None:
            empty = self._listing_from == len(self.lines)
            if empty:
                self.lines.pop()
            else:
                self.lines.append(_FENCE)
        self._listings, self._listing_from = 0, None


def _hides(tag: str, attributes: dict[str, str | None]) -> bool:
    return (
        tag in _HIDDEN
        or attributes.get("role") == "navigation"
        or attributes.get("aria-hidden") == "true"
        or "hidden" in attributes
    )
