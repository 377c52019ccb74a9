"""Documents and queries that lie in memory, written to files that a run reads like any other."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tamis.artifacts import writing
from tamis.errors import InputError
from tamis.formats.written_queries import DOCUMENT_IDS

_DOCUMENT_IDS: Final = ("_id", "id", "doc_id", "docid")
_ROWS: Final = "a path, a list of texts or of mappings, a pandas DataFrame or a datasets.Dataset"


@dataclass(frozen=True)
class Input:
    """Where an input lies, or will.

    Attributes:
        paths: Its files or folders.
        rows: What to write into the only one; None where it is there.
    """

    paths: tuple[Path, ...]
    rows: Sequence[Mapping[str, Any]] | None = None

    def write(self) -> None:
        """Write the rows as JSON lines; a value that is missing in a table is left out.

        Raises:
            RunError: the file cannot be written.
        """
        if self.rows is None:
            return
        (file,) = self.paths
        kept = ({name: value for name, value in row.items() if not _missing(value)} for row in self.rows)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept]
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(lines), encoding="utf-8")


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
        return Input((Path(documents),))
    rows = [_document(number, row) for number, row in enumerate(rows_of(documents, "documents"))]
    return Input((folder / "documents.jsonl",), rows)


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
        return Input(tuple(map(Path, rows)))
    return Input((folder / "queries.jsonl",), [_query(number, row) for number, row in enumerate(rows)])


def rows_of(given: Any, argument: str) -> Iterator[Any]:
    """The rows of whatever holds some.

    Raises:
        InputError: it holds none.
    """
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # a DataFrame, whose package need not be here
        return iter(given.to_dict("records"))
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{argument}: got {type(given).__name__}, expected {_ROWS}")
    return iter(given)


def _document(number: int, row: Any) -> dict[str, Any]:
    if isinstance(row, str):
        return {"id": str(number), "text": row}
    if not isinstance(row, Mapping):
        raise InputError(f"documents[{number}]: got {type(row).__name__}, expected a text or a mapping with text")
    named = any(row.get(name) not in (None, "") for name in _DOCUMENT_IDS)
    return dict(row) if named else {**row, "id": str(number)}


def _query(number: int, row: Any) -> dict[str, Any]:
    if isinstance(row, Mapping) and any(name in row for name in DOCUMENT_IDS):
        return dict(row)
    if isinstance(row, tuple | list) and len(row) == 2:
        return {"document_id": str(row[0]), "query": row[1]}
    raise InputError(
        f"queries[{number}]: got {type(row).__name__}, expected a pair of a document's id and a query, or a mapping "
        "with document_id and query"
    )


def _missing(value: object) -> bool:
    return value is None or value != value  # NaN, with which a DataFrame fills gaps
