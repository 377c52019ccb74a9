"""Files that a reader hangs on, swells on or dies of are told, and those after them are read."""

import pytest

from tamis.formats import apart
from tamis.formats.apart import ReaderApart
from tamis.formats.documents import Corpus
from tamis.formats.folder import list_folder
from tamis.formats.texts import read_file
from tamis.records import Document, Dropped
from tests.formats.made_files import docx, eml, paragraph, pdf

START = """
import os, sys, time
from tamis.formats import apart, texts
from tamis.formats.file_text import FileText

def read(raw):
    if raw == b"spins":
        while True: pass
    if raw == b"waits": time.sleep(60)
    if raw == b"swells": bytearray(2 * apart.MEMORY)
    if raw == b"dies": os.kill(os.getpid(), 9)
    return FileText(raw.decode(), "")

apart.SECONDS = 1
texts.reader_of = lambda kind: read
apart.answer(int(sys.argv[1]))
"""


@pytest.fixture
def odd_readers(monkeypatch):
    monkeypatch.setattr(apart, "_START", START)
    monkeypatch.setattr(apart, "SECONDS", 1)


@pytest.mark.parametrize(
    ("content", "patience", "reason"),
    [
        (b"spins", 60, "took longer than 1 s"),
        (b"waits", 2, "took longer than 0 minutes"),
        (b"swells", 60, "takes too much memory"),
        (b"dies", 60, "its reader ended"),
    ],
)
def test_a_file_that_no_reader_gets_through_is_told_and_the_next_one_read(
    tmp_path, odd_readers, monkeypatch, content, patience, reason
):
    monkeypatch.setattr(apart, "PATIENCE", patience)
    (tmp_path / "a.pdf").write_bytes(content)
    (tmp_path / "b.pdf").write_bytes(b"well")
    first, second = Corpus(tmp_path).documents("target")
    assert isinstance(first, Dropped)
    assert (first.record_id, first.reason) == ("a.pdf", reason)
    assert isinstance(second, Document)
    assert second.text == "well"


def test_what_is_read_apart_is_what_is_read_here(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(["one page"], "Title"))
    (tmp_path / "b.docx").write_bytes(docx(paragraph("Text \u200c \U0001f469")))
    (tmp_path / "c.eml").write_bytes(eml("S", "a mail"))
    (tmp_path / "d.docx").write_bytes(b"no document")
    found = list_folder(tmp_path).files
    with ReaderApart() as reader:
        assert [reader.read(one, "target") for one in found] == [read_file(one, "target") for one in found]


def test_nothing_is_started_for_texts_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(apart.subprocess, "Popen", lambda *_, **__: pytest.fail("a process is started"))
    (tmp_path / "a.txt").write_text("text")
    assert len(list(Corpus(tmp_path).documents("target"))) == 1
