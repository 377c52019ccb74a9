"""Documents from whatever path a recipe names; the form is told from the path, in one place."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tamis.errors import InputError
from tamis.formats import training_files
from tamis.formats.beir import beir_file
from tamis.formats.fields import DOCUMENT_FIELDS, language_of, record_id, titled_text
from tamis.formats.lines import ending
from tamis.formats.tables import Row, check_new, rows, table_files
from tamis.formats.texts import TEXTS, read_text_files, text_files
from tamis.records import Document

_ABOUT_THE_DATA: Final = ("README", "LICENSE")
_READABLE: Final = "a .jsonl, .csv, .tsv or .parquet file or a folder"


def read_documents(path: Path, origin: str) -> Iterator[Document]:
    """Read the documents of one input, as they are, one at a time.

    Args:
        path: A BEIR folder (only its `corpus.jsonl` is opened); a `.jsonl`, `.csv`, `.tsv` or `.parquet` file; a folder
            with `.parquet` files; a folder that `datasets` wrote by `save_to_disk`; or a folder of `.txt`, `.md` and
            `.html` files. Lines may be compressed (`.gz`, `.zst`); all text is UTF-8. A row holds `_id`, `id`, `doc_id`
            or `docid`, then `text`, `contents`, `content` or `body`, and may hold `title` and a language in
            `metadata.lang`, `lang` or `language`. The id of a text file is its path in the folder.
        origin: `target` or `general`. A general input may be a training file (see `training_files`), whose passages
            are the documents, each once, with the hash of its text for an id.

    Returns:
        Documents in the order of the file, or sorted by path. The title becomes the first line of the text; the
        language is lower-case, `und` where none is given.

    Raises:
        InputError: Nothing to read, a line or row that is not understood (at the time it is reached), or an id that
            comes twice.
    """
    files = document_files(path)
    if files[0].suffix.lower() in TEXTS:
        return read_text_files(path, files, origin)
    return _documents(rows(files, {*DOCUMENT_FIELDS, *training_files.FIELDS}), files[0], origin)


def document_files(path: Path) -> list[Path]:
    """The files that hold the documents of an input and nothing beside them: questions may lie in the same folder.

    Returns:
        At least one file, in the order in which they are read.

    Raises:
        InputError: Nothing there that can be read.
    """
    if path.is_dir():
        corpus = beir_file(path, "corpus")
        files = [corpus] if corpus else _of_one_kind(path, table_files(path), text_files(path))
        if not files:
            raise InputError(
                f"{path}: nothing to read; expected corpus.jsonl, .parquet files, a folder that datasets saved, or "
                ".txt, .md or .html files"
            )
        return files
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected a BEIR folder, {_READABLE} of texts")
    files = table_files(path)
    if not files:
        raise InputError(f"{path}: cannot read {path.suffix or 'a file without ending'}; expected {_READABLE}")
    return files


def _of_one_kind(folder: Path, tables: list[Path], texts: list[Path]) -> list[Path]:
    """Tables or texts; beside tables a text may only say what they are."""
    beside = [file for file in texts if file.stem.upper() not in _ABOUT_THE_DATA]
    if tables and beside:
        raise InputError(
            f"{folder}: holds tables ({tables[0].name}) and texts ({beside[0].name}); name a folder or file with one "
            "kind of documents"
        )
    return tables or texts


def _documents(found: Iterator[Row], file: Path, origin: str) -> Iterator[Document]:
    first = next(found, None)
    if first is None:
        wanted = "one JSON object a line" if ending(file) == ".jsonl" else "at least one row"
        raise InputError(f"{file}: no documents in it; expected {wanted}")
    form = training_files.form_of(first.content)
    found = itertools.chain([first], found)
    if form is None:
        yield from _plain_documents(found, origin)
    elif origin == "general":
        yield from _passages(found, form)
    else:
        raise InputError(
            f"{first.where}: a training file ({form.name}), expected documents with id and text; a corpus to adapt to "
            "brings no queries, name the file under corpus.general instead"
        )


def _plain_documents(found: Iterator[Row], origin: str) -> Iterator[Document]:
    places: dict[str, tuple[Path, str]] = {}
    for row in found:
        doc_id = record_id(row.content, row.where)
        check_new(doc_id, row, places)
        yield Document(doc_id, titled_text(row.content, row.where), language_of(row.content, row.where), origin)


def _passages(found: Iterator[Row], form: training_files.Form) -> Iterator[Document]:
    seen: set[str] = set()
    for example in training_files.examples(found, form):
        for passage in example.passages:
            if passage.doc_id not in seen:
                seen.add(passage.doc_id)
                yield Document(passage.doc_id, passage.text, example.language, "general")
