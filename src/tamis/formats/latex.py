"""LaTeX sources by pylatexenc."""

import re
from functools import cache
from typing import Any, Final

from tamis.formats.encodings import decode
from tamis.formats.file_text import FileText
from tamis.formats.markup import first_heading, lines_of
from tamis.text import one_line

_BODY: Final = re.compile(r"\\begin\s*\{document\}(.*?)(?:\\end\s*\{document\}|\Z)", re.DOTALL)
_TITLE: Final = re.compile(r"\\title\s*(?:\[[^\]]*\])?\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_SECTIONS: Final = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")


def read_latex(raw: bytes) -> FileText:
    """The text of a LaTeX source without its preamble; sections become headings, formulas stay as they are."""
    source = lines_of(decode(raw))
    body = _BODY.search(source)
    text = _plain(body[1] if body else source)
    title = _TITLE.search(source)
    return FileText(text, one_line(_plain(title[1])) if title else first_heading(text))


def _plain(source: str) -> str:
    text: str = _converter().latex_to_text(source, tolerant_parsing=True)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


@cache
def _converter() -> Any:
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db

    known = get_default_latex_context_db()
    headings = [
        MacroTextSpec(name, simplify_repl=f"\n\n{'#' * level} %(3)s\n") for level, name in enumerate(_SECTIONS, 1)
    ]
    silent = [MacroTextSpec("maketitle", discard=True), MacroTextSpec("label", discard=True)]
    known.add_context_category("tamis", prepend=True, macros=[*headings, *silent])
    return LatexNodes2Text(known, math_mode="verbatim", strict_latex_spaces=False, keep_comments=False)
