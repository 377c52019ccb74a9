"""The files that a recipe names: whether they are there, and their hashes for the keys of stages."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tamis.artifacts import file_hash, item_key
from tamis.errors import InputError
from tamis.formats.beir import beir_file
from tamis.formats.documents import document_files
from tamis.formats.evaluation_sets import evaluation_files

_WHAT_TO_GIVE = (
    "Give a BEIR folder, or for documents a file of rows or a folder of texts, or run `make demo` to fetch the "
    "demo's data"
)


def documents_hash(path: Path) -> list[str]:
    """Hash of the documents of a corpus and of nothing beside them: questions may lie in the same folder."""
    files = document_files(path) if path.exists() else [path]
    hashes = input_hashes(files, "corpus")
    if not path.is_dir() or beir_file(path, "corpus"):
        return hashes
    # The ids of text files are their names.
    return [item_key(*(file.relative_to(path).as_posix() for file in files)), *hashes]


def kept_out_hashes(sets: Iterable[Path]) -> list[list[str]]:
    """sha256 of the files of each evaluation set that is kept out of training."""
    return [input_hashes(evaluation_files(path), "queries") for path in sets]


def input_hashes(paths: Sequence[Path], section: str) -> list[str]:
    """sha256 of each input file that a section of the recipe names.

    Raises:
        InputError: one of them does not exist or cannot be read.
    """
    check_files(paths, section)
    hashes = []
    for path in paths:
        try:
            hashes.append(file_hash(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return hashes


def check_files(paths: Sequence[Path], section: str) -> None:
    """Look for input files that a section of the recipe names; nothing is opened.

    Raises:
        InputError: one of them does not exist.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path}: not found; the recipe's {section} section names it. "
                + ("Correct the path, or leave it out" if section == "candidates" else _WHAT_TO_GIVE)
            )
