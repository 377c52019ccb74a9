"""Relevance judgements: BEIR's tab-separated files and TREC's four columns, read in one place."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tamis.errors import InputError
from tamis.formats.lines import columns_of, filled_lines
from tamis.text import quoted

_ENDINGS: Final = (".tsv", ".tsv.gz", ".tsv.zst")
_HEADER: Final = ["query-id", "corpus-id", "score"]
_GRADE: Final = re.compile(r"[+-]?\d{1,9}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """How relevant a document is for a query.

    Attributes:
        query_id: The query.
        doc_id: The document.
        grade: Above 0 is relevant; TREC marks junk below 0.
        line: Where it stands in its file, from 1.
    """

    query_id: str
    doc_id: str
    grade: int
    line: int


def qrels_files(folder: Path) -> dict[str, Path]:
    """The files of judgements of a BEIR folder by split, sorted: `qrels/SPLIT.tsv`, else compressed; no hidden ones."""
    found = {
        file.name.removesuffix(ending): file
        for ending in reversed(_ENDINGS)  # the plain file last, so that it counts
        for file in (folder / "qrels").glob(f"*{ending}")
        if file.is_file() and not file.name.startswith(".")  # as archives of macOS leave them beside each file
    }
    return dict(sorted(found.items()))


def read_qrels(file: Path) -> Iterator[Judgement]:
    """Read judgements, a line at a time.

    Args:
        file: BEIR's `query-id`, `corpus-id` and `score` between tabs, with or without that header, or TREC's query id,
            iteration, document id and grade between white space. Lines may be compressed (`.gz`, `.zst`).

    Raises:
        InputError: A line that is neither, or another header, named by its number.
    """
    for number, line in filled_lines(file):
        columns = line.split("\t")
        if len(columns) != 3 and 4 in (
            len(columns),
            len(columns_of(line)),
        ):  # TREC's; between tabs, ids may hold spaces
            query_id, _, doc_id, grade = columns if len(columns) == 4 else columns_of(line)
            columns = [query_id, doc_id, grade]
        if number == 1 and len(columns) == 3 and not _GRADE.fullmatch(columns[2].strip()):
            if columns[2].strip() != _HEADER[2] or columns[0].strip() == _HEADER[1]:
                raise InputError(f"{file}, line 1: the header is {quoted(line)}, expected {' '.join(_HEADER)}")
            continue
        if len(columns) != 3 or not _GRADE.fullmatch(columns[2].strip()):
            raise InputError(
                f"{file}, line {number}: expected query-id, corpus-id and a whole number between tabs, "
                f"got {quoted(line)}"
            )
        # Stripped here too: int() takes fewer characters for white space than strip() does.
        yield Judgement(columns[0], columns[1], int(columns[2].strip()), number)


def grades_of(judgements: Iterable[Judgement], file: Path) -> dict[str, dict[str, int]]:
    """Grade of each judged document by query id and document id; what is said twice counts once.

    Raises:
        InputError: A document that has two grades for a query.
    """
    places: dict[tuple[str, str], int] = {}
    grades: dict[str, dict[str, int]] = {}
    for each in judgements:
        first = places.setdefault((each.query_id, each.doc_id), each.line)
        if first != each.line and grades[each.query_id][each.doc_id] != each.grade:
            raise InputError(
                f"{file}, line {each.line}: document {each.doc_id!r} is judged for query {each.query_id!r} on line "
                f"{first} too, with another grade; remove one of them"
            )
        grades.setdefault(each.query_id, {})[each.doc_id] = each.grade
    return grades


def has_relevant(judged: Mapping[str, int]) -> bool:
    """Whether a document is relevant, by the grades of a query's documents."""
    return any(grade > 0 for grade in judged.values())


def write_qrels(file: Path, grades: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgements in TREC's form, with tabs between the columns."""
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for query_id, judged in grades.items():
            stream.writelines(f"{query_id}\t0\t{doc_id}\t{grade}\n" for doc_id, grade in judged.items())
