"""PDF by pypdfium2: pages of text, with the bookmarks as headings."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tamis.formats.file_text import FileText, LeftOut
from tamis.text import letters, normalise, one_line

_HYPHEN: Final = re.compile("[\x02\ufffe]\r?\n?")
_PROGRAMS_TITLE: Final = re.compile(
    r"microsoft \w+ - |untitled|.*\.(docx?|odt|tex|dvi|indd|qxd|html?|pdf)$", re.IGNORECASE
)
_NUMBERED: Final = 12
"""Most characters that a line has beside the bookmark's words and is still that heading: `12.3.4.`, a page number."""


def read_pdf(raw: bytes) -> FileText:
    """Text, title and headings of a PDF, page by page.

    Raises:
        LeftOut: It is encrypted, damaged, or has pages but no text.
    """
    import pypdfium2

    try:
        file = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as error:
        wanted = "password" in str(error).lower()
        reason = "encrypted: save it without its password" if wanted else "damaged or no PDF"
        raise LeftOut(reason, error) from error
    try:
        headings = _bookmarks(file)
        text = "\n".join(_page(file, number, headings.get(number, ())) for number in range(len(file)))
        title = one_line(file.get_metadata_value("Title"))
    finally:
        file.close()
    if not letters(text):
        raise LeftOut("no text in it, scans only: have text recognised in them")
    return FileText(text, "" if _PROGRAMS_TITLE.match(title) else title)


def _page(file: Any, number: int, headings: Sequence[tuple[int, str]]) -> str:
    page = file[number]
    try:
        text = page.get_textpage()
        try:
            said = _HYPHEN.sub("", text.get_text_bounded()).replace("\r\n", "\n")
        finally:
            text.close()
    finally:
        page.close()
    return "\n".join(_marked(said.split("\n"), headings)) if headings else said


def _marked(lines: Sequence[str], headings: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Lines of a page, those that a bookmark leads to as headings; each bookmark marks one."""
    waiting = [(level, normalise(title), len(title)) for level, title in headings]
    for line in lines:
        said = normalise(line) if waiting and line.strip() else ""
        found = next((h for h in waiting if said and said.endswith(h[1]) and len(line) <= h[2] + _NUMBERED), None)
        if found:
            waiting.remove(found)
            yield f"{'#' * found[0]} {line.strip()}"
        else:
            yield line


def _bookmarks(file: Any) -> Mapping[int, list[tuple[int, str]]]:
    """Level from 1 to 6 and title of the bookmarks that lead to each page, in their order."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for mark in file.get_toc(max_depth=6):
        target, title = mark.get_dest(), one_line(mark.get_title())
        page = target.get_index() if target else None
        if page is not None and normalise(title):
            found[page].append((min(mark.level + 1, 6), title))
    return found
