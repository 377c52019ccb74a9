"""The corpus of long documents and its questions: built from Debian packages, every row checked.

    python benchmarks/long_corpus.py                      # checks benchmarks/data/long_documents.tsv, seconds

Sections of the Debian Administrator's Handbook in six languages, of the policy, the developer's reference and git's
documentation. The latter three come as reStructuredText and AsciiDoc, the handbook as web pages, three quarters of
which are written anew in forms that nobody ships; every text is there once in each language. The rows were written by a
large language model that read the documents, see benchmarks/data/README.md.
"""

import argparse
import csv
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpora.packages import deb_files, download, package_version
from documents import CACHE, WRITERS
from machine import ROOT
from tamis.artifacts import item_key
from tamis.errors import InputError
from tamis.formats.documents import Corpus
from tamis.records import Document, Dropped
from tamis.stages.corpus.clean import clean
from tamis.text import words
from tamis.whole_folder import whole_folder

PACKAGES = {"debian-handbook": "11.20220922", "debian-policy": "4.6.2.0", "developers-reference": "12.18"}
PACKAGES |= {"git-doc": "1:2.39.5-0+deb12u3"}
"""Packages and the versions from which the questions were written."""

HANDBOOK = "usr/share/doc/debian-handbook/html"
LANGUAGES = {"de-DE": "de", "en-US": "en", "fr-FR": "fr", "ja-JP": "ja", "ru-RU": "ru", "zh-CN": "zh-cn"}
SOURCES = {
    "policy": ("usr/share/doc/debian-policy/policy.html/_sources", ".rst.txt", ".rst"),
    "developers-reference": ("usr/share/developers-reference/_sources", ".rst.txt", ".rst"),
    "git": ("usr/share/doc/git-doc", ".txt", ".adoc"),
}
"""Folders of English files that are taken as they are, by their name here, with their endings there and here."""

FORMS = ("html", "md", "docx", "eml", "html", "ipynb", "json", "csv", "html", "txt", "xlsx", "pptx")
"""Forms of the handbook's sections, in turn."""

ONE_FIELD = {"json", "csv", "xlsx"}
"""Forms in which the whole text is one field, since each row would be a document of its own."""

SIZES = (100, 2500)
"""Tokens of a document, at least and at most: longer ones would make up most of the work."""

BEYOND = 200
"""Tokens of a document before an answer, at least."""

REPEATED = 0.75
"""Share of a question's words that stand in its quote, at most."""

OUT = ROOT.parent / "demo" / "bench-long_documents"
QUESTIONS = ROOT / "data" / "long_documents.tsv"
ENCODER = ROOT.parent / "demo" / "models" / "e5-small"

Count = Callable[[str], int]
"""Tokens of a text, without special tokens."""


@dataclass(frozen=True)
class Row:
    """A question, the file that answers it, and the answer's words there."""

    number: int
    path: str
    question: str
    quote: str


def token_count() -> Count:
    """Counts e5-small's tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    return lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def corpus_folder(debs: Sequence[Path], folder: Path, count: Count) -> Path:
    """The corpus below a folder, built unless one of the same packages and files lies there."""
    asked = {row.path for row in read_rows(QUESTIONS)}
    made_of = item_key(*map(package_version, debs), repr((SOURCES, LANGUAGES, FORMS, SIZES)), *sorted(asked))
    corpus = folder / f"corpus-{made_of}"
    if not corpus.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_folder(corpus) as fresh:
            build_corpus(debs, fresh, count, asked)
    return corpus


def build_corpus(debs: Sequence[Path], folder: Path, count: Count, asked: Collection[str]) -> None:
    """Lay the corpus out, a folder for each language, in it many forms; of git's files those that are asked about."""
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name)
        _unpack(debs, raw)
        for own_name, (place, ending, form) in SOURCES.items():
            _copy_sources(raw / place, ending, folder / "en" / own_name, form)
        for shift, (place, language) in enumerate(LANGUAGES.items()):
            _write_sections(raw / HANDBOOK / place, folder / language / "handbook", shift)
    for path in (folder / "en" / "git").iterdir():
        if path.relative_to(folder).as_posix() not in asked:
            path.unlink()
    for document in list(Corpus(folder).documents("target")):
        if isinstance(document, Document) and not SIZES[0] <= count(document.text) <= SIZES[1]:
            (folder / document.path).unlink()


def _unpack(debs: Iterable[Path], folder: Path) -> None:
    for deb in debs:
        for name, content in (pair for suffix in (".txt", ".html") for pair in deb_files(deb, suffix)):
            path = folder / name.removeprefix("./")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _copy_sources(source: Path, ending: str, target: Path, form: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob(f"*{ending}")):
        (target / (path.name.removesuffix(ending) + form)).write_bytes(path.read_bytes())


def _write_sections(source: Path, target: Path, shift: int) -> None:
    """The sections of a handbook, each in one form; `shift` gives each language other forms for the same section."""
    target.mkdir(parents=True, exist_ok=True)
    read = {d.path: d.text for d in Corpus(source).documents("target") if isinstance(d, Document)}
    for number, path in enumerate(sorted(path for path in read if path.startswith("sect."))):
        form = FORMS[(number + shift) % len(FORMS)]
        name = path.removeprefix("sect.").removesuffix(".html")
        content = (source / path).read_bytes() if form == "html" else written(read[path], form)
        (target / f"{name}.{form}").write_bytes(content)


def written(text: str, form: str) -> bytes:
    """A text in a form."""
    if form in ("md", "txt"):
        return text.encode()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return WRITERS[form]([text] if form in ONE_FIELD else lines)


def read_corpus(folder: Path, languages: Iterable[str]) -> dict[str, Document]:
    """The documents that tamis reads, by path, each in the language of its folder.

    Raises:
        InputError: a file was not read.
    """
    found: dict[str, Document] = {}
    for language in languages:
        for document in clean(Corpus(folder / language).documents("target"), 1_000_000):
            if isinstance(document, Dropped):
                raise InputError(f"{document.record_id}: {document.reason}; expected every file to be read")
            path = f"{language}/{document.path}"
            found[path] = replace(document, doc_id=path, path=path, language=language)
    return found


def read_rows(path: Path) -> list[Row]:
    """The rows of a table of questions."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Row(number, *row) for number, row in enumerate(rows[1:], 2)]


def complaints(rows: Sequence[Row], documents: Mapping[str, Document], count: Count) -> Iterator[str]:
    """What is wrong with rows, at most a line each."""
    asked = Counter(row.question for row in rows)
    for row in rows:
        wrong = _complaint(row, documents.get(row.path), count)
        if not wrong and asked[row.question] > 1:
            wrong = f"the question is asked {asked[row.question]} times, expected once"
        if wrong:
            yield f"{QUESTIONS.name}, line {row.number}: {wrong}"


def _complaint(row: Row, document: Document | None, count: Count) -> str:
    """What is wrong with a row and its document: none, a quote not once in it or too early, words repeated."""
    if document is None:
        return f"no document {row.path}"
    places = quote_places(row.quote, document.text)
    if len(places) != 1:
        return f"the quote is {len(places)} times in {row.path}, expected once"
    before = count(document.text[: places[0]])
    if before < BEYOND:
        return f"the quote begins after {before} tokens of {row.path}, expected at least {BEYOND}"
    share = repeated(row)
    return (
        "" if share <= REPEATED else f"{share:.0%} of the question's words stand in the quote, at most {REPEATED:.0%}"
    )


def quote_places(quote: str, text: str) -> list[int]:
    """Where a quote begins in a text, whatever white space stands between its words."""
    pattern = r"\s+".join(map(re.escape, quote.split()))
    return [found.start() for found in re.finditer(pattern, text)]


def repeated(row: Row) -> float:
    """Share of a question's words that stand in its quote."""
    asked = set(words(row.question))
    return len(asked & set(words(row.quote))) / len(asked)


def checked_rows(documents: Mapping[str, Document], count: Count, languages: Collection[str]) -> list[Row]:
    """The rows of the table in some languages.

    Raises:
        InputError: names the first that is wrong.
    """
    rows = [row for row in read_rows(QUESTIONS) if row.path.split("/")[0] in languages]
    for complaint in complaints(rows, documents, count):
        raise InputError(complaint)
    return rows


def facts(rows: Sequence[Row], documents: Mapping[str, Document], debs: Sequence[Path]) -> dict[str, Any]:
    """How many files of which forms and languages, how many questions, which packages."""
    languages = Counter(row.path.split("/")[0] for row in rows)
    return {
        "files": len(documents),
        "forms": dict(sorted(Counter(Path(path).suffix for path in documents).items())),
        "languages": dict(sorted(Counter(document.language for document in documents.values()).items())),
        "questions": dict(sorted(languages.items())),
        "packages": [package_version(deb) for deb in debs],
        "written_from": PACKAGES,
    }


def main() -> None:
    """Build, read, check; prints every complaint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debs", type=Path, default=CACHE, help="where the packages are kept")
    parser.add_argument("--out", type=Path, default=OUT, help="where the corpus is kept")
    chosen = parser.parse_args()
    debs, count = download(list(PACKAGES), chosen.debs), token_count()
    documents = read_corpus(corpus_folder(debs, chosen.out, count), LANGUAGES.values())
    rows = read_rows(QUESTIONS)
    found = list(complaints(rows, documents, count))
    print(*found, f"{len(rows)} questions, {len(found)} wrong", facts(rows, documents, debs), sep="\n")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
