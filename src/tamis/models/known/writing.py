"""An index of documents as whoever makes it writes it: batch by batch, each of them whole or not at all."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor

from tamis.artifacts.disk import writing
from tamis.errors import InputError, RunError
from tamis.models.known.documents import CATALOGUE, IndexFacts, KnownDocuments, key_of
from tamis.models.known.values import VALUES
from tamis.models.remembered import TokenIds
from tamis.whole_folder import locked

_TABLES: Final = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    "CREATE TABLE documents (id TEXT PRIMARY KEY, text TEXT, key BLOB) WITHOUT ROWID",
    "CREATE TABLE states (key BLOB PRIMARY KEY, start INTEGER, tokens INTEGER) WITHOUT ROWID",
    "CREATE TABLE sources (path TEXT PRIMARY KEY, files TEXT) WITHOUT ROWID",
)

_ADVICE: Final = "make room or choose another folder"

_WASTE: Final = 0.5
"""Share of the states' file that may belong to no document any more before it is written anew."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document to be kept.

    Attributes:
        doc_id: Its id.
        text: Its text.
        tokens: What the model reads of it.
    """

    doc_id: str
    text: str
    tokens: TokenIds


class IndexWriter:
    """An index that is open for writing, by one process at a time.

    Attributes:
        folder: Where it lies.
        facts: What it says of itself.
    """

    def __init__(self, folder: Path, facts: IndexFacts) -> None:
        """Use `open_index`."""
        self.folder, self.facts = folder, facts
        self._catalogue = sqlite3.connect(folder / CATALOGUE, timeout=60, isolation_level=None)
        self._file, self._end = self._fact("file"), int(self._fact("end"))

    def _fact(self, name: str) -> str:
        return str(self._catalogue.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All changes of the catalogue in this block, or none; a full disk is one line."""
        with writing(self.folder, _ADVICE):
            self._catalogue.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._catalogue.execute("COMMIT")
            except BaseException:
                self._catalogue.execute("ROLLBACK")
                raise

    def keys(self, ids: Sequence[str]) -> dict[str, tuple[bytes, str]]:
        """Key and text of each id that is there."""
        found: dict[str, tuple[bytes, str]] = {}
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ",".join("?" * len(some))
            asked = f"SELECT id, key, text FROM documents WHERE id IN ({marks})"
            found |= {doc_id: (key, text) for doc_id, key, text in self._catalogue.execute(asked, some)}
        return found

    def ids(self) -> list[str]:
        """Ids of all documents."""
        return [doc_id for (doc_id,) in self._catalogue.execute("SELECT id FROM documents")]

    def unread(self, texts: Iterable[TokenIds]) -> list[TokenIds]:
        """Those texts whose states are not kept yet, each once, in their order."""
        asked = "SELECT 1 FROM states WHERE key = ?"
        return [ids for ids in dict.fromkeys(texts) if not self._catalogue.execute(asked, (key_of(ids),)).fetchone()]

    def put(self, entries: Sequence[Entry], states: Mapping[TokenIds, Tensor]) -> None:
        """Keep a batch of documents, in place of others with their ids, all or none.

        Args:
            entries: The documents.
            states: Of those texts that `unread` names: float [tokens, hidden].
        """
        pack, factors = VALUES[self.facts.values].pack, self.facts.own_factors
        packed = {key_of(ids): pack(one.float().cpu().numpy(), factors) for ids, one in states.items()}
        with self._whole():
            end = self._append(packed)
            rows = [(one.doc_id, one.text, key_of(one.tokens)) for one in entries]
            self._catalogue.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", rows)
        self._end = end

    def _append(self, packed: Mapping[bytes, np.ndarray]) -> int:
        """Write states behind all that count; what a killed process left there is overwritten. Returns the new end."""
        end = self._end
        if not packed:
            return end
        with (self.folder / self._file).open("r+b") as file:
            file.seek(end * self.facts.token.itemsize)
            file.truncate()
            for key, tokens in packed.items():
                file.write(tokens.data)
                self._catalogue.execute("INSERT INTO states VALUES (?, ?, ?)", (key, end, len(tokens)))
                end += len(tokens)
            file.flush()
            os.fsync(file.fileno())  # the catalogue must not outlive it
        self._catalogue.execute("UPDATE facts SET value = ? WHERE name = 'end'", (str(end),))
        return end

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents; returns how many of them were there."""
        with self._whole():
            before = self._catalogue.total_changes
            self._catalogue.executemany("DELETE FROM documents WHERE id = ?", ((one,) for one in ids))
            return self._catalogue.total_changes - before

    def source(self, path: Path, files: Mapping[str, Sequence[Any]], only: bool) -> None:
        """Note where documents came from.

        Args:
            path: The corpus.
            files: Facts of each file by path.
            only: Whether nothing of other corpora is left.
        """
        with self._whole():
            if only:
                self._catalogue.execute("DELETE FROM sources")
            row = str(path), json.dumps(files)
            self._catalogue.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", row)

    def tidy(self) -> None:
        """Forget states that belong to no document, and give their room back where they take half of the file."""
        with self._whole():
            self._catalogue.execute("DELETE FROM states WHERE key NOT IN (SELECT key FROM documents)")
        (used,) = self._catalogue.execute("SELECT coalesce(sum(tokens), 0) FROM states").fetchone()
        if self._end - used > _WASTE * self._end:
            self._rewrite()

    def _rewrite(self) -> None:
        """Copy the states that count into another file; until the catalogue names it, the one of before counts."""
        old, number = self.folder / self._file, int(self._file.removeprefix("states-").removesuffix(".bin"))
        new = self.folder / f"states-{number + 1}.bin"
        with self._whole():
            places = self._catalogue.execute("SELECT key, start, tokens FROM states ORDER BY start").fetchall()
            end = _copy(old, new, places, self.facts.token)
            starts = np.cumsum([0, *(tokens for _, _, tokens in places)]).tolist()
            moved = ((start, key) for start, (key, _, _) in zip(starts, places, strict=False))
            self._catalogue.executemany("UPDATE states SET start = ? WHERE key = ?", moved)
            facts = {"file": new.name, "end": str(end)}
            self._catalogue.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())
        self._file, self._end = new.name, end
        old.unlink()

    def close(self) -> None:
        """Close the files."""
        self._catalogue.close()


def _copy(old: Path, new: Path, places: Sequence[tuple[bytes, int, int]], token: np.dtype[Any]) -> int:
    """Copy stretches of tokens, one behind the other; returns how many there are."""
    with old.open("rb") as source, new.open("wb") as file:
        for _, start, tokens in places:
            source.seek(start * token.itemsize)
            file.write(source.read(tokens * token.itemsize))
        file.flush()
        os.fsync(file.fileno())
    return sum(tokens for _, _, tokens in places)


@contextmanager
def open_index(folder: Path) -> Iterator[IndexWriter]:
    """An index that is there, for writing.

    Raises:
        InputError: there is none, or it cannot be read.
        RunError: another process writes to it, or the disk fails.
    """
    known = KnownDocuments(folder)  # which says what is wrong with it
    known.close()
    with _alone(folder), closing(IndexWriter(folder, known.facts)) as writer:
        yield writer


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with writing(folder, _ADVICE):
        try:
            with locked(folder, wait=False):
                yield
        except BlockingIOError:
            raise RunError(f"{folder}: another process writes to this index; wait for it") from None


def create_index(folder: Path, facts: IndexFacts) -> None:
    """Make an empty index.

    Raises:
        InputError: something else lies there.
        RunError: the disk fails.
    """
    unfinished, states = folder / f".{CATALOGUE}", folder / "states-1.bin"
    if folder.exists() and (not folder.is_dir() or {*folder.iterdir()} - {unfinished, states}):
        raise InputError(f"{folder}: holds something else; name a new folder")
    with writing(folder, _ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        states.touch()
        with closing(sqlite3.connect(unfinished)) as catalogue, catalogue:
            for table in _TABLES:
                catalogue.execute(table)
            stored = {"facts": facts.to_json(), "file": states.name, "end": "0"}
            catalogue.executemany("INSERT INTO facts VALUES (?, ?)", stored.items())
        unfinished.rename(folder / CATALOGUE)
