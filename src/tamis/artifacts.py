"""What a run leaves on disk: one folder per stage and key, written whole or not at all.

    RUN/run.json                     which recipe this folder belongs to
    RUN/STAGE/KEY/manifest.json      key, settings, counts, drops by reason, file hashes, versions, seconds
    RUN/STAGE/KEY/*.parquet, ...     the stage's result
    RUN/items.sqlite                 finished items of long stages: a kill loses at most one batch
    CACHE/answers.sqlite             what teachers and language models answered, whatever run asked

A stage is reused when its key is the same: the hash of its name, its version, its settings and the keys of what it
reads. Old results stay beside new ones; delete the folder to be rid of them.
"""

import dataclasses
import fcntl
import hashlib
import json
import platform
import shutil
import sqlite3
import time
import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import SafetensorError

from tamis.errors import RunError
from tamis.records import Dropped
from tamis.whole_folder import locked

Record = TypeVar("Record")

ROW_GROUP = 4096
"""Records of a Parquet file that are read at once where a file is streamed."""

STREAMED = 512
"""Records that are objects at the same time where a file is written or read in a stream; a hundred candidates with two
scores take 15 kB."""

VERSIONS_OF = ("tamis", "torch", "transformers", "numpy", "bm25s", "ir-measures", "pyarrow")
"""Packages whose versions are written into each manifest."""


def stage_key(name: str, stage_version: int, settings: object, reads: Mapping[str, str]) -> str:
    """Key of a stage's result: 12 hex digits.

    Args:
        name: Name of the stage.
        stage_version: Raised whenever the stage's code changes its result.
        settings: JSON-like; only what changes the result, never batch sizes or devices.
        reads: Keys of the stages it reads, and hashes of the input files.
    """
    content = json.dumps([name, stage_version, settings, dict(reads)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder, in bytes; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def file_hash(path: Path) -> str:
    """sha256 of a file, or of all files below a folder with their relative names; hex."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


class RunFolder:
    """The folder of one recipe's runs."""

    def __init__(self, root: Path, recipe_name: str) -> None:
        """Open or make the folder.

        Raises:
            RunError: it belongs to another recipe, holds something else, or cannot be written.
        """
        self.root = root
        marker = root / "run.json"
        with writing(root):
            if root.exists() and not root.is_dir():
                raise RunError(f"{root}: a file, not a run folder; choose another one with --out")
            if not marker.exists():
                root.mkdir(parents=True, exist_ok=True)
                with locked(root, wait=True):  # of two runs that come at once, the first one names the folder
                    if not marker.exists():
                        _mark(marker, recipe_name)
            owner = _owner(marker)
        if owner != recipe_name:
            raise RunError(
                f"{root}: this folder holds runs of the recipe {owner!r}, not of {recipe_name!r}; "
                "choose another one with --out"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out while this one runs: they would build the same stage in the same temporary folder.

        The system lets go of the folder when the process ends, however it ends.

        Raises:
            RunError: another process is at work in it.
        """
        with (self.root / "run.json").open() as marker:
            try:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.root}: another run is at work in this folder; wait for it, or choose another one with --out"
                ) from None
            yield

    def folder(self, stage: str, key: str) -> Path:
        """Where the result of a stage lies or will lie."""
        return self.root / stage / key

    def finished(self, stage: str, key: str) -> bool:
        """Whether that result is there, whole."""
        return (self.folder(stage, key) / "manifest.json").exists()

    def build(self, stage: str, key: str, facts: Mapping[str, Any], fill: Callable[[Path], Mapping[str, Any]]) -> Path:
        """Fill a temporary folder, write its manifest, rename it into place.

        Args:
            stage: Name of the stage.
            key: Key of the result.
            facts: Settings and keys, for the manifest.
            fill: Writes the files and returns counts and whatever else the manifest should say.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        final = self.folder(stage, key)
        temporary = final.with_name(f".{key}.part")
        with writing(final):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            start = time.monotonic()
            found = fill(temporary)
            files = {str(p.relative_to(temporary)): file_hash(p) for p in sorted(temporary.rglob("*")) if p.is_file()}
            manifest = {
                "stage": stage,
                "key": key,
                **facts,
                **found,
                "files": files,
                "versions": versions(),
                "seconds": round(time.monotonic() - start, 2),
            }
            write_json(temporary / "manifest.json", manifest)
            temporary.rename(final)
        return final


def newest_results(run: Path, stage: str) -> dict[str, Path]:
    """Folder of the newest result of a stage, and of every result that it was made from, by stage.

    Raises:
        RunError: that stage was never finished in this folder, or something it was made from is gone.
    """
    manifests = sorted(run.glob(f"{stage}/*/manifest.json"), key=lambda file: file.stat().st_mtime)
    if not manifests:
        raise RunError(f"{run}: no finished stage {stage} in it; expected the folder of a run, as --out names it")
    found = {stage: manifests[-1].parent}
    ahead = [stage]
    while ahead:
        folder = found[ahead.pop()]
        try:
            reads = {name: run / name / key for name, key in read_json(folder / "manifest.json")["reads"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{folder}: no manifest that is understood; run the recipe again") from None
        ahead += reads.keys() - found.keys()
        found |= reads
    return found


def _mark(marker: Path, recipe_name: str) -> None:
    """Make a run folder of an empty one."""
    unfinished = marker.with_name(".run.json.part")
    if any(path != unfinished for path in marker.parent.iterdir()):
        raise RunError(f"{marker.parent}: not empty and not a run folder; choose another one with --out")
    write_json(unfinished, {"recipe": recipe_name})
    unfinished.rename(marker)


def _owner(marker: Path) -> str:
    """Name of the recipe that a run folder belongs to."""
    try:
        return str(read_json(marker)["recipe"])
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{marker}: not written by tamis; choose another folder with --out") from None


class writing:  # reads as a phrase: with writing(path)
    """Turns a failing disk into one clear line; nothing that was finished before is lost."""

    def __init__(self, path: Path, advice: str = "make room or choose another --out") -> None:
        self.path, self.advice = path, advice

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Name the folder and what to do."""
        failures = (OSError, sqlite3.OperationalError, SafetensorError)
        if isinstance(error, failures) and not isinstance(error, FileNotFoundError):
            reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
            raise RunError(
                f"{self.path}: cannot be written: {reason}; finished stages are kept, "
                f"{self.advice} and run the same command again"
            ) from None
        if isinstance(error, sqlite3.DatabaseError):
            raise RunError(f"{self.path}: damaged ({error}); delete it, finished stages are kept") from None


class ItemStore:
    """Finished items of long stages by content key, in a sqlite file that survives kills. Processes may share it."""

    def __init__(self, path: Path, advice: str = "make room or choose another --out") -> None:
        """Open or make the file.

        Args:
            path: The file; its folder must be there.
            advice: What to do where it cannot be written.
        """
        self._advice = advice
        with writing(path, advice):
            self._connection = sqlite3.connect(path, timeout=60)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # A killed process loses nothing by it, a power cut the last moments; waiting for the disk costs
            # milliseconds for each of a hundred answers a second.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
            )
        self.path = path

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The items that are there, by key."""
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            with writing(self.path, self._advice):
                found.update(self._connection.execute(f"SELECT key, value FROM items WHERE key IN ({marks})", part))
        return found

    def put(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Keep a batch of items, all or none."""
        with writing(self.path, self._advice), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO items VALUES (?, ?)", items)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def open_cache(folder: Path) -> ItemStore:
    """The store that all runs of a user share: what teachers and language models answered.

    Args:
        folder: Made if it is not there.

    Raises:
        RunError: It cannot be written, or the file in it is damaged.
    """
    advice = "make room or set machine.cache to another folder"
    with writing(folder, advice):
        folder.mkdir(parents=True, exist_ok=True)
    return ItemStore(folder / "answers.sqlite", advice)


def stored_items(path: Path, beginning: str) -> dict[str, bytes]:
    """Items of a store whose keys begin so; nothing is changed, and where there is no store there are none."""
    if not path.exists():
        return {}
    with writing(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return dict(
            connection.execute("SELECT key, value FROM items WHERE substr(key, 1, ?) = ?", (len(beginning), beginning))
        )


def item_key(*parts: object) -> str:
    """Key of an item: hash of everything that determines it."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def write_records(path: Path, records: Sequence[Any], kind: type) -> None:
    """Write records of one dataclass as Parquet, one column per field."""
    names = [field.name for field in dataclasses.fields(kind)]
    columns = {name: [getattr(record, name) for record in records] for name in names}
    table = pa.table({name: _column(values) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)


class RecordWriter:
    """Writes records of one dataclass as Parquet as they come; of however many, a few are in memory.

    What it wrote is read by `read_records` and `read_stream`.
    """

    def __init__(self, path: Path, kind: type) -> None:
        """Open the file for records of `kind`, whose fields are text, numbers or tuples of them."""
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
    plain = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return plain[hint] if hint in plain else pa.list_(plain[typing.get_args(hint)[0]])


def _column(values: list[Any]) -> Any:
    if values and isinstance(values[0], tuple):
        return pa.array([list(value) for value in values])
    return pa.array(values) if values else pa.array([], pa.string())


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read what `write_records` wrote."""
    return _records(pq.read_table(path), kind)


def read_stream(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Read what `write_records` or a `RecordWriter` wrote, in order, a few at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=STREAMED):
            yield from _records(pa.Table.from_batches([batch]), kind)


def read_column(path: Path, name: str) -> list[Any]:
    """One field of all records in a file."""
    values: list[Any] = pq.read_table(path, columns=[name]).column(name).to_pylist()
    return values


def stream_columns(path: Path, *names: str) -> Iterator[tuple[Any, ...]]:
    """Some fields of all records in a file, in order, a few at a time; the others stay unread."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=list(names)):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def find_records(path: Path, kind: type[Record], name: str, wanted: Collection[str]) -> Iterator[Record]:
    """The records of a file whose field `name` is one of the wanted texts, in order; no other becomes an object."""
    values = pa.array(list(wanted), pa.string())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=STREAMED):
            found = batch.filter(pc.is_in(batch.column(name), value_set=values))
            yield from _records(pa.Table.from_batches([found]), kind)


def read_groups(path: Path, kind: type[Record], rng: np.random.Generator) -> Iterator[list[Record]]:
    """Read what `write_records` wrote, one row group at a time, in a random order."""
    with pq.ParquetFile(path) as file:
        for number in rng.permutation(file.num_row_groups).tolist():
            yield _records(file.read_row_group(number), kind)


def _records(table: pa.Table, kind: type[Record]) -> list[Record]:
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


def drop_counts(dropped: Iterable[Dropped]) -> dict[str, int]:
    """How many were dropped for each reason, most frequent first."""
    return dict(Counter(record.reason for record in dropped).most_common())


def write_json(path: Path, content: object) -> None:
    """Readable JSON in UTF-8."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Content of a JSON file of this run."""
    return json.loads(path.read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the results."""
    found = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
