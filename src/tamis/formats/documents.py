"""Documents from whatever path a recipe names; the form is told from the path, in one place."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tamis.errors import InputError
from tamis.formats.apart import ReaderApart
from tamis.formats.beir import beir_file
from tamis.formats.fields import USUAL, Names, Unseen
from tamis.formats.folder import EVERYTHING, QUESTIONS, Choice, Folder, holds_questions, list_folder
from tamis.formats.kinds import is_foreign
from tamis.formats.row_documents import columns_of, documents_of, read_table
from tamis.formats.tables import rows, table_files
from tamis.formats.texts import read_file
from tamis.records import Document, Dropped

_ABOUT_THE_DATA: Final = ("README", "LICENSE")
_READABLE: Final = "a .jsonl, .json, .csv, .tsv or .parquet file"


class Corpus:
    """The documents of one input: a file or folder of rows, in which each row must be understood, or a folder of files.

    Attributes:
        folder: What lies in the folder of files; none for rows.
        files: The files that are read, in their order; at least one.
    """

    def __init__(self, path: Path, choice: Choice = EVERYTHING, names: Names = USUAL) -> None:
        """Find its files; none is opened.

        Args:
            path: A BEIR folder (only its `corpus.jsonl` is opened); a `.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet`
                file; a folder of nothing but `.parquet` files, of which those of questions and judgements stay unread;
                a folder that `datasets` wrote by `save_to_disk`; or any other folder, whose files are read one by one,
                see `list_folder`. Lines may be compressed (`.gz`, `.zst`); a file of rows is in UTF-8. A row holds
                `_id`, `id`, `doc_id` or `docid`, then `text`, `contents`, `content` or `body`, and may hold `title` and
                a language in `metadata.lang`, `lang` or `language`.
            choice: Which files of a folder to read.
            names: What the fields of rows are called, where they are called otherwise.

        Raises:
            InputError: Nothing to read.
        """
        self._path, self._names = path, names
        tables, self._questions = _files_of_rows(path)
        self.folder: Folder | None = None if tables else list_folder(path, choice)
        self.files = tables if self.folder is None else [found.file for found in self.folder.files]
        if not self.files:
            raise InputError(f"{path}: nothing to read in this folder; {_why(self.folder)}")

    def documents(self, origin: str) -> Iterator[Document | Dropped]:
        """Read the documents, one at a time.

        Args:
            origin: `target` or `general`. A general input may be a training file (see `training_files`), whose passages
                are the documents, each once, with the hash of its text for an id.

        Returns:
            Documents in the order of the file, or sorted by path. The title becomes the first line of the text; the
            language is lower-case, `und` where none is given. Of a folder also what was left out of it. In a folder of
            files the id of a document is its path, or path and id of its row.

        Raises:
            InputError: Of rows: one that is not understood (at the time it is reached), or an id that comes twice. A
                name of a field that no row has.
        """
        if self.folder is None:
            found = rows(self.files, columns_of(self._names))
            return itertools.chain(self._questions, documents_of(found, self.files[0], origin, self._names))
        return _of_folder(self.folder, str(self._path), origin, self._names)


def read_documents(path: Path, origin: str) -> Iterator[Document]:
    """The documents of an input without what was left out of it; see `Corpus`.

    Raises:
        InputError: Nothing to read, or see `Corpus.documents`.
    """
    found = Corpus(path).documents(origin)
    return (document for document in found if isinstance(document, Document))


def document_files(path: Path) -> list[Path]:
    """The files that hold the documents of an input and nothing beside them: questions may lie in the same folder.

    Raises:
        InputError: Nothing there that can be read.
    """
    return Corpus(path).files


def _files_of_rows(path: Path) -> tuple[list[Path], list[Dropped]]:
    """The files of an input of rows, none for a folder of files; and the questions that lie unread beside tables."""
    if path.is_dir():
        corpus = beir_file(path, "corpus")
        return ([corpus], []) if corpus else _tables_alone(path, table_files(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected a folder of documents, or {_READABLE} of texts")
    files = table_files(path)
    if not files:
        raise InputError(
            f"{path}: cannot read {path.suffix or 'a file without ending'} alone; expected {_READABLE}, or a folder of "
            "documents of any form"
        )
    return files, []


def _tables_alone(folder: Path, tables: list[Path]) -> tuple[list[Path], list[Dropped]]:
    """The tables of documents in a folder that holds nothing else but questions and what says what they are."""
    if not tables or tables[0].suffix == ".arrow":
        return tables, []
    found = list_folder(folder)
    others = [one for one in found.files if one.kind != tables[0].suffix]
    if any(one.file.stem.upper() not in _ABOUT_THE_DATA for one in others):
        return [], []
    questions = [unread for unread in found.left_out if unread.reason == QUESTIONS]
    return [file for file in tables if not holds_questions(file.relative_to(folder).as_posix())], questions


def _why(folder: Folder | None) -> str:
    """What lies in a folder of which nothing is read, by how much of it there is."""
    counts = Counter(dropped.reason for dropped in folder.left_out) + folder.skipped if folder else Counter()
    found = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common(8))
    return f"it holds {found}" if found else "it is empty"


def _of_folder(folder: Folder, path: str, origin: str, names: Names) -> Iterator[Document | Dropped]:
    yield from folder.left_out
    unseen = Unseen(names)
    with ReaderApart() as apart:
        for found in folder.files:
            if found.rows:
                yield from read_table(found, origin, names, unseen)
            elif is_foreign(found.kind):
                yield apart.read(found, origin)
            else:
                yield read_file(found, origin)
    unseen.check(path)
