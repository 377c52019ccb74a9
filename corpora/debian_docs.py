"""The Debian FAQ and the Debian Reference: manuals packaged in ten languages each, with the same section anchors.

The FAQ holds about 140 real questions with their answers, the Reference about 430 how-to sections.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corpora.beir_folder import Counts, count_beir, write_beir
from corpora.html_sections import cut_sections
from corpora.packages import deb_files, package_version
from corpora.parallel_manual import ManualRules, Section, judge_sections
from tamis.errors import InputError
from tamis.whole_folder import whole_folder

_RULES = ManualRules(
    query_prefixes=("q/",),
    copied_share=0.3,
    document_letters=(80, 40),
    query_letters=(8, 3),
    english_headings=True,  # "aptitude", "Software in the Public Interest"
    documents_per_language=0,
)
_NO_ANSWERS = frozenset({"index", "apa", "apb"})  # the table of contents and the appendices
_SECTION_NUMBER = re.compile(r"^[\s\dA-Z]*(?:\d+\.)+\s*")


@dataclass(frozen=True, slots=True)
class Manual:
    """One of the manuals.

    Attributes:
        name: Name of the source, first line of `SOURCE.txt`.
        packages: Debian package of each language; corpora list their languages in this order.
        licence: What the copyright file of the package says.
    """

    name: str
    packages: Mapping[str, str]
    licence: str


_FAQ_LANGUAGES = ("en", "de", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh-cn")
_REFERENCE_LANGUAGES = ("en", "de", "es", "fr", "id", "it", "ja", "pt", "zh-cn", "zh-tw")
MANUALS: Mapping[Literal["faq", "reference"], Manual] = {
    "faq": Manual(
        name="debian-faq",
        packages={tag: "debian-faq" if tag == "en" else f"debian-faq-{tag}" for tag in _FAQ_LANGUAGES},
        licence=(
            "Debian FAQ, copyright 1996-2003 Software in the Public Interest and others. Verbatim and modified copies "
            "are permitted under the same notice (usr/share/doc/debian-faq/copyright in the package)."
        ),
    ),
    "reference": Manual(
        name="debian-reference",
        packages={tag: f"debian-reference-{tag}" for tag in _REFERENCE_LANGUAGES},
        licence=(
            "Debian Reference, copyright Osamu Aoki and others. GNU General Public License, version 2 or later "
            "(usr/share/doc/debian-reference-en/copyright in the package)."
        ),
    ),
}


def build_debian_docs(debs: Sequence[Path], manual: Literal["faq", "reference"], out: Path) -> Counts:
    """Build a judged multilingual BEIR folder from the packages of one manual.

    A query is the heading of a section without its number, its document the text below that heading.
    `qrels/test.tsv` judges pairs of one language, `qrels/cross.tsv` the same section in the other languages.

    Args:
        debs: The .deb files; those of other packages are passed over.
        manual: Which manual.
        out: Folder to make; it appears only when it is complete.

    Returns:
        What the folder holds.

    Raises:
        InputError: No package of the manual is among the files, one is broken, or `out` holds something else.
    """
    about = MANUALS[manual]
    wanted = sorted(deb for deb in debs if deb.name.split("_")[0] in about.packages.values())
    if not wanted:
        raise InputError(
            f"{out}: none of the {len(debs)} files given is a {about.name} package; expected files like "
            f"{about.packages['en']}_*.deb, which `apt-get download {about.packages['en']}` fetches"
        )
    passages, questions = judge_sections(_read_manual(wanted, tuple(about.packages)), _RULES)
    source = (
        f"{about.name}\n"
        f"Debian packages: {', '.join(map(package_version, wanted))}\n"
        f"Licence: {about.licence}\n"
        "Queries are section headings, documents the text below them. qrels/test.tsv: pairs of one language; "
        "qrels/cross.tsv: the same section in the other languages."
    )
    with whole_folder(out) as folder:
        write_beir(passages, questions, "section", source, folder)
    return count_beir(out)


def _read_manual(debs: Sequence[Path], languages: Sequence[str]) -> dict[str, dict[str, Section]]:
    """Language, key, section of every anchored section below a chapter's title; the key is `page.anchor`."""
    pages: dict[str, dict[str, Section]] = {language: {} for language in languages}
    name_of_page = re.compile(rf"/([^/.]+)\.({'|'.join(languages)})\.html$")
    for deb in debs:
        for name, content in deb_files(deb, ".html"):
            match = name_of_page.search(name)
            if match and match[1] not in _NO_ANSWERS:
                for key, section in _read_page(content.decode("utf-8", "replace"), match[1]):
                    pages[match[2]].setdefault(key, section)
    return pages


def _read_page(content: str, page: str) -> list[tuple[str, Section]]:
    return [
        (f"{page}.{section.anchor}", Section((_question(section.heading),), tuple(section.paragraphs)))
        for section in cut_sections(content)
        if section.level > 1 and section.anchor
    ]


def _question(heading: str) -> str:
    return _SECTION_NUMBER.sub("", heading).strip(" .。")
