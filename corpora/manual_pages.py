"""Debian's manual pages in English and 25 translations: the same page under the same name in every language.

A page opens with its name and a summary ("ls - list directory contents"). The summary is a query for the rest.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpora.beir_folder import Counts, count_beir, write_beir
from corpora.packages import deb_files, package_version
from corpora.parallel_manual import ManualRules, Section, judge_sections
from corpora.roff import RoffSection, read_roff
from tamis.errors import InputError
from tamis.text import normalise
from tamis.whole_folder import whole_folder

NAME = "manpages"
_ENGLISH_PACKAGES = (
    "manpages", "manpages-dev", "adduser", "apt", "apt-utils", "bsdextrautils", "bsdutils", "bzip2", "coreutils",
    "cpio", "cron", "debianutils", "diffutils", "dpkg", "dpkg-dev", "e2fsprogs", "fdisk", "file", "findutils",
    "gawk", "grep", "groff-base", "gzip", "hostname", "iproute2", "iputils-ping", "kmod", "less", "login", "lvm2",
    "man-db", "mount", "net-tools", "parted", "passwd", "procps", "psmisc", "rsync", "sed", "systemd", "tar",
    "time", "udev", "unzip", "util-linux", "wget", "xz-utils", "zip",
)  # fmt: skip
# The folders of the languages below usr/share/man. Korean has no package of its own; some programs bring their page.
_TRANSLATIONS: Mapping[str, Sequence[str]] = {
    "cs": ("manpages-cs", "manpages-cs-dev"),
    "da": ("manpages-da", "manpages-da-dev"),
    "de": ("manpages-de", "manpages-de-dev"),
    "el": ("manpages-el",),
    "es": ("manpages-es", "manpages-es-dev"),
    "fi": ("manpages-fi",),
    "fr": ("manpages-fr", "manpages-fr-dev"),
    "hu": ("manpages-hu",),
    "id": ("manpages-id",),
    "it": ("manpages-it", "manpages-it-dev"),
    "ja": ("manpages-ja", "manpages-ja-dev"),
    "ko": (),
    "mk": ("manpages-mk",),
    "nb": ("manpages-nb",),
    "nl": ("manpages-nl", "manpages-nl-dev"),
    "pl": ("manpages-pl", "manpages-pl-dev"),
    "pt_BR": ("manpages-pt-br", "manpages-pt-br-dev"),
    "ro": ("manpages-ro",),
    "ru": ("manpages-ru", "manpages-ru-dev"),
    "sr": ("manpages-sr",),
    "sv": ("manpages-sv",),
    "tr": ("manpages-tr",),
    "uk": ("manpages-uk", "manpages-uk-dev"),
    "vi": ("manpages-vi",),
    "zh_CN": ("manpages-zh",),
}
PACKAGES = (*_ENGLISH_PACKAGES, *(name for names in _TRANSLATIONS.values() for name in names))

_RULES = ManualRules(
    query_prefixes=("q/",),
    copied_share=1.0,  # commands and programs, the same everywhere, may be most of a page
    document_letters=(150, 150),
    query_letters=(10, 4),
    english_headings=False,
    documents_per_language=0,
    own_script_share=0.08,
)
_SUMMARY_CHARACTERS = 300
_NAMES_CHARACTERS = 200  # of all names before the summary; where they are longer, the dash was another one
_PAGES_PER_SUMMARY = 5  # "a system call that does not exist" is a query for none of its pages

_PAGE_NAME = re.compile(r"usr/share/man/(?:([^/]+)/)?man[1-9][^/]*/([^/]+)\.([1-9][^./]*)\.gz$")
_NO_ANSWERS = re.compile(
    r"(SEE ALSO|AUTHORS?|BUGS?|REPORTING BUGS|COPYRIGHT|COLOPHON|HISTORY|STANDARDS|CONFORMING TO|TRANSLATION"
    r"|AVAILABILITY|COMMENTS)\b",
    re.IGNORECASE,
)
_DASH_BETWEEN_SPACES = re.compile(r"\s+[-–—−‐]+\s+")
_ANY_DASH = re.compile(r"\s[-–—−‐]+|[-–—−‐]{2,}\s?")
_Page = list[RoffSection]


def build_manual_pages(debs: Sequence[Path], out: Path) -> Counts:
    """Build a judged multilingual BEIR folder from the manual pages in `PACKAGES`.

    A query is the summary of a page without its name, its document the start of the rest, without the sections about
    authors, licences and other pages, and without what many pages say. `qrels/test.tsv` judges pairs of one language,
    `qrels/cross.tsv` the same page (name and section of the manual) in the other languages.

    Args:
        debs: The .deb files; those of other packages are passed over.
        out: Folder to make; it appears only when it is complete.

    Returns:
        What the folder holds.

    Raises:
        InputError: There is no page in the files, one is broken, or `out` holds something else.
    """
    wanted = sorted(deb for deb in debs if deb.name.split("_")[0] in PACKAGES)
    pages = _read_pages(wanted)
    if not pages:
        raise InputError(
            f"{out}: no manual page in the {len(debs)} files given; expected Debian packages such as {PACKAGES[0]}, "
            f"which `apt-get download {PACKAGES[0]}` fetches"
        )
    passages, questions = judge_sections({tag: _sections(pages[tag]) for tag in sorted(pages)}, _RULES)
    questions = [question for question in questions if len(question.doc_ids) <= _PAGES_PER_SUMMARY]
    source = (
        f"{NAME}\n"
        f"Debian packages: {', '.join(map(package_version, wanted))}\n"
        "Licences: each page has its own (usr/share/doc/*/copyright in the packages). This folder was made from the "
        "packages on this machine; tamis comes with none of the pages.\n"
        "Queries are the summaries of pages, documents the rest of the page. qrels/test.tsv: pairs of one language; "
        "qrels/cross.tsv: the same page in the other languages."
    )
    with whole_folder(out) as folder:
        write_beir(passages, questions, "page", source, folder)
    return count_beir(out)


def _read_pages(debs: Sequence[Path]) -> dict[str, dict[str, _Page]]:
    """Language, key (`ls.1`), page. Of two pages with the same key, as two packages may have, the longer one."""
    pages: dict[str, dict[str, _Page]] = {}
    for deb in debs:
        for path, packed in deb_files(deb, ".gz"):
            match = _PAGE_NAME.search(path)
            if match is None or not (match[1] is None or match[1] in _TRANSLATIONS):
                continue
            page = _read_page(packed, match[2])
            if len(page) < 2:
                continue
            known = pages.setdefault(_language(match[1]), {})
            key = f"{match[2]}.{match[3]}"
            if key not in known or _size(page) > _size(known[key]):
                known[key] = page
    return pages


def _language(folder: str | None) -> str:
    """Language tag of a folder below usr/share/man, with its country: one Chinese is not the other."""
    return "en" if folder is None else folder.lower().replace("_", "-")


def _read_page(packed: bytes, name: str) -> _Page:
    try:
        return read_roff(gzip.decompress(packed), name)
    except (OSError, EOFError, zlib.error):  # not packed, whatever its name says
        return []


def _size(page: _Page) -> int:
    return sum(len(paragraph) for section in page for paragraph in section.paragraphs)


def _sections(pages: Mapping[str, _Page]) -> dict[str, Section]:
    """Key, summary and paragraphs of the pages of one language that have a summary."""
    holders = Counter(form for page in pages.values() for form in _forms(page))
    most = max(8, len(pages) // 100)
    repeated = {form for form, count in holders.items() if count > most}
    sections = {}
    for key, page in sorted(pages.items()):
        opening = " ".join(page[0].paragraphs)
        summary = _summary(opening)
        if summary is None:
            continue
        left_out = repeated | {normalise(opening), normalise(summary)}
        paragraphs = tuple(
            text
            for section in page[1:]
            if not _NO_ANSWERS.match(section.heading)
            for text in section.paragraphs
            if normalise(text) not in left_out
        )
        asked = len(summary) <= _SUMMARY_CHARACTERS and "\\" not in summary
        sections[key] = Section((summary if asked else "",), paragraphs)
    return sections


def _forms(page: _Page) -> set[str]:
    return {normalise(text) for section in page[1:] for text in section.paragraphs}


def _summary(opening: str) -> str | None:
    """What follows the names in the first section of a page; nothing where no dash tells them apart."""
    for dash in (_DASH_BETWEEN_SPACES, _ANY_DASH):
        names, *rest = dash.split(opening, maxsplit=1)
        if rest:
            summary = re.sub(r"\(\s*\)", "", rest[0]).strip(" .。")
            return summary if len(names) <= _NAMES_CHARACTERS else None
    return None
