"""GNOME Help: the same pages in some forty languages, in one Debian package.

Each page has a title ("Connect to a wireless network") and a one-line description ("Get on the internet -
wirelessly"). Both are queries for the rest of the page.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from corpora.beir_folder import Counts, count_beir, write_beir
from corpora.manual_text import language_tag, tidy
from corpora.packages import deb_files, package_version
from corpora.parallel_manual import ManualRules, Section, judge_sections
from tamis.errors import InputError
from tamis.text import normalise
from tamis.whole_folder import whole_folder

NAME = "gnome-help"
PACKAGE = "gnome-user-docs"

_PAGE_NAME = re.compile(r"usr/share/help/([^/]+)/gnome-help/([^/]+)\.page$")
_NO_ANSWERS = frozenset({"index", "about-this-guide", "more-help", "get-involved"})  # lists of links

_MALLARD = "{http://projectmallard.org/1.0/}"
_TEXT_TAGS = frozenset(_MALLARD + tag for tag in ("p", "title", "item", "td", "th", "screen", "code", "cite"))
_GROUP_TAGS = frozenset(_MALLARD + tag for tag in ("list", "steps", "terms", "table", "note", "section"))
_LEFT_OUT_TAGS = frozenset(_MALLARD + tag for tag in ("info", "links", "media", "comment"))


def build_gnome_help(deb: Path, out: Path, pages_per_language: int = 100) -> Counts:
    """Build a judged multilingual BEIR folder from the package gnome-user-docs.

    A query is the title (ids `t/...`) or the description (ids `d/...`) of a page, its document the rest of the page.
    `qrels/test.tsv` judges pairs of one language, `qrels/cross.tsv` the same page in the other languages.

    Args:
        deb: The .deb file.
        out: Folder to make; it appears only when it is complete.
        pages_per_language: A language with fewer translated pages is left out.

    Returns:
        What the folder holds.

    Raises:
        InputError: The package is broken or another one, or `out` holds something else.
    """
    pages = _read_pages(deb)
    if not pages:
        raise InputError(
            f"{deb}: holds no usr/share/help/*/gnome-help/*.page; expected the Debian package {PACKAGE}, "
            f"which `apt-get download {PACKAGE}` fetches"
        )
    rules = ManualRules(
        query_prefixes=("t/", "d/"),
        copied_share=0.25,
        document_letters=(150, 80),
        query_letters=(6, 3),
        english_headings=False,
        documents_per_language=pages_per_language,
    )
    passages, questions = judge_sections(pages, rules)
    source = (
        f"{NAME}\n"
        f"Debian package: {package_version(deb)}\n"
        "Licence: CC BY-SA 3.0, Shaun McCance and the GNOME Documentation Project "
        f"(usr/share/doc/{PACKAGE}/copyright in the package).\n"
        "Queries are titles and descriptions of pages, documents the rest of the page. qrels/test.tsv: pairs of one "
        "language; qrels/cross.tsv: the same page in the other languages."
    )
    with whole_folder(out) as folder:
        write_beir(passages, questions, "page", source, folder)
    return count_beir(out)


def _read_pages(deb: Path) -> dict[str, dict[str, Section]]:
    """Language, page name, page; both sorted, whatever the order of the archive."""
    pages: dict[str, dict[str, Section]] = {}
    for name, content in deb_files(deb, ".page"):
        match = _PAGE_NAME.search(name)
        page = _read_page(content) if match and match[2] not in _NO_ANSWERS else None
        if match and page:
            pages.setdefault(language_tag(match[1]), {})[match[2]] = page
    return {language: dict(sorted(pages[language].items())) for language in sorted(pages)}


def _read_page(content: bytes) -> Section | None:
    """Title, description and paragraphs of a Mallard page; nothing for other or broken XML."""
    try:
        root = ET.fromstring(content)
    except ET.ParseError:
        return None
    if root.tag != _MALLARD + "page":
        return None
    title = root.find(_MALLARD + "title")
    description = root.find(f"{_MALLARD}info/{_MALLARD}desc")
    headings = tuple("" if part is None else tidy(_own_text(part)) for part in (title, description))
    # Some pages repeat a step for each way to reach it; it counts once, where it comes first.
    paragraphs: dict[str, str] = {}
    for part in root:
        for text in _paragraphs(part) if part is not title else ():
            paragraphs.setdefault(normalise(text), text)
    return Section(headings, tuple(paragraphs.values()))


def _paragraphs(element: ET.Element) -> Iterator[str]:
    if element.tag in _LEFT_OUT_TAGS:
        return
    if element.tag in _TEXT_TAGS:
        text = tidy(_own_text(element))
        if text:
            yield text
    for child in element:
        yield from _paragraphs(child)


def _own_text(element: ET.Element) -> str:
    """Text of an element without that of nested paragraphs, which are visited on their own."""
    pieces = [element.text or ""]
    for child in element:
        if child.tag not in _TEXT_TAGS | _GROUP_TAGS | _LEFT_OUT_TAGS:
            pieces.append(_own_text(child))
        pieces.append(child.tail or "")
    return "".join(pieces)
