"""What made-up bytes are fed to: every reader of files and the body of every dialect.

A target takes bytes and returns, or raises only what the user is told in a line; anything else is a fault.
"""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tamis.errors import TamisError
from tamis.formats.batch_answers import check_answers
from tamis.formats.evaluation_sets import read_evaluation_texts
from tamis.formats.fields import USUAL
from tamis.formats.file_text import FileText, LeftOut
from tamis.formats.kinds import _IN_MODULES, _READERS, reader_of
from tamis.formats.prompt_files import read_style
from tamis.formats.qrels import grades_of, read_qrels
from tamis.formats.queries import read_query_log
from tamis.formats.row_documents import columns_of, documents_of
from tamis.formats.tables import rows, rows_or_errors
from tamis.formats.training_files import read_examples
from tamis.formats.trec import read_run
from tamis.formats.written_queries import read_written_queries
from tamis.serving.app import _parsed
from tamis.serving.dialects.choosing import PATHS, choose
from tamis.serving.request import RefusedError
from tests.formats.made_files import docx, eml, epub, paragraph, pdf, pptx_file, xlsx_file
from tests.serving.test_wrong_bodies import GOOD

Target = Callable[[bytes], object]

MEMORY = Path("/dev/shm")
_FOLDER = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix=f"fuzz-{os.getpid()}-")


def of_form(kind: str) -> Target:
    """The reader of one ending; what a foreign library raises on a damaged file is told as that."""
    foreign = kind in _IN_MODULES

    def read(raw: bytes) -> None:
        try:
            found = reader_of(kind)(raw)
            assert isinstance(found, FileText)
            found.text.encode()
        except LeftOut:
            pass
        except Exception:
            if not foreign:
                raise

    return read


def of_file(name: str, read: Callable[[Path], object]) -> Target:
    """A reader of a path, which is given a file of that name."""
    file = Path(_FOLDER.name) / name

    def fed(raw: bytes) -> None:
        file.write_bytes(raw)
        with suppress(TamisError):
            read(file)

    return fed


def of_body(path: str) -> Target:
    """A body that is sent to one of the server's paths."""

    def fed(raw: bytes) -> None:
        with suppress(RefusedError):
            body = _parsed(raw)
            choose(path, body).asked(body)

    return fed


def _documents(file: Path) -> None:
    list(documents_of(rows([file], columns_of(USUAL)), file, "target", USUAL))
    list(rows_or_errors(file, columns_of(USUAL)))


FORMS = list({reader: kind for kind, reader in [*reversed(_READERS.items()), *reversed(_IN_MODULES.items())]}.values())
"""The first ending of each reader."""

TABLES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz")
TARGETS: dict[str, Target] = {
    **{f"form{kind}": of_form(kind) for kind in FORMS},
    **{f"rows{ending}": of_file(f"rows{ending}", _documents) for ending in TABLES},
    **{
        f"training{ending}": of_file(f"training{ending}", lambda file: list(read_examples(file)))
        for ending in (".jsonl", ".csv", ".parquet")
    },
    "qrels": of_file("test.tsv", lambda file: grades_of(read_qrels(file), file)),
    "run": of_file("run.trec", read_run),
    "log.txt": of_file("log.txt", lambda file: list(read_query_log(file))),
    "log.tsv": of_file("log.tsv", lambda file: list(read_query_log(file))),
    "written.tsv": of_file("written.tsv", lambda file: list(read_written_queries(file))),
    "written.jsonl": of_file("written.jsonl", lambda file: list(read_written_queries(file))),
    "evaluation": of_file("questions.jsonl", read_evaluation_texts),
    "style": of_file("style.txt", read_style),
    "answers": of_file("answers.jsonl", check_answers),
    **{f"body{path.replace('/', '-')}": of_body(path) for path in PATHS},
}

_ROW = json.dumps({"_id": "d1", "title": "T", "text": "one", "metadata": {"lang": "de"}}).encode()
_TRAINING = json.dumps({"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [1.0], "neg_scores": [0.5]}).encode()
_HEADER = b"id,text,title\n1,one,T\n"
SEEDS: dict[str, list[bytes]] = {
    "form.pdf": [pdf(["one page"], "Title")],
    "form.docx": [docx(paragraph("text"), "Title")],
    "form.pptx": [pptx_file()],
    "form.xlsx": [xlsx_file()],
    "form.epub": [epub("<h1>One</h1><p>text")],
    "form.eml": [eml("subject", "text"), eml("subject", "", "<p>text")],
    "form.ipynb": [json.dumps({"cells": [{"cell_type": "markdown", "source": ["# T"]}], "metadata": {}}).encode()],
    "form.html": [b"<title>T</title><h1>one</h1><p hidden>no<pre>x</pre><table><tr><td>a"],
    "form.md": [b"---\ntitle: T\n---\n# One\n```\nx\n```\n"],
    "form.rst": [b"Title\n=====\n\n.. note:: one\n"],
    "form.tex": [b"\\documentclass{article}\\title{T}\\begin{document}\\section{One} $x$\\end{document}"],
    "form.adoc": [b"= Title\n\n== One\n----\nx\n----\n"],
    "rows.csv": [_HEADER],
    "rows.tsv": [_HEADER.replace(b",", b"\t")],
    "rows.json": [b"[" + _ROW + b"]", b'{"pages": [' + _ROW + b"]}"],
    "training.csv": [b"anchor,positive,negative\na,b,c\n"],
    "qrels": [b"query-id\tcorpus-id\tscore\nq\td\t1\n", b"q 0 d 1\n"],
    "run": [b"q Q0 d 1 2.5 tag\n"],
    "log.txt": [b"how to print\n"],
    "log.tsv": [b"1\thow to print\n"],
    "written.tsv": [b"document-id\tquery\nd\twhat\n"],
    "written.jsonl": [b'{"doc_id": "d", "query": "what", "lang": "de"}\n'],
    "answers": [b'{"custom_id": "a", "response": {"body": {"choices": [{"message": {"content": "x"}}]}}}\n'],
    "style": [b"how to print\n"],
    **{name: [json.dumps(GOOD).encode()] for name in TARGETS if name.startswith("body")},
}
SEEDS |= {name: [_ROW + b"\n"] for name in ("rows.jsonl", "evaluation")} | {"training.jsonl": [_TRAINING + b"\n"]}
"""Well-made inputs that a search begins with."""
