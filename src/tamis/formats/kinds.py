"""Which reader is for which file, told from the end of its name."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import PurePath
from typing import Final

from tamis.formats.file_text import FileText
from tamis.formats.markup import read_asciidoc, read_markdown, read_notebook, read_plain

Reader = Callable[[bytes], FileText]
"""From a whole file to its text; raises `LeftOut`, or whatever its library raises on a file that is damaged."""

COMPRESSED: Final = (".gz", ".zst")
NO_FORM: Final = "no form of documents"
PLAIN: Final = ""
"""Stands for the ending of a file that has none, and is a text or nothing."""


_READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys((PLAIN, ".txt", ".text", ".log", ".org"), read_plain),
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), read_markdown),
    **dict.fromkeys((".adoc", ".asciidoc"), read_asciidoc),
    ".ipynb": read_notebook,
}

_IN_MODULES: Final = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), ("web_page", "read_html", "")),
    ".epub": ("packed", "read_epub", ""),
    ".eml": ("mail", "read_mail", ""),
    ".rst": ("restructured", "read_restructured", "docutils"),
    ".rest": ("restructured", "read_restructured", "docutils"),
    ".tex": ("latex", "read_latex", "pylatexenc"),
    ".latex": ("latex", "read_latex", "pylatexenc"),
    ".pdf": ("pdf", "read_pdf", "pypdfium2"),
    ".docx": ("office", "read_docx", "mammoth"),
    ".pptx": ("office", "read_pptx", "pptx"),
    ".xlsx": ("office", "read_xlsx", "openpyxl"),
}
"""Module and function for an ending, and the package that they need, if any."""

_SAVE_ANEW: Final = {
    **dict.fromkeys((".doc", ".odt", ".rtf"), ".docx"),
    **dict.fromkeys((".odp", ".ppt"), ".pptx"),
    **dict.fromkeys((".ods", ".xls"), ".xlsx"),
}


def kind_of(name: str) -> str:
    """What a file is by the end of its name, lower-case and without a `.gz` or `.zst` behind it."""
    path = PurePath(name)
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def is_foreign(kind: str) -> bool:
    """Whether other people's code reads files of this ending, which are then read in a process of its own."""
    return kind in _IN_MODULES


def reader_of(kind: str) -> Reader:
    """The reader for an ending that `why_unread` has nothing against."""
    if kind in _READERS:
        return _READERS[kind]
    module, function, _ = _IN_MODULES[kind]
    found: Reader = getattr(importlib.import_module(f"tamis.formats.{module}"), function)
    return found


def why_unread(kind: str) -> str:
    """Why files of this ending are not read on this machine; empty where they are."""
    if kind in _READERS:
        return ""
    if kind in _IN_MODULES:
        package = _IN_MODULES[kind][2]
        known = not package or importlib.util.find_spec(package) is not None
        return "" if known else f"{kind}: install tamis[documents]"
    if kind in _SAVE_ANEW:
        return f"{kind}: save it as {_SAVE_ANEW[kind]}"
    return f"{kind}: {NO_FORM}"
