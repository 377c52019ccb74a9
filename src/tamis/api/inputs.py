"""Documents and queries that lie in memory, written to files that a run reads like any other."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from tamis.artifacts import writing
from tamis.errors import InputError
from tamis.formats.written_queries import DOCUMENT_IDS, OWN_IDS
from tamis.whole_folder import whole_file

_DOCUMENT_IDS: Final = ("_id", "id", "doc_id", "docid")
_ROWS: Final = "a path, a list of texts or of mappings, a DataFrame, an Arrow table or a datasets.Dataset"


@dataclass(frozen=True)
class Input:
    """Where an input lies, or will.

    Attributes:
        paths: Its files or folders.
        rows: Lines of JSON to write into the only one; None where it is there.
    """

    paths: tuple[Path, ...]
    rows: Sequence[str] | None = None

    def write(self) -> None:
        """Write the rows, whole or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        if self.rows is None:
            return
        (file,) = self.paths
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as partial:
                # Half of a surrogate pair becomes JSON's escape, which is read as that of any other file.
                partial.write_text("".join(self.rows), encoding="utf-8", errors="backslashreplace")


def documents_at(documents: object, folder: Path) -> Input:
    """Where the documents lie: the path that was given, or a file that is to be written.

    Args:
        documents: A path; or an iterable of texts, or of mappings with `text`, and perhaps `id`, `title` and `lang`; or
            a DataFrame or Dataset with such columns. A document without an id is called by its number, from 0.
        folder: Where the file will lie.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(documents, str | Path):
        return Input((_path(documents, "documents"),))
    rows = enumerate(rows_of(documents, "documents"))
    return Input((folder / "documents.jsonl",), [_line(f"documents[{n}]", _document(n, row)) for n, row in rows])


def queries_at(queries: object, folder: Path) -> Input:
    """Where queries about documents lie: the paths that were given, or a file that is to be written.

    Args:
        queries: A path or several; or an iterable of (id of the document, query), or of mappings with `document_id` and
            `query`; or a DataFrame or Dataset with such columns. None stands for nothing.
        folder: Where the file will lie.

    Raises:
        InputError: it is none of these.
    """
    if queries is None:
        return Input(())
    rows = [queries] if isinstance(queries, str | Path) else list(rows_of(queries, "queries"))
    if rows and all(isinstance(row, str | Path) for row in rows):
        return Input(tuple(_path(row, "queries") for row in rows))
    lines = [_line(f"queries[{n}]", _query(n, row)) for n, row in enumerate(rows)]
    return Input((folder / "queries.jsonl",), lines)


def rows_of(given: Any, argument: str) -> Iterator[Any]:
    """The rows of whatever holds some.

    Raises:
        InputError: it holds none.
    """
    for rows in ("to_dicts", "to_pylist"):  # a DataFrame of polars, a table or an array of Arrow
        if hasattr(given, rows):
            return iter(getattr(given, rows)())
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # of pandas; no package of these need be here
        return iter(given.to_dict("records"))
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{argument}: got {type(given).__name__}, expected {_ROWS}")
    return iter(given)


def _path(given: str | Path, argument: str) -> Path:
    if given == "":
        raise InputError(f"{argument}: got '', expected {_ROWS}; '.' is the working directory")
    return Path(given)


def _document(number: int, row: Any) -> dict[str, Any]:
    if isinstance(row, str):
        return {"id": str(number), "text": row}
    if not isinstance(row, Mapping):
        raise InputError(f"documents[{number}]: got {type(row).__name__}, expected a text or a mapping with text")
    named = any(name in row and not _missing(row[name]) and str(row[name]) for name in _DOCUMENT_IDS)
    return _cells(row if named else {**row, "id": str(number)}, _DOCUMENT_IDS)


def _query(number: int, row: Any) -> dict[str, Any]:
    if isinstance(row, Mapping) and any(name in row for name in DOCUMENT_IDS):
        return _cells(row, (*DOCUMENT_IDS, *OWN_IDS))
    if isinstance(row, tuple | list) and len(row) == 2:
        cells = _cells({"document_id": row[0], "query": row[1]}, ("document_id",))
        return {name: str(cell) if name == "document_id" else cell for name, cell in cells.items()}
    raise InputError(
        f"queries[{number}]: got {type(row).__name__}, expected a pair of a document's id and a query, or a mapping "
        "with document_id and query"
    )


def _cells(row: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """A row without what is missing in it.

    A column of whole numbers of which one is missing holds floats in a DataFrame; where `ids` names it, they are whole
    again.
    """
    found = {name: cell for name, cell in row.items() if not _missing(cell)}
    whole = {name: int(found[name]) for name in ids if isinstance(one := found.get(name), float) and one.is_integer()}
    return {**found, **whole}


def _missing(value: object) -> bool:
    """Whether a table has nothing in a cell: None, or what differs from itself, NaN, NaT and pandas' NA.

    NA is no truth, and an array has several, so the answer is read as text.
    """
    return value is None or str(value != value) in ("True", "<NA>")


def _line(where: str, row: Mapping[str, Any]) -> str:
    """A row as a line of JSON.

    Raises:
        InputError: something in it that JSON has no form for.
    """
    try:
        return json.dumps(row, ensure_ascii=False, default=_plain) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}; expected text, numbers, dates and lists, leave that column out") from None


def _plain(value: object) -> Any:
    """What stands in JSON for a value that it has no form for: a list for an array, text for dates and ids.

    Raises:
        TypeError: nothing does.
    """
    for form in ("tolist", "isoformat"):  # of arrays and their numbers; of dates, times and lengths of time
        if hasattr(value, form):
            return getattr(value, form)()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"got {type(value).__name__} in it")
