"""Given queries from whatever path a recipe names; the form is told from the path, in one place."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tamis.errors import InputError
from tamis.formats.beir import beir_file, judged_files, read_judged_queries
from tamis.formats.fields import QUERY_IDS, QUERY_TEXTS, language_of, record_id, text_of
from tamis.formats.lines import ending
from tamis.formats.query_logs import CANDIDATES, daily_files
from tamis.formats.query_rows import LINES, query_rows, query_tables
from tamis.formats.tables import check_new, table_files
from tamis.formats.training_files import FORMS, read_examples


def read_given_queries(path: Path, splits: Sequence[str] = ("test",)) -> Iterator[tuple[str, str, str]]:
    """Read the queries that come with general documents. The queries of a target corpus are never read.

    Args:
        path: A BEIR folder with `queries.jsonl` and a `qrels/SPLIT.tsv` for each split, or a training file.
        splits: Splits of a BEIR folder whose judged queries are read; the others stay unread.

    Yields:
        Query id, text and the id of a relevant document: in the order of the qrels, or of the training file, there
        the relevant documents of a query by their scores.

    Raises:
        InputError: A file that is missing, or a line that is not understood.
    """
    if not _is_training_file(path):
        yield from read_judged_queries(path, splits)
        return
    for example in read_examples(path):
        relevant = [passage for passage in example.passages if passage.relevant]
        for passage in sorted(relevant, key=lambda passage: -(passage.score or 0)):
            yield example.query_id, example.query, passage.doc_id


def given_query_files(path: Path, splits: Sequence[str]) -> list[Path]:
    """The files, beside those of the documents, that hold the given queries; they need not be there.

    Raises:
        InputError: A file that can hold no queries.
    """
    return [] if _is_training_file(path) else judged_files(path, splits)


class LoggedQuery(NamedTuple):
    """A query as a log has it.

    Attributes:
        query_id: Its id in the log, or its number from 1 where the log has no ids.
        text: What was typed.
        language: A lower-case tag; `und` where the log does not say.
    """

    query_id: str
    text: str
    language: str


def read_query_log(path: Path, setting: str = "queries.logs", numbered: str = "") -> Iterator[LoggedQuery]:
    """Read queries that were typed and belong to no document, in their order.

    Args:
        path: A `.txt` file with a query a line; rows (see `table_files`) with `text`, `query` or `question`, if you
            like with `_id`, `id`, `query_id` or `qid`, and with a language as documents have it; or a `.tsv` without a
            header, whose lines hold id and text.
            Of the log of a server (`tamis serve --log-queries`), a folder or a file of it, each query is read once.
        setting: Setting or option that names it, for messages.
        numbered: Put before the number of a query whose log has no ids.

    Raises:
        InputError: Nothing to read, a line or row that is not understood (at the time it is reached), or an id that
            comes twice.
    """
    places: dict[str, tuple[Path, str]] = {}
    for number, row in enumerate(query_rows(query_log_files(path, setting)), 1):
        named = any(name in row.content for name in QUERY_IDS)
        query_id = record_id(row.content, row.where, QUERY_IDS) if named else f"{numbered}{number}"
        if CANDIDATES in row.content and query_id in places:
            continue  # a server's log has a line for each time that somebody asked
        check_new(query_id, row, places)
        yield LoggedQuery(query_id, text_of(row.content, row.where, QUERY_TEXTS), language_of(row.content, row.where))
    if not places:
        raise InputError(f"{path}: no queries in it; leave it out of {setting}")


def query_log_files(path: Path, setting: str = "queries.logs") -> list[Path]:
    """The files of a query log, which a setting or an option names; none is opened.

    Raises:
        InputError: Nothing there that can be read.
    """
    files = [path] if ending(path) == LINES and path.is_file() else query_tables(path) or daily_files(path)
    if not files:
        found = f"cannot read {path.suffix or 'a file without ending'}" if path.is_file() else "no such file"
        found = "no tables in this folder; of a BEIR folder name the file of queries" if path.is_dir() else found
        raise InputError(
            f"{path}: {found}; {setting} expects queries in a .txt (one a line), .jsonl, .csv, .tsv or .parquet file"
        )
    return files


def _is_training_file(path: Path) -> bool:
    if path.is_dir():
        return beir_file(path, "corpus") is None and beir_file(path, "queries") is None and bool(table_files(path))
    if not path.is_file() or table_files(path):
        return path.is_file()
    raise InputError(
        f"{path}: cannot hold queries; expected a BEIR folder or a training file "
        f"({', '.join(form.name for form in FORMS)}; .jsonl, .csv, .tsv or .parquet)"
    )
