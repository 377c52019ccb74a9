"""Vectors in a file: as many as the disk holds, read a stretch at a time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.artifacts import writing
from tamis.errors import RunError
from tamis.formulas.arrays import VectorArray

Places = NDArray[np.int64]


@dataclass(frozen=True)
class VectorFile:
    """float32 rows one after another, little-endian and without a header; who wrote it knows which row is whose.

    Attributes:
        path: The file; its folder is made when it is first written.
        width: Numbers in a row.
    """

    path: Path
    width: int

    def write(self, row: int, block: VectorArray) -> None:
        """Put `block` [rows, width] at `row`, over whatever lies there and behind it, and wait for the disk.

        Raises:
            RunError: the file ends before `row`, or the disk cannot be written.
        """
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._put(row, np.ascontiguousarray(block, "<f4"))

    def _put(self, row: int, block: VectorArray) -> None:
        with self.path.open("ab") as file:
            start = row * self.width * 4
            if file.tell() < start:
                raise self._damaged(f"ends before row {row}")
            file.truncate(start)
            file.write(block.data)
            file.flush()
            # Whoever notes down that the rows are there must not outlive them.
            os.fsync(file.fileno())

    def read(self, rows: Places) -> VectorArray:
        """These rows, in this order: float32 [rows, width].

        Neighbours are copied in one go. Scattered rows come from a map of the file, whose pages the system takes back
        when it needs the memory.

        Raises:
            RunError: the file is gone, or shorter than it was.
        """
        if not len(rows):
            return np.zeros((0, self.width), np.float32)
        last = int(rows.max())
        if last >= self._rows:
            raise self._damaged(f"ends before row {last}")
        if len(rows) > 1 and (np.diff(rows) != 1).any():
            found: VectorArray = np.asarray(self._map[rows])
        else:
            start = int(rows[0]) * self.width
            found = np.fromfile(self.path, "<f4", len(rows) * self.width, offset=start * 4).reshape(-1, self.width)
        return found

    @cached_property
    def _rows(self) -> int:
        try:
            return self.path.stat().st_size // (self.width * 4)
        except FileNotFoundError:
            raise self._damaged("is gone") from None

    @cached_property
    def _map(self) -> VectorArray:
        return np.memmap(self.path, "<f4", "r", shape=(self._rows, self.width))

    def _damaged(self, what: str) -> RunError:
        return RunError(
            f"{self.path}: {what}; delete items.sqlite and the vectors folder beside it, finished stages are kept"
        )


@dataclass(frozen=True)
class Rows:
    """Chosen rows of a file, as one matrix.

    Attributes:
        file: Where they lie.
        numbers: Which ones, [rows]; neighbours in the file are read at once where they are neighbours here.
    """

    file: VectorFile
    numbers: Places

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, wanted: slice | Places) -> VectorArray:
        return self.file.read(self.numbers[wanted])


Matrix = VectorArray | Rows
"""What the dense search reads: an array [rows, hidden], or rows of a file. Rows of norm 1 at most."""


class Vectors(Mapping[str, VectorArray]):
    """Vectors of texts by id: float32 [hidden] each, of norm 1, read when they are asked for.

    Attributes:
        file: Where they lie.
        rows: Row of each id.
    """

    def __init__(self, file: VectorFile, rows: Mapping[str, int]) -> None:
        """Name the file, and the row of each id."""
        self.file = file
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __getitem__(self, text_id: str) -> VectorArray:
        found: VectorArray = self.file.read(np.array([self.rows[text_id]], np.int64))[0]
        return found


def matrix_of(vectors: Mapping[str, VectorArray], ids: Sequence[str]) -> Matrix:
    """The vectors of these ids, [ids, size], in their order; those of a file stay there until a part is asked for.

    Raises:
        KeyError: an id without a vector.
    """
    if isinstance(vectors, Vectors):
        return Rows(vectors.file, np.array([vectors.rows[text_id] for text_id in ids], np.int64))
    stacked: VectorArray = np.stack([vectors[text_id] for text_id in ids])
    return stacked


def part_of(matrix: Matrix, places: Places) -> Matrix:
    """Some rows, [places], of a matrix as one, [places, size]; those of a file stay there."""
    return Rows(matrix.file, matrix.numbers[places]) if isinstance(matrix, Rows) else matrix[places]
