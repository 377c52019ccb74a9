"""Real questions about software with their answers: the FAQs of two KDE programs in many languages, of Perl in English.

Titles of manuals name a topic; these are whole questions, as people ask them. They are what the general student learns
from (docs/log.md says what that is worth).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

from corpora.beir_folder import Counts, count_beir, write_beir
from corpora.manual_text import language_tag, tidy
from corpora.packages import deb_files, package_version
from corpora.parallel_manual import ManualRules, Section, judge_sections
from tamis.errors import InputError
from tamis.whole_folder import whole_folder

NAME = "software-faqs"
PACKAGES = ("kmail", "krusader", "perl-doc")

_RULES = ManualRules(
    query_prefixes=("q/",),
    copied_share=0.3,
    document_letters=(60, 30),
    query_letters=(8, 3),
    english_headings=False,
    documents_per_language=20,
)
_HANDBOOK_PAGE = re.compile(r"usr/share/doc/HTML/([^/]+)/([^/]+/[^/]+)\.docbook$")
_POD_PAGE = re.compile(r"/pod/(perlfaq\d)\.pod$")

_ENTITY = re.compile(r"&([A-Za-z][\w.-]*);")
_CHARACTERS = {
    "lt": "<",
    "gt": ">",
    "amp": "&",
    "quot": '"',
    "apos": "'",
    "nbsp": " ",
    "percnt": "%",
    "kf5-full": "KDE",
}
_LEFT_OUT_TAGS = frozenset({"indexterm", "screenshot", "mediaobject", "programlisting", "anchor"})
_PARAGRAPH_TAGS = frozenset({"para", "simpara", "screen", "title", "listitem", "step", "member"})

_POD_HEADING = re.compile(r"^=head2\s+(.*(?:\n.+)*)", re.MULTILINE)
_POD_CODE = re.compile(r"[A-Z](?:<< (.*?) >>|<([^<>]*)>)")


def build_software_faqs(debs: Sequence[Path], out: Path) -> Counts:
    """Build a judged multilingual BEIR folder from the FAQs in `PACKAGES`.

    `qrels/test.tsv` judges each question with its answer, `qrels/cross.tsv` with the answer in other languages.

    Args:
        debs: The .deb files; those of other packages are passed over.
        out: Folder to make; it appears only when it is complete.

    Returns:
        What the folder holds.

    Raises:
        InputError: There is no question in the files, one is broken, or `out` holds something else.
    """
    wanted = sorted(deb for deb in debs if deb.name.split("_")[0] in PACKAGES)
    faqs = _read_faqs(wanted)
    if not faqs:
        raise InputError(
            f"{out}: no question in the {len(debs)} files given; expected the Debian packages {', '.join(PACKAGES)}, "
            f"which `apt-get download {' '.join(PACKAGES)}` fetches"
        )
    passages, questions = judge_sections(faqs, _RULES)
    source = (
        f"{NAME}\n"
        f"Debian packages: {', '.join(map(package_version, wanted))}\n"
        "Licences: KDE handbooks GNU Free Documentation License 1.2, Perl FAQ the terms of Perl itself "
        "(usr/share/doc/*/copyright in the packages).\n"
        "Queries are questions, documents their answers. qrels/test.tsv: pairs of one language; qrels/cross.tsv: the "
        "same question's answer in the other languages."
    )
    with whole_folder(out) as folder:
        write_beir(passages, questions, "question", source, folder)
    return count_beir(out)


def _read_faqs(debs: Sequence[Path]) -> dict[str, dict[str, Section]]:
    """Language, key, question with its answer; languages sorted, English being the original."""
    pages: dict[str, dict[str, list[tuple[str, Section]]]] = {}
    for deb in debs:
        for name, content in deb_files(deb, ".docbook"):
            match = _HANDBOOK_PAGE.search(name)
            if match and (entries := read_docbook(content.decode("utf-8", "replace"))):
                pages.setdefault(language_tag(match[1]), {})[match[2]] = entries
        for name, content in deb_files(deb, ".pod"):
            match = _POD_PAGE.search(name)
            if match:
                pages.setdefault("en", {})[match[1]] = read_pod(content.decode("utf-8", "replace"))
    return {language: dict(_keyed(language, pages)) for language in sorted(pages)}


def _keyed(
    language: str, pages: Mapping[str, Mapping[str, list[tuple[str, Section]]]]
) -> Iterator[tuple[str, Section]]:
    """Key and section of every entry of a language.

    The key is the same in every language: by the id of the question, or by its number where a page has as many as the
    English one. Where it has not, nobody knows which question it translates, and the key holds the language.
    """
    for page, entries in sorted(pages[language].items()):
        parallel = len(entries) == len(pages.get("en", {}).get(page, ()))
        for number, (name, section) in enumerate(entries):
            yield f"{page}/{name or (number if parallel else f'{language}-{number}')}", section


def read_docbook(page: str) -> list[tuple[str, Section]]:
    """Id (empty where there is none), question and answer of every entry of a DocBook page.

    Entities name programs and signs that are declared elsewhere; they become their names.
    """
    reader = _DocbookReader()
    reader.feed(_ENTITY.sub(lambda match: _escaped(_CHARACTERS.get(match[1], match[1])), page))
    reader.close()
    return reader.entries


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _DocbookReader(HTMLParser):
    """Collects the paragraphs of each question and of each answer; HTMLParser forgives what an XML parser refuses."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.entries: list[tuple[str, Section]] = []
        self._within: str = ""  # question or answer
        self._hidden = 0
        self._id = ""
        self._pieces: list[str] = []
        self._texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "qandaentry":
            self._id = dict(attrs).get("id") or ""
            self._texts = {"question": [], "answer": []}
        elif tag in ("question", "answer"):
            self._within = tag
            self._id = self._id or (dict(attrs).get("id") or "" if tag == "question" else "")
            self._pieces.clear()
        elif tag in _LEFT_OUT_TAGS:
            self._hidden += 1
        elif tag in _PARAGRAPH_TAGS:
            self._end_paragraph()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An empty element holds nothing."""

    def handle_endtag(self, tag: str) -> None:
        if tag in _LEFT_OUT_TAGS:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _PARAGRAPH_TAGS:
            self._end_paragraph()
        elif tag in ("question", "answer"):
            self._end_paragraph()
            self._within = ""
        elif tag == "qandaentry" and self._texts.get("question"):
            question = " ".join(self._texts["question"])
            self.entries.append((self._id, Section((question,), tuple(self._texts["answer"]))))

    def handle_data(self, data: str) -> None:
        if self._within and not self._hidden:
            self._pieces.append(data)

    def _end_paragraph(self) -> None:
        text = tidy("".join(self._pieces))
        self._pieces.clear()
        if text and self._within in self._texts:
            self._texts[self._within].append(text)


def read_pod(page: str) -> list[tuple[str, Section]]:
    """Id (always empty), question and answer of every `=head2` of a page of the Perl FAQ."""
    parts = _POD_HEADING.split(page)[1:]
    return [
        ("", Section((_plain(question),), tuple(_pod_paragraphs(answer))))
        for question, answer in zip(parts[::2], parts[1::2], strict=True)
    ]


def _pod_paragraphs(text: str) -> Iterator[str]:
    """Paragraphs down to the next command that opens a section; indented code and other commands are left out."""
    for block in re.split(r"\n\s*\n", text):
        if block.lstrip("\n").startswith("=head"):
            return
        if block.strip() and not block.lstrip("\n").startswith((" ", "\t", "=")):
            yield _plain(block)


def _plain(text: str) -> str:
    """Text of a paragraph without formatting codes; the text of a link stands for it."""
    previous = None
    while previous != text:
        previous = text
        text = _POD_CODE.sub(lambda match: (match[1] or match[2] or "").split("|")[0], text)
    return tidy(text)
