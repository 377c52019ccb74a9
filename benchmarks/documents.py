"""Documents as people have them: files told, words kept of each form, memory of many files.

    make bench-documents                                  # fetches Debian's manuals, half a minute without them
    python benchmarks/documents.py --many 1000            # a quicker look at the memory

Three questions. Is every file of a mixed folder either read or named with a reason? Of each form, which share of the
words of the same text in plain form is kept? The manuals of Debian come as text, HTML, EPUB and PDF, in six languages;
what nobody ships is written here from the English one, with a copy of the plain words. Does memory grow with the number
of files? Each number of them is read in a process of its own. Writes benchmarks/results/documents.json and .md.
"""

import argparse
import csv
import gzip
import io
import json
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from corpora.packages import deb_files, download, package_version
from machine import ROOT, commit
from processes import in_a_process
from results import checked, publish, targets_table
from tamis.formats.documents import Corpus
from tamis.formats.folder import list_folder
from tamis.process_memory import peak_memory
from tamis.records import Document, Dropped
from tamis.text import words

PACKAGES = ["debian-policy", "debmake-doc", "developers-reference"]
PACKAGES += [f"developers-reference-{language}" for language in ("de", "fr", "it", "ja", "ru")]
CACHE = ROOT.parent / "demo" / "debs"
MANUALS = "usr/share/developers-reference"
GUIDES = "usr/share/doc/debmake-doc"
LEAST = 0.99
STUB = 1000
"""Characters below which a PDF only says that it could not be made."""

Twins = dict[str, tuple[int, int]]
"""By form: words of the plain texts, and how many of them were kept."""


def kept(plain: str, text: str) -> tuple[int, int]:
    """How many words a plain text has, and how many of them, each as often as it stands there, the other has too."""
    wanted, found = Counter(words(plain)), Counter(words(text))
    return wanted.total(), (wanted & found).total()


def unpack(debs: Sequence[Path], folder: Path) -> None:
    """Lay the files of Debian packages out, their sources of reStructuredText under its own ending."""
    for deb in debs:
        for name, content in deb_files(deb, ""):
            path = folder / name.removeprefix("./")
            path = path.with_suffix("") if name.endswith(".rst.txt") else path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def shipped_twins(folder: Path) -> Twins:
    """Words kept of the manuals that Debian ships in several forms."""
    read = {d.path: d.text for d in Corpus(folder).documents("target") if isinstance(d, Document)}
    found: Twins = {}
    for plain_file in sorted([*folder.glob(f"{MANUALS}/**/*.txt.gz"), *folder.glob(f"{GUIDES}/*.txt.gz")]):
        plain = gzip.decompress(plain_file.read_bytes()).decode()
        stem = plain_file.relative_to(folder).as_posix().removesuffix(".txt.gz")
        forms = {f"{kind[1:]}, shipped": read.get(f"{stem}{kind}", "") for kind in (".pdf", ".epub")}
        place = stem.rpartition("/")[0]
        if place.startswith(MANUALS):
            pages = (text for path, text in read.items() if path.rpartition("/")[0] == place and path.endswith(".html"))
            forms["html, shipped"] = "\n".join(pages)
        for form, text in forms.items():
            if len(text) > STUB:
                before = found.get(form, (0, 0))
                counts = kept(plain, text)
                found[form] = (before[0] + counts[0], before[1] + counts[1])
    return found


def written_twins(paragraphs: Sequence[str], folder: Path) -> Twins:
    """Words kept of the same paragraphs written in each form that nobody ships."""
    for form, write in WRITERS.items():
        (folder / f"text.{form}").write_bytes(write(paragraphs))
    read: dict[str, str] = {}
    for document in Corpus(folder).documents("target"):
        if isinstance(document, Document):
            read[document.path] = read.get(document.path, "") + "\n" + document.text
    return {f"{form}, written here": kept("\n".join(paragraphs), read.get(f"text.{form}", "")) for form in WRITERS}


def _html(paragraphs: Sequence[str]) -> bytes:
    return "".join(
        f"<h2>{escape(p)}</h2>" if n % 9 == 0 else f"<p>{escape(p)}" for n, p in enumerate(paragraphs)
    ).encode()


def _markdown(paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join(f"## {p}" if n % 9 == 0 else p for n, p in enumerate(paragraphs)).encode()


def _rst(paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join(f"{p}\n{'-' * len(p)}" if n % 9 == 0 else p for n, p in enumerate(_bare(paragraphs))).encode()


def _asciidoc(paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join(f"== {p}" if n % 9 == 0 else p for n, p in enumerate(paragraphs)).encode()


def _latex(paragraphs: Sequence[str]) -> bytes:
    body = "\n\n".join(f"\\section{{{p}}}" if n % 9 == 0 else p for n, p in enumerate(_bare(paragraphs)))
    return f"\\documentclass{{article}}\\begin{{document}}{body}\\end{{document}}".encode()


def _bare(paragraphs: Sequence[str]) -> Iterator[str]:
    """Paragraphs without the characters that are marks in many forms; their words stay apart."""
    table = str.maketrans(dict.fromkeys("\\`*_|{}%&$#^~<>[]", " "))
    return (" ".join(p.translate(table).split()) for p in paragraphs)


def _notebook(paragraphs: Sequence[str]) -> bytes:
    cells = [{"cell_type": "code" if n % 5 == 0 else "markdown", "source": [p]} for n, p in enumerate(paragraphs)]
    return json.dumps({"cells": cells, "nbformat": 4}).encode()


def _mail(paragraphs: Sequence[str]) -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "Manual"
    mail.set_content("\n\n".join(paragraphs))
    return mail.as_bytes()


def _docx(paragraphs: Sequence[str]) -> bytes:
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    body = "".join(_docx_paragraph(n, p) for n, p in enumerate(paragraphs))
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    members = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType="'
        'application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="{kind}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Type="{relation}" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>',
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _docx_paragraph(number: int, text: str) -> str:
    """A paragraph, every seventh in a table, every eighth in a content control, every ninth put in by a reviewer."""
    run = f'<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r>'
    if number % 9 == 0:
        return f"<w:p><w:ins>{run}</w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    if number % 8 == 0:
        return f"<w:sdt><w:sdtContent><w:p>{run}</w:p></w:sdtContent></w:sdt>"
    if number % 7 == 0:
        return f"<w:tbl><w:tr><w:tc><w:p>{run}</w:p></w:tc></w:tr></w:tbl>"
    return f"<w:p>{run}</w:p>"


def _pptx(paragraphs: Sequence[str]) -> bytes:
    import pptx

    slides: Any = pptx.Presentation()
    for start in range(0, len(paragraphs), 3):
        some = paragraphs[start : start + 3]
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text = some[0]
        slide.placeholders[1].text = some[1] if len(some) > 1 else ""
        slide.notes_slide.notes_text_frame.text = some[2] if len(some) > 2 else ""
    stream = io.BytesIO()
    slides.save(stream)
    return stream.getvalue()


def _xlsx(paragraphs: Sequence[str]) -> bytes:
    import openpyxl

    book: Any = openpyxl.Workbook()
    for paragraph in paragraphs:
        book.active.append([paragraph])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _csv(paragraphs: Sequence[str]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=";").writerows([["id", "text"], *enumerate(paragraphs)])
    return stream.getvalue().encode("utf-16")


def _json(paragraphs: Sequence[str]) -> bytes:
    return json.dumps({"result": {"rows": [{"id": n, "text": p} for n, p in enumerate(paragraphs)]}}, indent=1).encode()


WRITERS: dict[str, Callable[[Sequence[str]], bytes]] = {
    "adoc": _asciidoc,
    "csv": _csv,
    "docx": _docx,
    "eml": _mail,
    "htm": _html,
    "ipynb": _notebook,
    "json": _json,
    "md": _markdown,
    "pptx": _pptx,
    "rst": _rst,
    "tex": _latex,
    "xlsx": _xlsx,
}


def told(folder: Path) -> dict[str, Any]:
    """Every file that lies in a folder, against what was read of it, left out and passed over."""
    began = time.monotonic()
    found = list(Corpus(folder).documents("target"))
    seconds = time.monotonic() - began
    named = {d.path if isinstance(d, Document) else d.record_id.partition(", ")[0] for d in found}
    listed = list_folder(folder)
    lying = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    passed_over = {path for path in lying if any(part.startswith(".") for part in path.split("/"))}
    return {
        "files": len(lying),
        "read": len({d.path for d in found if isinstance(d, Document)}),
        "left_out": dict(Counter(d.reason for d in found if isinstance(d, Dropped)).most_common()),
        "passed_over": dict(listed.skipped),
        "silent": sorted(lying - named - passed_over),
        "forms": len({Path(d.path.removesuffix(".gz")).suffix for d in found if isinstance(d, Document)}),
        "seconds": seconds,
    }


def read_many(files: int, folder: str) -> dict[str, Any]:
    """Write so many files of six forms and read them; peak memory is this process's own."""
    root, text = Path(folder) / str(files), "A sentence of eight words stands in here. " * 200
    for number in range(files):
        kind = ("txt", "md", "html", "rst", "adoc", "eml")[number % 6]
        path = root / f"{number % 97}" / f"{number}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} {text}", encoding="utf-8")
    before, began = peak_memory(), time.monotonic()
    read = sum(isinstance(document, Document) for document in Corpus(root).documents("target"))
    return {
        "files": files,
        "read": read,
        "seconds": time.monotonic() - began,
        "peak_memory_bytes": peak_memory(),
        "memory_before_bytes": before,
    }


def targets_of(folder: Mapping[str, Any], twins: Twins, many: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Nothing silent, words kept of each form, flat memory."""
    silent, grown = len(folder["silent"]), (many[-1]["peak_memory_bytes"] - many[0]["peak_memory_bytes"]) / 2**20
    missing = many[-1]["files"] - many[-1]["read"]
    rows = [
        (f"silent files of {folder['files']}", silent, "= 0"),
        ("files of the folder", folder["files"], ">= 300"),
        *((f"words kept, {form}", have / of, f">= {LEAST}") for form, (of, have) in sorted(twins.items())),
        (f"memory from {many[0]['files']:,} to {many[-1]['files']:,} files, MiB", grown, "< 50"),
        (f"unread of {many[-1]['files']:,} files", missing, "= 0"),
    ]
    return checked(rows)


def table(folder: Mapping[str, Any], many: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> str:
    """The folder in one line, many files in another, then the targets."""
    left = ", ".join(f"{count} {reason}" for reason, count in folder["left_out"].items())
    lines = [
        f"{folder['files']:,} files: {folder['read']:,} read in {folder['seconds']:.0f} s; left out: {left}.",
        "",
        "| files | seconds | peak memory |",
        "|---:|---:|---:|",
        *(f"| {f['files']:,} | {f['seconds']:.1f} | {f['peak_memory_bytes'] / 2**20:,.0f} MiB |" for f in many),
        "",
        *targets_table(targets),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fetch, read, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debs", type=Path, default=CACHE, help="where the packages are kept")
    parser.add_argument("--many", type=int, default=10_000)
    chosen = parser.parse_args()
    found_commit, debs = commit(), download(PACKAGES, chosen.debs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        unpack(debs, folder)
        plain = gzip.decompress((folder / MANUALS / "developers-reference.txt.gz").read_bytes()).decode()
        paragraphs = [" ".join(each.split()) for each in plain.split("\n\n") if each.strip()]
        twins = shipped_twins(folder)
        written = folder / "written"
        written.mkdir()
        twins |= written_twins(paragraphs[:1000], written)
        lying = told(folder)
        many = [in_a_process(read_many, files, name) for files in (chosen.many // 10, chosen.many)]
    targets = targets_of(lying, twins, many)
    content: dict[str, Any] = {
        "seeds": [],
        "packages": [package_version(deb) for deb in debs],
        "figures": {
            "folder": lying,
            "twins": {form: {"words": w, "kept": k} for form, (w, k) in twins.items()},
            "many": many,
        },
        "targets": targets,
    }
    publish("documents", found_commit, content, table(lying, many, targets))


if __name__ == "__main__":
    main()
