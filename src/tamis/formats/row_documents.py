"""Rows as documents: of a file that a recipe names, where each must be one, and of tables among other files."""

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError
from tamis.formats import training_files
from tamis.formats.fields import (
    DOCUMENT_FIELDS,
    IDS,
    TEXTS,
    TITLE,
    Content,
    Names,
    Unseen,
    checked_text,
    language_of,
    record_id,
    renamed,
    text_of,
    titled_text,
)
from tamis.formats.folder import Found, left_out
from tamis.formats.json_rows import inner_rows
from tamis.formats.lines import ending
from tamis.formats.tables import Row, check_new, rows_or_errors
from tamis.formats.web_page import read_page
from tamis.records import Document, Dropped
from tamis.text import one_line

_CLIPPED: Final = 200  # characters of what is known of something left out
_UNDERSTOOD: Final = "row not understood"


def columns_of(names: Names) -> Collection[str]:
    """Columns of a table from which documents are read; the others stay unread."""
    return {*DOCUMENT_FIELDS, *training_files.FIELDS, *names.columns}


def documents_of(found: Iterator[Row], file: Path, origin: str, names: Names) -> Iterator[Document]:
    """Documents of rows each of which must be one.

    Args:
        found: The rows.
        file: The first that they come from, for messages.
        origin: `target` or `general`; a general one may be a training file, whose passages are the documents.
        names: What the user calls the fields.

    Raises:
        InputError: No row, a row that is not understood, an id that comes twice, or a name that no row has.
    """
    first = next(found, None)
    if first is None:
        wanted = "one JSON object a line" if ending(file) == ".jsonl" else "at least one row"
        raise InputError(f"{file}: no documents in it; expected {wanted}")
    form = None if names.text else training_files.form_of(first.content)
    found = itertools.chain([first], found)
    if form is None:
        yield from _plain(found, file, origin, names)
    elif origin == "general":
        yield from _passages(found, form)
    else:
        raise InputError(
            f"{first.where}: a training file ({form.name}), expected documents with id and text; a corpus to adapt to "
            "brings no queries, name the file under corpus.general instead"
        )


def read_table(found: Found, origin: str, names: Names, unseen: Unseen) -> Iterator[Document | Dropped]:
    """Documents of a table that lies among other files, whose ids begin with its path.

    Args:
        found: The table.
        origin: `target` or `general`.
        names: What the user calls the fields. A row without an id is called by its number.
        unseen: Told of each row.

    Yields:
        Documents, and what could not be read: rows one by one, or all of a table whose first row holds no text.
    """
    number = 0
    try:
        for given in _table(found, origin, names, unseen):
            number += 1
            yield given
    except InputError as error:
        reason = "damaged after some rows" if number else f"damaged or no {found.kind}"
        yield left_out(found.name, reason, str(error)[:_CLIPPED])
    else:
        if not number:
            yield left_out(found.name, "no rows in it")


def _table(found: Found, origin: str, names: Names, unseen: Unseen) -> Iterator[Document | Dropped]:
    ids: set[str] = set()
    for number, row in enumerate(_unwrapped(rows_or_errors(found.file, columns_of(names)), names), 1):
        if isinstance(row, InputError):
            yield left_out(f"{found.name}, row {number}", _UNDERSTOOD, str(row)[:_CLIPPED])
            continue
        unseen.look(row.content)
        content = renamed(row.content, names)
        if number == 1 and not any(name in content for name in TEXTS):
            fields = ", ".join(map(str, row.content))
            yield left_out(
                found.name, f"{found.kind}: no field with text, name it under corpus.fields", fields[:_CLIPPED]
            )
            return
        yield _of_table(content, row, number, found, origin, names, ids)


def _of_table(
    content: Content, row: Row, number: int, found: Found, origin: str, names: Names, ids: set[str]
) -> Document | Dropped:
    try:
        own = record_id(content, row.where) if any(name in content for name in IDS) else str(number)
        document = _document(content, row.where, f"{found.name}/{own}", origin, names, found.name)
    except InputError as error:
        return left_out(f"{found.name}, {row.place}", _UNDERSTOOD, str(error)[:_CLIPPED])
    if own in ids:
        return left_out(f"{found.name}, {row.place}", "id comes twice in its table", own)
    ids.add(own)
    return document


def _unwrapped(found: Iterator[Row | InputError], names: Names) -> Iterator[Row | InputError]:
    """Rows, and in the place of one that only wraps others these."""
    for row in found:
        inner = [] if isinstance(row, InputError) else _inner(row, names)
        if inner and isinstance(row, Row):
            yield from (Row(row.file, f"{row.place}, entry {n}", content) for n, content in enumerate(inner, 1))
        else:
            yield row


def _inner(row: Row, names: Names) -> list[dict[str, Any]]:
    has_text = any(name in renamed(row.content, names) for name in TEXTS)
    return [] if has_text or training_files.form_of(row.content) else inner_rows(row.content)


def _plain(found: Iterator[Row], file: Path, origin: str, names: Names) -> Iterator[Document]:
    places: dict[str, tuple[Path, str]] = {}
    unseen = Unseen(names)
    for row in _unwrapped(found, names):
        assert isinstance(row, Row)  # errors are raised where these come from
        unseen.look(row.content)
        content = renamed(row.content, names)
        doc_id = record_id(content, row.where)
        check_new(doc_id, row, places)
        yield _document(content, row.where, doc_id, origin, names, "")
    unseen.check(str(file))


def _document(content: Content, where: str, doc_id: str, origin: str, names: Names, path: str) -> Document:
    text = text_of(content, where)
    if "html" in names.text.rpartition(".")[2].lower():
        content = {**content, TEXTS[0]: read_page(text).text}
    title = checked_text(content[TITLE], TITLE, where) if content.get(TITLE) is not None else ""
    return Document(doc_id, titled_text(content, where), language_of(content, where), origin, one_line(title), path)


def _passages(found: Iterator[Row], form: training_files.Form) -> Iterator[Document]:
    seen: set[str] = set()
    for example in training_files.examples(found, form):
        for passage in example.passages:
            if passage.doc_id not in seen:
                seen.add(passage.doc_id)
                yield Document(passage.doc_id, passage.text, example.language, "general")
