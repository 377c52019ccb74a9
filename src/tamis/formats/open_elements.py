"""Which elements of an HTML page are open, and whether one of them hides what it holds.

Many end tags may be left out. What then ends an element is taken from the HTML standard ("optional tags" and the
construction of the tree), as far as it decides what is seen.
"""

from collections.abc import Mapping, Set
from typing import Final

_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
_END_A_PARAGRAPH: Final = frozenset(
    {
        *("address", "article", "aside", "blockquote", "center", "dd", "details", "dialog", "dir", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup"),
        *("hr", "li", "main", "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "table", "ul"),
    }
)
_TABLE_PARTS: Final = frozenset({"caption", "colgroup", "tbody", "td", "tfoot", "th", "thead", "tr"})
_SPECIAL: Final = _END_A_PARAGRAPH | _TABLE_PARTS | {"body", "button", "select", "svg"}

_APART: Final = frozenset({"foreignobject", "iframe", "noscript", "object", "template"})
"""No tag in one of these ends what is around it. The names below are of what tags do not reach beyond."""

_TABLE: Final = _APART | {"table"}
_CELL: Final = _TABLE | {"caption", "td", "th"}
_BUTTON: Final = _CELL | {"button"}
_BLOCK: Final = _CELL | _SPECIAL
_ITEM: Final = _BLOCK - {"address", "div", "p"}
_NOTHING: Final = frozenset[str]()

_CELLS: Final = frozenset({"caption", "colgroup", "td", "th"})
_ENDED_BY: Final[Mapping[str, Set[str]]] = {
    "li": {"li"},
    "dd": {"dd", "dt"},
    "dt": {"dd", "dt"},
    "option": {"option"},
    "optgroup": {"optgroup", "option"},
    **dict.fromkeys(("td", "th"), _CELLS),
    "tr": _CELLS | {"tr"},
    **dict.fromkeys(("caption", "colgroup", "tbody", "tfoot", "thead"), _TABLE_PARTS),
}
"""Elements that a start tag ends, besides a paragraph."""

_DEEPEST: Final = 512
"""Elements that are remembered, as in Chromium: a page may open any number of them and end none."""


class OpenElements:
    """The elements that are open at a place of a page."""

    def __init__(self) -> None:
        self._names: list[str] = []  # the innermost last
        self._hidden = 0  # place of the outermost one that hides what it holds, from 1; 0 for none

    @property
    def hidden(self) -> bool:
        """Whether what stands at this place is hidden."""
        return self._hidden > 0

    def start(self, tag: str, hides: bool) -> None:
        """Take a start tag, which may end what came before it.

        Args:
            tag: Its name.
            hides: Whether its element hides what it holds.
        """
        while self._end(_ENDED_BY.get(tag, _NOTHING), _TABLE if tag in _TABLE_PARTS else _ITEM):
            pass
        if tag in _END_A_PARAGRAPH:
            self._end({"p"}, _BUTTON)
        if tag in _VOID or (tag in _TABLE_PARTS and "table" not in self._names):
            return
        self._names.append(tag)
        if hides and not self._hidden:
            self._hidden = len(self._names)
        if len(self._names) > _DEEPEST:
            del self._names[0]
            self._hidden = max(0, self._hidden - 1)

    def end(self, tag: str) -> bool:
        """Take an end tag, which ends what is open within its element, too.

        Returns:
            Whether it is seen: it is not hidden, nor the end of what hides.
        """
        hidden = self._hidden
        self._end({tag}, _reach(tag))
        return not self._hidden and hidden != len(self._names) + 1

    def _end(self, names: Set[str], beyond: Set[str]) -> bool:
        """End the innermost element of these names and what is in it, unless one that tags do not reach beyond is."""
        if names.isdisjoint(self._names):
            return False
        for place in reversed(range(len(self._names))):
            if self._names[place] in names:
                del self._names[place:]
                self._hidden = self._hidden if self._hidden <= place else 0
                return True
            if self._names[place] in beyond:
                return False
        return False


def _reach(tag: str) -> Set[str]:
    """What an end tag does not reach beyond."""
    if tag in _APART:
        return _NOTHING
    if tag in _TABLE_PARTS or tag == "table":
        return _TABLE
    if tag == "li":
        return _CELL | {"ol", "ul"}
    return _CELL if tag in _SPECIAL else _BLOCK
