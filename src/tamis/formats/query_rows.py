"""Rows that hold a query each: tables with a header, topics without one, lines of text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tamis.errors import InputError
from tamis.formats.fields import LANGUAGES, QUERY_IDS, QUERY_TEXTS, shown
from tamis.formats.folder import tables_of_queries
from tamis.formats.lines import ending, filled_lines, objects
from tamis.formats.tables import Row, line_rows, rows, table_files

LINES: Final = ".txt"
"""Ending of files that hold a query a line and nothing else."""

_TABLES: Final = (".csv", ".parquet", ".arrow")


def query_tables(path: Path) -> list[Path]:
    """The files of rows that a path of queries stands for, see `table_files`; of a folder without its documents.

    Raises:
        InputError: See there.
    """
    files = table_files(path)
    return tables_of_queries(path, files) if path.is_dir() else files


def query_rows(files: Sequence[Path]) -> Iterator[Row]:
    """Read files of queries, one after the other; blank lines are passed over.

    Args:
        files: Files of rows, see `table_files`; a `.tsv` that begins with two cells of which none is called as ids or
            texts of queries are has no header and holds id and text, as the topics of MS MARCO and MIRACL do. Or
            `.txt` files (also compressed), a query a line.

    Yields:
        Rows with `text`, and with `_id` where the file has ids; or with the fields that a header names.

    Raises:
        InputError: A file that cannot be read, or a line or row that is not understood.
    """
    for file in files:
        if ending(file) == LINES:
            yield from _lines(file)
        elif ending(file) == ".tsv" and _without_header(file):
            yield from _topics(file)
        else:
            yield from rows([file], {*QUERY_IDS, *QUERY_TEXTS, *LANGUAGES})


def told_rows(file: Path) -> Iterator[Row]:
    """Read a file of queries whose form its first line tells, whatever it is called.

    Args:
        file: JSON objects, id and text between a tab (or a header and more cells), or a query a line; a table that is
            no text by its ending.

    Raises:
        InputError: A file that cannot be read, or a line or row that is not understood.
    """
    _, first = next(filled_lines(file), (0, "")) if ending(file) not in _TABLES else (0, "")
    if ending(file) in _TABLES:
        yield from query_rows([file])
    elif first.lstrip().startswith("{"):
        yield from (Row(file, f"line {number}", content) for number, content in objects(file))
    elif "\t" in first:
        yield from _topics(file) if _without_header(file) else line_rows(file)
    else:
        yield from _plain(file)


def _plain(file: Path) -> Iterator[Row]:
    for number, line in filled_lines(file):
        if "\t" in line:
            raise InputError(
                f"{file}, line {number}: got {shown(line)} with a tab, the first line has none; expected a query "
                "a line, or id and query between a tab on every line"
            )
        yield Row(file, f"line {number}", {"text": line})


def _lines(file: Path) -> Iterator[Row]:
    for place, (number, line) in enumerate(filled_lines(file)):
        if place == 0 and "\t" in line:
            raise InputError(
                f"{file}, line {number}: got {shown(line)} with a tab, expected a query a line and nothing else; "
                "call a file of ids and queries .tsv"
            )
        yield Row(file, f"line {number}", {"text": line})


def _without_header(file: Path) -> bool:
    _, line = next(filled_lines(file), (0, ""))
    cells = [cell.strip().strip('"') for cell in line.split("\t")]
    return len(cells) == 2 and not {*QUERY_IDS, *QUERY_TEXTS} & set(cells)


def _topics(file: Path) -> Iterator[Row]:
    """Id and text between a tab; quotes are the query's own."""
    for number, line in filled_lines(file):
        cells = line.split("\t")
        if len(cells) != 2:
            raise InputError(
                f"{file}, line {number}: got {len(cells)} cells ({shown(line)}), expected id and query between a "
                "tab, as on its first line; or give the file a header with text"
            )
        yield Row(file, f"line {number}", {"_id": cells[0].strip(" "), "text": cells[1]})
