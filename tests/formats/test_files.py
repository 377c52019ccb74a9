"""Files of every form as documents: text, title and language, or one reason why not."""

import codecs
import gzip
import json
import os
import time
import zlib
from pathlib import Path

import pytest

from tamis.formats import documents as of_paths
from tamis.formats import kinds, restructured, texts
from tamis.formats.documents import Corpus
from tamis.formats.encodings import decode, decode_page
from tamis.formats.file_text import LeftOut
from tamis.formats.markup import read_asciidoc, read_markdown
from tamis.records import Document, Dropped
from tests.formats.made_files import ENCRYPTED, docx, eml, epub, paragraph, pdf, pptx_file, xlsx_file, zipped


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """A process for each of the many small folders would take minutes; test_apart.py has it."""
    monkeypatch.setattr(of_paths, "is_foreign", lambda _: False)


def read(folder: Path, name: str, content: bytes | str, beside: bool = True) -> Document | Dropped:
    """What a folder gives of one file; beside it lies another one, so that there is something to read."""
    folder.joinpath(name).write_bytes(content.encode() if isinstance(content, str) else content)
    folder.joinpath("zz.txt").write_text("beside")
    (found,) = (
        each
        for each in Corpus(folder).documents("target")
        if name in (each.doc_id if isinstance(each, Document) else each.record_id)
    )
    return found


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Erste Schritte\n", "Lies das."]},
        {"cell_type": "code", "source": "# kein Titel\nprint(1)", "outputs": [{"text": "noise"}]},
        {"cell_type": "code", "source": []},
    ]
}
RST = """.. comment

Titel
=====

.. note::
   Merke :ref:`dies <x>` und ``das``.

.. versionadded:: 2
   Neu ist :pep:`8` mit :custom:`Wort`.

.. toctree::
   :maxdepth: 2

   verborgen

.. code-block:: python
   :emphasize-lines: 1

   # kein Titel
   pass

Zweiter Teil
------------
Ende_.

.. _Ende: https://example.org
"""
TEX = r"""\documentclass{article}\title{Der \emph{Titel}}
\usepackage{graphicx} % nichts
\begin{document}\maketitle
\section{Anfang} Etwas \textbf{fett} und 10\,\% von $x^2$. % Kommentar
\begin{itemize}\item eins \item zwei\end{itemize}
\end{document} danach"""
ADOC = """= Der Titel
Jemand
:lang: de
:toc:

// Kommentar
[source,sh]
----
# kein Titel
----
////
verborgen
////
== Teil
Text."""
WORD = (
    paragraph("Handbuch", "berschrift1")
    + paragraph("Ein Absatz & mehr.")
    + f"<w:sdt><w:sdtContent>{paragraph('Im Feld.')}</w:sdtContent></w:sdt>"
    + f"<w:tbl><w:tr><w:tc>{paragraph('Zelle')}</w:tc></w:tr></w:tbl>"
    + "<w:p><w:ins><w:r><w:t>neu</w:t></w:r></w:ins><w:del><w:r><w:delText>alt</w:delText></w:r></w:del></w:p>"
)
SLIDES = ["# Ferien", "Wer frei nimmt, meldet es.", "im Kasten", "Mai | 30 Tage", "Langsam sprechen"]

FILES = {
    "a.txt": ("erste", "a", "und", ["erste"]),
    "a.b.txt": ("erste", "a.b", "und", ["erste"]),
    "NOTES": ("eine Notiz", "NOTES", "und", ["eine Notiz"]),
    "a.md": ("---\ntitle: Vorne\nlang: pt_BR\n---\n# Oben\nText", "Vorne", "pt-br", ["Vorne", "# Oben", "Text"]),
    "toml.md": ('+++\ntitle = "Vorne"\n+++\nText', "Vorne", "und", ["Vorne", "Text"]),
    "b.markdown": ("```\n# nicht\n```\n\nOben *hier*\n====\nText", "Oben hier", "und", ["Oben hier", "```", "# nicht"]),
    "broken.md": ("---\n\n[: {\n\n---\n# Oben", "Oben", "und", ["Oben", "---"]),
    "a.htm": ("<html lang=fr><title>T</title><p>a<h1>Haut</h1>b", "Haut", "fr", ["Haut", "a", "# Haut", "b"]),
    "b.xhtml": ("<title>T</title><p>T ist da", "T", "und", ["T ist da"]),
    "a.ipynb": (
        json.dumps(NOTEBOOK),
        "Erste Schritte",
        "und",
        ["# Erste Schritte", "Lies das.", "", "```", "# kein Titel", "print(1)", "```"],
    ),
    "a.adoc": (ADOC, "Der Titel", "de", ["# Der Titel", "Jemand", "", "# kein Titel", "## Teil", "Text."]),
    "a.rst": (
        RST,
        "Titel",
        "und",
        [
            "# Titel",
            "Note",
            "Merke dies und das.",
            "2 Neu ist PEP 8 mit Wort.",
            "```",
            "# kein Titel",
            "pass",
            "```",
            "## Zweiter Teil",
            "Ende.",
        ],
    ),
    "a.eml": (eml("Re: Käse", "Der Inhalt\r\n"), "Re: Käse", "und", ["Re: Käse", "Der Inhalt"]),
    "b.eml": (eml("Seite", "", "<p>Als <b>Seite</b>"), "Seite", "und", ["Seite", "Als Seite"]),
    "a.epub": (
        epub("<h1>Ende</h1>b", "<h1>Anfang</h1>a"),
        "Das Buch",
        "und",
        ["Das Buch", "# Anfang", "a", "# Ende", "b"],
    ),
    "a.docx": (docx(WORD, "Egal"), "Handbuch", "und", ["# Handbuch", "Ein Absatz & mehr.", "Im Feld.", "Zelle", "neu"]),
    "b.docx": (docx(paragraph("Text"), "Aus Word"), "Aus Word", "und", ["Aus Word", "Text"]),
    "a.pptx": (pptx_file, "Ferien", "und", SLIDES),
    "a.xlsx": (xlsx_file, "a", "und", ["# Preise", "Ware | Preis", "Brot | 3", "Käse | 7.5"]),
    "a.pdf": (
        pdf([["1.2 Anfang", "Ein Satz."], ["Mehr", "Anfang ist mehr als dies."]], "Heft", [(0, "Anfang")]),
        "Heft",
        "und",
        ["Heft", "# 1.2 Anfang", "Ein Satz.", "Mehr", "Anfang ist mehr als dies."],
    ),
    "b.pdf": (pdf([["Text"]], "Microsoft Word - b.doc"), "b", "und", ["Text"]),
    "c.txt.gz": (gzip.compress(b"gepackt"), "c", "und", ["gepackt"]),
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_text_title_and_language(tmp_path, name):
    content, title, language, lines = FILES[name]
    found = read(tmp_path, name, content() if callable(content) else content)
    assert isinstance(found, Document), found
    assert (found.doc_id, found.title, found.language, found.path) == (name, title, language, name)
    said = [line for line in found.text.split("\n") if line.strip()]
    assert said[: len(lines)] == [line for line in lines if line.strip()], found.text


def test_latex_gives_its_text_without_the_preamble(tmp_path):
    found = read(tmp_path, "a.tex", TEX)
    assert found.title == "Der Titel"
    for piece in ("Der Titel\n", "### Anfang\n", "Etwas fett und 10", "% von $x^2$.", "eins", "zwei"):
        assert piece in found.text
    assert not any(piece in found.text for piece in ("Kommentar", "documentclass", "danach", "graphicx"))


TEXTS = {
    "de": "Schöne Grüße aus München: Über die Brücke fährt täglich ein Zug, heißt es.",
    "fr": "Où est passée la forêt ? L’élève a reçu une leçon de français à l’école, très tôt.",
    "ru": "Чтобы установить пакет, нужны права администратора и подключение к сети.",
    "ja": "パッケージをインストールするには管理者の権限が必要です。先に説明を読んでください。",
    "pl": "Zażółć gęślą jaźń. Proszę wybrać język instalacji i nacisnąć przycisk, aby kontynuować.",
}


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *(("de", name) for name in ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        ("fr", "cp1252"),
        *(("ru", name) for name in ("utf-8", "utf-16", "cp1251", "koi8-r")),
        *(("ja", name) for name in ("shift_jis", "utf-16", "euc_jp")),
        ("pl", "cp1250"),
    ],
)
def test_the_encoding_of_a_text_is_told(language, encoding):
    text = TEXTS[language] + "\n" + TEXTS[language]
    if encoding == "utf-16-be" or encoding == "utf-16-le":
        assert decode(text.encode(encoding)) == text  # without a mark
    assert decode(text.encode(encoding)) == text


def test_an_encoding_that_a_page_names_counts(tmp_path):
    page = '<meta http-equiv=Content-Type content="text/html; charset=iso-8859-5"><p>Ещё'
    assert "Ещё" in read(tmp_path, "a.html", page.encode("iso-8859-5")).text
    assert "Ещё" in read(tmp_path, "b.html", page.encode("utf-16")).text
    assert "Ещё" in read(tmp_path, "c.html", page.replace("iso-8859-5", "nonsense").encode()).text


@pytest.mark.parametrize("name", ["utf-16", "UTF-16LE", "utf-16be", "utf-32", "utf-32le", "cp037"])
@pytest.mark.parametrize("declaration", ['<?xml version="1.0" encoding="{}"?>', "<meta charset={}>"])
@pytest.mark.parametrize("end", ["", " "])
def test_a_declaration_in_ascii_names_no_encoding_that_writes_it_otherwise(name, declaration, end):
    page = f"{declaration.format(name)}<p>Größe{end}"  # the HTML standard, "prescan a byte stream": UTF-8 then
    assert decode_page(page.encode()) == page


def test_one_broken_byte_does_not_change_the_rest():
    assert decode(("ä" * 30).encode() + b"\xe9x") == "ä" * 30 + "\ufffdx"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_are_no_matter(tmp_path, newline):
    text = newline.join(["---", "title: T", "---", "# Oben", "Text"])
    found = read(tmp_path, "a.md", codecs.BOM_UTF8 + text.encode())
    assert (found.title, found.text) == ("T", "T\n# Oben\nText")


def test_front_matter_that_stands_for_more_than_any_memory_holds_is_read_without_what_it_merges(tmp_path):
    levels = (f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 40))  # 9 to the 39th fields
    found = read(
        tmp_path, "a.md", "\n".join(["---", "a0: &a0 {x: 1}", *levels, "title: Vorne", "---", "Text"]).encode()
    )
    assert (found.title, found.text) == ("Vorne", "Vorne\nText")


@pytest.mark.parametrize("slip", ["!!bool maybe", "!!timestamp maybe", "1" + ":1" * 400 + ".5"])
def test_front_matter_that_yaml_stumbles_over_stays_text(tmp_path, slip):
    text = f"---\ntitle: T\nother: {slip}\n---\nText"
    assert read(tmp_path, "a.md", text.encode()).text.endswith(text)


BOMB = docx(paragraph("x"), **{"word/media/a.bin": bytes(300 << 20)})
UNREAD = {
    "a.pdf": (pdf([["geheim"]], trailer=ENCRYPTED), "encrypted: save it without its password"),
    "b.pdf": (pdf([[], []]), "no text in it, scans only: have text recognised in them"),
    "c.pdf": (b"%PDF-1.4 nothing more", "damaged or no PDF"),
    "a.docx": (BOMB, "unpacks to more than 256 MB, or 64 MB of markup"),
    "b.docx": (docx(" " * (65 << 20)), "unpacks to more than 256 MB, or 64 MB of markup"),
    "c.docx": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "encrypted, or in a form of before 2007: save it anew without a password",
    ),
    "d.docx": (zipped(a=b"no document"), "damaged or no .docx"),
    "a.pptx": (b"PK\x03\x04 cut", "damaged: no archive that is whole"),
    "a.xlsx": (zipped(a=b"no workbook"), "damaged or no .xlsx"),
    "a.epub": (zipped(a=b"no book"), "damaged or no EPUB"),
    "a.ipynb": (b'{"cells": 3}', "damaged or no notebook"),
    "b.ipynb": (b"not JSON", "damaged or no notebook"),
    "a.txt": (b"\x00\x01\x80\xff" * 50, "not text"),
    "b.txt.gz": (gzip.compress(b"cut" * 100)[:-20], "damaged .gz"),
    "c.txt.gz": (gzip.compress(bytes(101 << 20)), "unpacks to more than 100 MB"),
    "a.doc": (b"old", ".doc: save it as .docx"),
    "a.png": (b"picture", ".png: no form of documents"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_file_that_cannot_be_read_has_a_reason_and_ends_nothing(tmp_path, name):
    content, reason = UNREAD[name]
    found = read(tmp_path, name, content)
    assert isinstance(found, Dropped)
    assert (found.record_id, found.reason, found.language) == (name, reason, "und")


def test_a_package_that_is_missing_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds.importlib.util, "find_spec", lambda package: None)
    for name in ("a.pdf", "a.docx", "a.rst"):
        found = read(tmp_path, name, b"anything")
        assert found.reason == f"{name[1:]}: install tamis[documents]"
    assert isinstance(read(tmp_path, "a.epub", epub("x")), Document)


def test_a_file_of_300_mb_is_left_out_unopened(tmp_path):
    with (tmp_path / "a.txt").open("wb") as stream:
        stream.truncate(300 << 20)
    (tmp_path / "zz.txt").write_text("beside")
    (left, _) = Corpus(tmp_path).documents("target")
    assert left == Dropped("a.txt", "larger than 100 MB", "und")


def test_a_file_that_grows_is_left_out(tmp_path, monkeypatch):
    file = tmp_path / "a.log"
    file.write_text("line\n")
    corpus = Corpus(tmp_path)
    once = os.fstat

    def growing(number):
        found = once(number)
        with file.open("a") as stream:
            stream.write("more\n")
        return found

    monkeypatch.setattr(texts.os, "fstat", growing)
    (left,) = corpus.documents("target")
    assert (left.record_id, left.reason) == ("a.log", "changed while it was read")


def test_a_file_that_may_not_be_read_or_is_gone_ends_nothing(tmp_path, monkeypatch):
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("text")
    corpus = Corpus(tmp_path)
    (tmp_path / "a.txt").unlink()
    real = Path.open

    def refusing(path, *arguments, **named):
        if path.name == "b.txt":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refusing)
    found = list(corpus.documents("target"))
    assert [each.reason for each in found[:2]] == ["cannot be read", "no permission to read it"]
    assert found[2].text == "text"


def test_nul_bytes_in_a_text_are_left_to_the_cleaning(tmp_path):
    assert read(tmp_path, "a.txt", b"a text with one \x00 in it").text == "a text with one \x00 in it"


def test_a_page_of_five_megabytes_in_one_line(tmp_path):
    page = "<p>" + ("wort " * 19 + "<b>fett</b> ") * 50_000
    assert len(page) > 5_000_000
    assert len(read(tmp_path, "a.html", page).text.split()) == 1_000_000


def test_a_damaged_file_of_any_form_gives_a_document_or_a_reason(tmp_path):
    for name in ("a.docx", "a.pptx", "a.xlsx", "a.epub", "a.pdf", "a.ipynb", "a.rst", "a.eml"):
        content = FILES[name][0]
        content = content() if callable(content) else content
        content = bytearray(content.encode() if isinstance(content, str) else content)
        for place in range(0, len(content), max(1, len(content) // 12)):
            broken = content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
            for damaged in (broken, content[:place]):
                found = read(tmp_path, name, bytes(damaged))
                assert isinstance(found, Document) or found.reason, (name, place)


def test_reasons_are_no_words_of_libraries():
    assert LeftOut("damaged", zlib.error("line\none")).detail == "line one"


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("a\n////\nb\n////\nc", "a\nc"),
        ("a\n////\n/////\nb\n////\nc", "a\nc"),  # a longer row of slashes does not close a block
        ("a\n////\nb", "a\n////\nb"),  # never closed: nothing behind it is lost
        ("a\n// b\nc // d\n/// e", "a\nc // d\n/// e"),
    ],
)
def test_comments_of_asciidoc_end_with_the_same_row_of_slashes(content, kept):
    assert read_asciidoc(content.encode()).text == kept


LONG = 200_000


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        (read_asciidoc, "\n".join("/" * length for length in range(4, 4 + int((8 * LONG) ** 0.5)))),
        (read_markdown, "# " + "<" * LONG),
        (read_markdown, "# " + "[" * LONG),
        (read_markdown, "# " + "![](" * (LONG // 4)),
        (read_markdown, "# " + "{#" * (LONG // 2)),
        (read_markdown, "# a" + " " * LONG + "b"),
        (read_markdown, "# " + "#" * LONG + "x"),
        (restructured._know, "\n" * LONG),
        (restructured._know, ":a" * (LONG // 2)),
    ],
    ids=["comments", "tags", "brackets", "pictures", "anchors", "spaces", "hashes", "blank lines", "colons"],
)
def test_marks_that_are_never_closed_take_no_longer_than_others(reader, content):
    """Where each mark looks for its end anew, time grows by a power of the length: minutes in place of milliseconds."""
    start = time.process_time()
    reader(content if reader is restructured._know else content.encode())
    assert time.process_time() - start < 3
