"""Records in Parquet files, whole and in streams. pyarrow is imported by what reads or writes: scoring needs none."""

import dataclasses
import typing
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tamis.records import Dropped

if TYPE_CHECKING:
    import pyarrow as pa

Record = TypeVar("Record")

ROW_GROUP = 4096
"""Records of a Parquet file that are read at once where a file is streamed."""

STREAMED = 512
"""Records that are objects at the same time where a file is written or read in a stream; a hundred candidates with two
scores take 15 kB."""


def write_records(path: Path, records: Sequence[Any], kind: type) -> None:
    """Write records of one dataclass as Parquet, one column per field; none for a sparse field that nobody has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field.name for field in dataclasses.fields(kind) if not _is_absent(field, records)]
    columns = {name: [getattr(record, name) for record in records] for name in names}
    table = pa.table({name: _column(values) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)


def _is_absent(field: "dataclasses.Field[Any]", records: Sequence[Any]) -> bool:
    return "sparse" in field.metadata and all(getattr(record, field.name) == field.default for record in records)


class RecordWriter:
    """Writes records of one dataclass as Parquet as they come; of however many, a few are in memory.

    What it wrote is read by `read_records` and `read_stream`.
    """

    def __init__(self, path: Path, kind: type) -> None:
        """Open the file for records of `kind`, whose fields are text, numbers or tuples of them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        hints = typing.get_type_hints(kind)
        self._names = [field.name for field in dataclasses.fields(kind)]
        self._schema = pa.schema([(name, _type(hints[name])) for name in self._names])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[Any] = []

    def write(self, record: object) -> None:
        """Add a record."""
        self._waiting.append(record)
        if len(self._waiting) == STREAMED:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        columns = {name: [getattr(record, name) for record in self._waiting] for name in self._names}
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._waiting = []

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()


def _type(hint: Any) -> Any:
    """Parquet's type for that of a field."""
    import pyarrow as pa

    plain = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return plain[hint] if hint in plain else pa.list_(plain[typing.get_args(hint)[0]])


def _column(values: list[Any]) -> Any:
    import pyarrow as pa

    if values and isinstance(values[0], tuple):
        return pa.array([list(value) for value in values])
    return pa.array(values) if values else pa.array([], pa.string())


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read what `write_records` wrote."""
    import pyarrow.parquet as pq

    return _records(pq.read_table(path), kind)


def read_stream(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Read what `write_records` or a `RecordWriter` wrote, in order, a few at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=STREAMED):
            yield from _records(pa.Table.from_batches([batch]), kind)


def read_column(path: Path, name: str) -> list[Any]:
    """One field of all records in a file."""
    import pyarrow.parquet as pq

    values: list[Any] = pq.read_table(path, columns=[name]).column(name).to_pylist()
    return values


def stream_columns(path: Path, *names: str) -> Iterator[tuple[Any, ...]]:
    """Some fields of all records in a file, in order, a few at a time; the others stay unread."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=list(names)):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def find_records(path: Path, kind: type[Record], name: str, wanted: Collection[str]) -> Iterator[Record]:
    """The records of a file whose field `name` is one of the wanted texts, in order; no other becomes an object."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    values = pa.array(list(wanted), pa.string())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=STREAMED):
            found = batch.filter(pc.is_in(batch.column(name), value_set=values))
            yield from _records(pa.Table.from_batches([found]), kind)


def read_groups(path: Path, kind: type[Record], rng: np.random.Generator) -> Iterator[list[Record]]:
    """Read what `write_records` wrote, one row group at a time, in a random order."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in rng.permutation(file.num_row_groups).tolist():
            yield _records(file.read_row_group(number), kind)


def _records(table: "pa.Table", kind: type[Record]) -> list[Record]:
    rows = table.to_pylist()
    return [kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in rows]


def split_dropped(records: Iterable[Record | Dropped]) -> tuple[list[Record], list[Dropped]]:
    """Separate what a stage kept from what it dropped."""
    kept: list[Record] = []
    dropped: list[Dropped] = []
    for record in records:
        if isinstance(record, Dropped):
            dropped.append(record)
        else:
            kept.append(record)
    return kept, dropped


def drop_notes(dropped: Iterable[Dropped], source: Path) -> list[str]:
    """A line for each reason, most frequent first: how many were dropped of what lies at `source`."""
    return [f"{count:,} of {source} left out: {reason}" for reason, count in drop_counts(dropped).items()]


def drop_counts(dropped: Iterable[Dropped]) -> dict[str, int]:
    """How many were dropped for each reason, most frequent first."""
    return dict(Counter(record.reason for record in dropped).most_common())
