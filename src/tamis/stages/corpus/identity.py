"""What the documents of a corpus are to the keys of stages: the hashes of their files, and what is chosen of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tamis.artifacts import file_hash, item_key
from tamis.artifacts.inputs import input_hashes
from tamis.formats.beir import beir_file
from tamis.formats.documents import Corpus
from tamis.formats.folder import EVERYTHING, QUESTIONS, Choice, Folder
from tamis.formats.kinds import NO_FORM

_READING: Final = 1
"""Raised when the files of a folder are read otherwise than before; not of files of rows."""

_PAGES: Final = (".html", ".htm", ".xhtml", ".epub", ".eml")
"""Files that are read otherwise than before, so that folders with one of them get another key; no others do."""


def documents_hash(path: Path, choice: Choice = EVERYTHING) -> list[str]:
    """Hash of the documents of a corpus and of nothing beside them: questions may lie in the same folder.

    Args:
        path: As for `Corpus`, as `choice`.
        choice: Which files of a folder are read.
    """
    if not path.exists():
        return input_hashes([path], "corpus")
    corpus = Corpus(path, choice)
    if corpus.folder is not None:
        return [item_key(_READING, *_contents(corpus.folder))]
    hashes = input_hashes(corpus.files, "corpus")
    if not path.is_dir() or beir_file(path, "corpus"):
        return hashes
    return [item_key(*(file.relative_to(path).as_posix() for file in corpus.files)), *hashes]


def _contents(folder: Folder) -> Iterator[tuple[str, str]]:
    """Name and hash of each file that is read, and name and reason of those that would be but for the reason."""
    for found in folder.files:
        try:
            yield found.name, file_hash(found.file) + ("/2" if found.kind in _PAGES else "")
        except OSError as error:  # told where it is read
            yield found.name, str(error.strerror)
    for dropped in folder.left_out:
        if not dropped.reason.endswith(NO_FORM) and dropped.reason != QUESTIONS:
            yield dropped.record_id, dropped.reason
