"""Folders of texts, one document a file: `.txt`, `.md` and `.html`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tamis.errors import InputError
from tamis.formats.lines import read_text
from tamis.formats.web_page import read_page
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Document

PAGES: Final = (".html", ".htm")
TEXTS: Final = (".txt", ".md", *PAGES)


def text_files(folder: Path) -> list[Path]:
    """The files of texts below a folder, sorted by path."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in TEXTS and file.is_file())


def read_text_files(folder: Path, files: Sequence[Path], origin: str) -> Iterator[Document]:
    """Read files as documents, whose ids are their paths in the folder.

    Args:
        folder: Where the files lie.
        files: As `text_files` gives them. Of a page the title becomes the first line, unless its text begins with it,
            and its `lang` the language.
        origin: `target` or `general`.

    Raises:
        InputError: A file that cannot be read or is not in UTF-8, or a path that cannot be an id.
    """
    for file in files:
        doc_id = file.relative_to(folder).as_posix()
        if not doc_id.isprintable():
            raise InputError(f"{folder}: the file name {doc_id!r} cannot be an id; rename the file")
        text = read_text(file)
        if file.suffix.lower() in PAGES:
            page = read_page(text)
            text = page.text if page.text.startswith(page.title) else f"{page.title}\n{page.text}"
            yield Document(doc_id, text, page.language, origin)
        else:
            yield Document(doc_id, text, UNKNOWN_LANGUAGE, origin)
