"""Rows of files that hold one record a row: JSON, CSV and TSV, Parquet, and the folders of Hugging Face `datasets`.

All are streamed: what is in memory is one line, or one batch of a table's wanted columns.
"""

import csv
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError
from tamis.formats.encodings import encoding_of
from tamis.formats.file_text import LeftOut
from tamis.formats.json_rows import json_rows
from tamis.formats.lines import ending, lines, opened
from tamis.text import clip

_BATCH: Final = 1024
_SAMPLE: Final = 1 << 20  # bytes from which an encoding is told
_LONGEST_CELL: Final = 1 << 27  # characters: an open quote must not swallow a file of any size
_STATE: Final = "state.json"
_SPLITS: Final = "dataset_dict.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file.

    Attributes:
        file: Where it stands.
        place: `line 3` or `row 3`, from 1.
        content: Field name -> value.
    """

    file: Path
    place: str
    content: dict[str, Any]

    @property
    def where(self) -> str:
        """File and place, as messages begin."""
        return f"{self.file}, {self.place}"


def table_files(path: Path) -> list[Path]:
    """The files of rows that a path stands for, in their order.

    Args:
        path: A `.jsonl`, `.json`, `.csv`, `.tsv` (these also with `.gz` or `.zst` behind) or `.parquet` file, a folder
            with `.parquet` files at any depth, or a folder as `datasets` writes it by `save_to_disk`.

    Returns:
        At least one file; none for anything else.

    Raises:
        InputError: A folder of `datasets` with several splits, or with a description that is not understood.
    """
    if not path.is_dir():
        return [path] if ending(path) in _READERS and path.is_file() else []
    if (path / _SPLITS).is_file():
        return table_files(_only_split(path))
    if (path / _STATE).is_file():
        return _arrow_files(path)
    return sorted(file for file in path.rglob("*.parquet") if file.is_file() and not _hidden(file, path))


def rows(files: Sequence[Path], columns: Collection[str]) -> Iterator[Row]:
    """Read files of rows, one after the other.

    Args:
        files: As `table_files` gives them.
        columns: Columns to read of Parquet and Arrow tables; other files give all they have.

    Raises:
        InputError: A file that cannot be read, or a line or row that is not understood.
    """
    for file in files:
        for row in _READERS[ending(file)](file, columns, "utf-8"):
            if isinstance(row, InputError):
                raise row
            yield row


def rows_or_errors(file: Path, columns: Collection[str]) -> Iterator[Row | InputError]:
    """Read a file of rows as far as it can be read, in whatever encoding it is.

    Yields:
        Rows in order, and the error of each that is not understood.

    Raises:
        InputError: What nothing can be read after.
    """
    yield from _READERS[ending(file)](file, columns, _encoding(file))


def _encoding(file: Path) -> str:
    if ending(file) in _BINARY:
        return ""
    try:
        with opened(file) as stream:
            sample = stream.read(_SAMPLE)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        whole = len(sample) < _SAMPLE
        found = encoding_of(sample if whole else sample[: sample.rfind(b"\n") + 1] or sample)
    except LeftOut as error:
        raise InputError(f"{file}: {error.reason}") from error
    return "utf-8-sig" if found == "utf-8" else found  # by this name, a byte that does not fit ends nothing


def line_rows(file: Path) -> Iterator[Row]:
    """Rows of a `.tsv` with a header of which every line is one, as of queries: no quote takes the next line with it.

    A cell that stands between double quotes as spreadsheets write it is read without them; all other quotes are text.

    Raises:
        InputError: A file that cannot be read, or a line that is not understood.
    """
    header: list[str] = []
    for number, line in lines(file):
        content = line.rstrip("\r\n")
        where = f"{file}, line {number}"
        cells = _cells_of_line(content, len(header)) if content else []
        if not header and cells:
            header = _header(cells, where)
        elif cells and len(cells) != len(header):
            raise InputError(
                f"{where}: got {len(cells)} cells, expected {len(header)} as in the header ({', '.join(header)}); a "
                "line is a row, and tabs stand between its cells only"
            )
        elif cells:
            yield Row(file, f"line {number}", dict(zip(header, cells, strict=True)))


def _cells_of_line(line: str, count: int) -> list[str]:
    """Cells between tabs: without their quotes where these are well made and leave as many cells as there should be."""
    csv.field_size_limit(_LONGEST_CELL)
    plain = line.split("\t")
    try:
        (cells,) = csv.reader([line], delimiter="\t", strict=True)
    except csv.Error:
        return plain
    return cells if len(cells) == (count or len(plain)) else plain


def column_names(file: Path) -> list[str] | None:
    """All columns of a Parquet or Arrow file; None for other forms, and for a file that reading will refuse."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as stream:
            if ending(file) == ".parquet":
                return list(pq.read_schema(stream).names)
            return list(pa.ipc.open_stream(stream).schema.names) if ending(file) == ".arrow" else None
    except (pa.ArrowException, OSError, ValueError):
        return None


def check_new(new_id: str, row: Row, places: dict[str, tuple[Path, str]]) -> None:
    """Remember where an id stands; an id that stood somewhere before is an error."""
    file, place = places.setdefault(new_id, (row.file, row.place))
    if (file, place) != (row.file, row.place):
        first = place if file == row.file else f"{file}, {place},"
        raise InputError(f"{row.where}: id {new_id!r} stands on {first} too; ids must be unique, rename one")


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _only_split(folder: Path) -> Path:
    splits = _description(folder / _SPLITS).get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) and name == Path(name).name for name in splits):
        raise InputError(f"{folder / _SPLITS}: no list of splits in it; save the data set again with save_to_disk")
    if len(splits) != 1:
        raise InputError(f"{folder}: holds the splits {', '.join(splits)}; name one of them, {folder}/SPLIT")
    return folder / str(splits[0])


def _arrow_files(folder: Path) -> list[Path]:
    named = _description(folder / _STATE).get("_data_files")
    entries = [entry for entry in named if isinstance(entry, dict)] if isinstance(named, list) else []
    names = [str(entry.get("filename")) for entry in entries]
    # Only files of this very folder: its description is data, not to be followed anywhere.
    if not names or not all(name == Path(name).name for name in names):
        raise InputError(f"{folder / _STATE}: names no data files; save the data set again with save_to_disk")
    files = [folder / name for name in names]
    for file in files:
        if not file.is_file() or ending(file) != ".arrow":
            raise InputError(f"{file}: no such Arrow file, but {_STATE} names it; save the data set again")
    return files


def _description(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON; save the data set again with save_to_disk") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a JSON object; save the data set again with save_to_disk")
    return content


def _json_rows(file: Path, columns: Collection[str], encoding: str) -> Iterator[Row | InputError]:
    for place, content in json_rows(file, encoding):
        yield content if isinstance(content, InputError) else Row(file, place, content)


def _csv_rows(file: Path, columns: Collection[str], encoding: str) -> Iterator[Row | InputError]:
    csv.field_size_limit(_LONGEST_CELL)
    text = (line for _, line in lines(file, encoding))
    first = next(text, "")
    reader = csv.reader(itertools.chain([first], text), delimiter=_delimiter(file, first), strict=True)
    header: list[str] = []
    number = 1
    try:
        for cells in reader:
            start, number = number, reader.line_num + 1
            place = f"line {start}"
            if not cells:
                continue
            if not header:
                header = _header(cells, f"{file}, {place}")
            elif len(cells) != len(header):
                yield InputError(
                    f"{file}, {place}: got {len(cells)} cells, expected {len(header)} as in the header "
                    f"({', '.join(header)}); put cells that hold the separator between double quotes"
                )
            elif ending(file) == ".tsv" and reader.line_num > start and _swallows(cells):
                yield InputError(
                    f"{file}, {place}: a cell begins with a double quote and goes on over the next lines, to line "
                    f"{reader.line_num}, rows and all; leave the quote out, or double it and put the whole cell "
                    "between double quotes; if those lines are the cell's own, call the file .csv"
                )
            else:
                yield Row(file, place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{file}, line {number}: not understood ({error}); put cells that hold quotes or line breaks between "
            "double quotes, and double the quotes inside"
        ) from error


def _swallows(cells: Sequence[str]) -> bool:
    """Whether a cell between quotes holds a line that would be a row: it begins with a cell and has all of them."""
    _, *more = "\t".join(cells).split("\n")
    within = any("\t" in cell and "\n" in cell for cell in cells)
    return within and any(line.count("\t") == len(cells) - 1 > 0 and not line.startswith("\t") for line in more)


def _delimiter(file: Path, header: str) -> str:
    """Tabs, commas, or, where a header has none, the semicolons of spreadsheets in half of Europe."""
    if ending(file) == ".tsv":
        return "\t"
    return next((one for one in ",;\t" if one in header), ",")


def _header(cells: Sequence[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where}: column {twice!r} comes twice; expected a header with a name for each column")
    return names


def _parquet_rows(file: Path, columns: Collection[str], encoding: str) -> Iterator[Row]:
    import pyarrow.parquet as pq

    def batches(stream: Any) -> Iterator[Any]:
        table = pq.ParquetFile(stream)
        yield from table.iter_batches(batch_size=_BATCH, columns=_wanted(table.schema_arrow.names, columns, file))

    return _table_rows(file, columns, batches, "a Parquet file")


def _arrow_rows(file: Path, columns: Collection[str], encoding: str) -> Iterator[Row]:
    import pyarrow as pa

    return _table_rows(file, columns, pa.ipc.open_stream, "an Arrow stream")


def _table_rows(
    file: Path, columns: Collection[str], batches: Callable[[Any], Iterator[Any]], kind: str
) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        with file.open("rb") as stream:
            for batch in batches(stream):
                wanted = batch.select(_wanted(batch.schema.names, columns, file))
                wanted.validate(full=True)  # a damaged batch would be read beyond its end
                for start in range(0, wanted.num_rows, _BATCH):
                    for content in wanted.slice(start, _BATCH).to_pylist():
                        number += 1
                        yield Row(file, f"row {number}", content)
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}, after row {number}: cannot be read as {kind}: {reason}") from error


def _wanted(names: Sequence[str], columns: Collection[str], file: Path) -> list[str]:
    twice = next((name for name in names if name in columns and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{file}: column {twice!r} comes twice; rename one")
    wanted = [name for name in names if name in columns]
    if not wanted:
        raise InputError(
            f"{file}: its columns are {clip(', '.join(names) or 'none', 120)}; expected an id and text, or those of a "
            "training file"
        )
    return wanted


_READERS: Final[dict[str, Callable[[Path, Collection[str], str], Iterator[Row | InputError]]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}

_BINARY: Final = (".parquet", ".arrow")

TABLES: Final = tuple(kind for kind in _READERS if kind != ".arrow")
"""Endings of files whose rows are documents wherever they lie; one of Arrow counts only in a folder of `datasets`."""
