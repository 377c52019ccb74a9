"""The questions of long documents, and what their check refuses."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tamis.records import Document

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TEXT = "filler " * 250 + "The daemon is restarted\nby the scheduler at midnight. " + "more filler " * 9
QUOTE = "The daemon is restarted by the scheduler at midnight."


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("long_corpus")


def test_a_row_is_refused_for_what_is_wrong_with_it(corpus):
    documents = {"en/a.md": Document("en/a.md", TEXT, "en"), "en/b.md": Document("en/b.md", QUOTE + " " + TEXT, "en")}
    rows = [
        corpus.Row(2, "en/a.md", "When does it start anew?", QUOTE),
        corpus.Row(3, "en/c.md", "Who wakes it?", QUOTE),
        corpus.Row(4, "en/a.md", "Who stops it?", "nobody stops it"),
        corpus.Row(5, "en/b.md", "Who starts it?", QUOTE),
        corpus.Row(6, "en/a.md", "What is full of it?", "filler"),
        corpus.Row(7, "en/b.md", "What stands first?", QUOTE + " filler"),
        corpus.Row(8, "en/a.md", "Is the daemon restarted by the scheduler?", QUOTE),
    ]
    told = list(corpus.complaints(rows, documents, lambda text: len(text.split())))
    assert [line.partition(": ")[2] for line in told] == [
        "no document en/c.md",
        "the quote is 0 times in en/a.md, expected once",
        "the quote is 2 times in en/b.md, expected once",
        "the quote is 259 times in en/a.md, expected once",
        "the quote begins after 0 tokens of en/b.md, expected at least 200",
        "100% of the question's words stand in the quote, at most 75%",
    ]
    assert told[0].startswith("long_documents.tsv, line 3: ")


def test_a_question_is_asked_once(corpus):
    documents = {"en/a.md": Document("en/a.md", TEXT, "en")}
    rows = [corpus.Row(number, "en/a.md", "When does it start anew?", QUOTE) for number in (2, 3)]
    assert [line.endswith("asked 2 times, expected once") for line in corpus.complaints(rows, documents, len)] == [1, 1]


def test_the_table_holds_whole_rows_in_six_languages(corpus):
    rows = corpus.read_rows(corpus.QUESTIONS)
    assert len(rows) >= 120
    assert len({row.question for row in rows}) == len(rows)
    assert {row.path.split("/")[0] for row in rows} == set(corpus.LANGUAGES.values())
    assert all(row.question.strip() and row.quote.strip() for row in rows)
    assert max(corpus.repeated(row) for row in rows) <= corpus.REPEATED
