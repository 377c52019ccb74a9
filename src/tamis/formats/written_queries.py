"""Queries that somebody wrote about documents: rows of a query and the id of its document."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tamis.errors import InputError
from tamis.formats.fields import LANGUAGES, QUERY_IDS, QUERY_TEXTS, language_of, record_id, text_of
from tamis.formats.tables import check_new, rows, table_files

DOCUMENT_IDS: Final = ("document-id", "document_id", "doc_id", "docid", "corpus-id", "corpus_id")


class WrittenQuery(NamedTuple):
    """A query and the document that it was written about.

    Attributes:
        query_id: Its own id, or the number of its row from 1 where rows have no ids.
        document_id: The document.
        text: The query.
        language: A lower-case tag; `und` where the row does not say.
        kind: `question`, `keyword` ... as the row says; empty where it does not.
    """

    query_id: str
    document_id: str
    text: str
    language: str
    kind: str


def read_written_queries(path: Path) -> Iterator[WrittenQuery]:
    """Read written queries, in their order.

    Args:
        path: A `.tsv` or `.csv` with a header, a `.jsonl` or a `.parquet` file. A row holds the document's id in
            `document-id`, `document_id`, `doc_id` or `corpus-id`, the query in `query`, `text` or `question`, and may
            hold an id of its own (`_id`, `id`, `query_id`, `qid`), a language and a `kind`.

    Raises:
        InputError: Nothing to read, a row that is not understood (at the time it is reached), or an id that comes
            twice.
    """
    files = table_files(path)
    if not files:
        found = f"cannot read {path.suffix or 'a file without ending'}" if path.is_file() else "no such file"
        raise InputError(f"{path}: {found}; expected written queries in a .tsv, .csv, .jsonl or .parquet file")
    places: dict[str, tuple[Path, str]] = {}
    columns = {*QUERY_IDS, *DOCUMENT_IDS, *QUERY_TEXTS, *LANGUAGES, "kind"}
    for number, row in enumerate(rows(files, columns), 1):
        named = any(name in row.content for name in QUERY_IDS)
        query_id = record_id(row.content, row.where, QUERY_IDS) if named else str(number)
        check_new(query_id, row, places)
        text = text_of(row.content, row.where, QUERY_TEXTS)
        if not text.strip():
            raise InputError(f"{row.where}: query {query_id!r} is empty; write it or remove the row")
        document_id = record_id(row.content, row.where, DOCUMENT_IDS)
        kind = str(row.content.get("kind") or "")
        yield WrittenQuery(query_id, document_id, text, language_of(row.content, row.where), kind)
    if not places:
        raise InputError(f"{path}: no queries in it; expected rows of document-id and query")
