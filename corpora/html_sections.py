"""Cut an HTML page that DocBook made at its section headings."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from corpora.manual_text import tidy

_VOID_TAGS = frozenset({"br", "hr", "img", "meta", "link", "input", "col"})
_HEADING_TAGS = frozenset({"h1", "h2", "h3", "h4", "h5"})
_BLOCK_TAGS = frozenset({"p", "li", "pre", "dt", "dd", "tr", "div", "table", "ul", "ol"})
_HIDDEN_TAGS = frozenset({"script", "style", "title"})
_HIDDEN_CLASSES = frozenset({"navheader", "navfooter", "toc"})


@dataclass(slots=True)
class HtmlSection:
    """One section of a page, down to the next heading of any level.

    Attributes:
        level: 1 for `h1` to 5 for `h5`.
        anchor: Id of the heading, the same in every language; empty where there is none.
        heading: Text of the heading with its number.
        paragraphs: Text of each paragraph, list item, table row or listing, without headings and cross-references.
    """

    level: int
    anchor: str = ""
    heading: str = ""
    paragraphs: list[str] = field(default_factory=list)


def cut_sections(page: str) -> list[HtmlSection]:
    """Cut a page at each heading of class `title`.

    Navigation, tables of contents and the texts of cross-references are left out: they quote headings of other
    sections, which would give those sections' queries away.

    Args:
        page: HTML or XHTML as the DocBook stylesheets write it.

    Returns:
        The sections in page order; text before the first heading belongs to none.
    """
    cutter = _Cutter()
    cutter.feed(page)
    cutter.close()
    cutter.end_paragraph()
    return cutter.sections


class _Cutter(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[HtmlSection] = []
        self._open: list[tuple[str, bool]] = []  # tag, whether it hides what it holds
        self._heading: HtmlSection | None = None  # the section whose heading is being read
        self._pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID_TAGS:
            if tag == "br":
                self._pieces.append(" ")
            return
        attributes = dict(attrs)
        css_class = attributes.get("class") or ""
        if tag in _HEADING_TAGS and css_class == "title":
            self.end_paragraph()
            self._heading = HtmlSection(level=int(tag[1]))
        elif tag in _BLOCK_TAGS:
            self.end_paragraph()
        if self._heading and tag == "a" and not self._heading.anchor:
            self._heading.anchor = attributes.get("id") or ""
        self._open.append((tag, _hides(tag, css_class)))

    def handle_endtag(self, tag: str) -> None:
        if not any(open_tag == tag for open_tag, _ in self._open):
            return
        while self._open.pop()[0] != tag:  # tags that were never closed
            pass
        if tag in _HEADING_TAGS and self._heading:
            self._heading.heading = self._take_text()
            self.sections.append(self._heading)
            self._heading = None
        elif tag in _BLOCK_TAGS:
            self.end_paragraph()

    def handle_data(self, data: str) -> None:
        if not any(hidden for _, hidden in self._open):
            self._pieces.append(data)

    def end_paragraph(self) -> None:
        """Close the paragraph that is being read and give it to the section it stands in."""
        if self._heading:
            return
        text = self._take_text()
        if text and self.sections:
            self.sections[-1].paragraphs.append(text)

    def _take_text(self) -> str:
        text = tidy("".join(self._pieces))
        self._pieces.clear()
        return text


def _hides(tag: str, css_class: str) -> bool:
    return tag in _HIDDEN_TAGS or css_class in _HIDDEN_CLASSES or (tag == "a" and css_class == "xref")
