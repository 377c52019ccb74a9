"""Queries that somebody wrote about documents, from any form of rows: the id of the document, and the query."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tamis.errors import InputError
from tamis.formats.fields import LANGUAGES, checked_text, language_of, record_id, text_of
from tamis.formats.lines import ending
from tamis.formats.tables import Row, check_new, column_names, line_rows, rows, table_files
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.text import clip

OWN_IDS: Final = ("_id", "id", "query-id", "query_id", "qid")
DOCUMENT_IDS: Final = (
    "document-id",
    "document_id",
    "doc-id",
    "doc_id",
    "docid",
    "corpus-id",
    "corpus_id",
    "passage-id",
    "passage_id",
)
TEXTS: Final = ("query", "text", "question")
KIND: Final = "kind"
LINES_ARE_ROWS: Final = ".tsv"
"""Ending of tables of which every line is a row, whatever quotes stand in it."""

_OF_A_DOCUMENT: Final = "document-id (or document_id, doc_id, docid, corpus-id, passage_id)"


class WrittenQuery(NamedTuple):
    """A query as its file has it.

    Attributes:
        query_id: Its own id, or its number among the rows from 1 where it has none.
        document_id: The document that it is about.
        text: The query.
        language: A lower-case tag; empty where the file does not say.
        kind: What kind of query it is called, for instance `keyword`; empty where the file does not say.
    """

    query_id: str
    document_id: str
    text: str
    language: str
    kind: str


def read_written_queries(path: Path) -> Iterator[WrittenQuery]:
    """Read queries that were written about documents, in their order.

    Args:
        path: Rows (see `table_files`; a `.tsv` or `.csv` begins with a header) with the id of a document under one of
            the names in `DOCUMENT_IDS` and the query under one of those in `TEXTS`; if you like with an id of the
            query's own (`OWN_IDS`), `kind`, and a language as documents have it.

    Raises:
        InputError: Nothing to read, a line or row that is not understood or holds no query (at the time it is reached),
            or an id that comes twice.
    """
    places: dict[str, tuple[Path, str]] = {}
    numbered: dict[str, str] = {}
    for number, row in enumerate(_rows(written_query_files(path)), 1):
        query = _written(row, number)
        _check_number(query.query_id, row, numbered, places)
        check_new(query.query_id, row, places)
        yield query
    if not places:
        raise InputError(
            f"{path}: no queries in it; expected rows with document-id and query, in a .tsv or .csv below a "
            "header of these names"
        )


def written_query_files(path: Path) -> list[Path]:
    """The files of rows that a path of written queries stands for; none is opened.

    Raises:
        InputError: Nothing there that can be read.
    """
    files = table_files(path)
    if not files:
        found = "no tables in this folder" if path.is_dir() else "no such file"
        found = f"cannot read {path.suffix or 'a file without ending'}" if path.is_file() else found
        raise InputError(
            f"{path}: {found}; expected written queries, rows with document-id and query in a .tsv, .csv, .jsonl or "
            ".parquet file"
        )
    return files


def _rows(files: Sequence[Path]) -> Iterator[Row]:
    """Rows of all files; of a `.tsv` every line is one, see `line_rows`."""
    columns = {*OWN_IDS, *DOCUMENT_IDS, *TEXTS, *LANGUAGES, KIND}
    for file in files:
        _check_columns(file)
        yield from line_rows(file) if ending(file) == LINES_ARE_ROWS else rows([file], columns)


def _check_columns(file: Path) -> None:
    """A table that names its columns has to have those that are needed; other files are told row by row."""
    names = column_names(file)
    if names is not None and not all(set(names) & set(needed) for needed in (DOCUMENT_IDS, TEXTS)):
        raise InputError(
            f"{file}: its columns are {clip(', '.join(names) or 'none', 120)}; expected the id of a document in "
            f"{_OF_A_DOCUMENT} and its query in query (or text, question)"
        )


def _check_number(query_id: str, row: Row, numbered: dict[str, str], places: Mapping[str, object]) -> None:
    """Refuse an id that is the number of a row without one, which would be called the same."""
    if _own_id(row) is None:
        numbered[query_id] = row.where
    if query_id in places and query_id in numbered:
        raise InputError(
            f"{numbered[query_id]}: it has no id and is called by its number, {query_id}, which is the id of another "
            "row; give it an id of its own"
        )


def _own_id(row: Row) -> object:
    """What stands where a query's own id may stand; None for nothing."""
    own = next((row.content[name] for name in OWN_IDS if name in row.content), None)
    return None if own == "" else own


def _written(row: Row, number: int) -> WrittenQuery:
    content, where = row.content, row.where
    if not any(name in content for name in DOCUMENT_IDS):
        raise InputError(
            f"{where}: it has {clip(', '.join(map(str, content)) or 'nothing', 60)}, expected the id of a document in "
            f"a field {_OF_A_DOCUMENT} beside the query; begin a .tsv or .csv with a header"
        )
    query_id = str(number) if _own_id(row) is None else record_id(content, where, OWN_IDS)
    text, language = text_of(content, where, TEXTS), language_of(content, where)
    if not text.strip():
        raise InputError(f"{where}: query {query_id!r} is empty; write it or remove the row")
    kind = content.get(KIND)
    return WrittenQuery(
        query_id,
        record_id(content, where, DOCUMENT_IDS),
        text,
        "" if language == UNKNOWN_LANGUAGE else language,
        "" if kind is None else " ".join(checked_text(kind, KIND, where).split()),
    )
