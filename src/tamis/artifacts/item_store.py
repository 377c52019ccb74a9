"""Finished items of long stages, and answers that all runs share, in sqlite files."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from tamis.artifacts.disk import writing

_PATIENCE = 60.0
"""Seconds to wait for another process that holds the file."""


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
            path.touch()  # sqlite's own new files are never for a group to write, whatever the umask says
            self._connection = sqlite3.connect(path, timeout=_PATIENCE)
            _keep_a_log(self._connection)
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


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; a file keeps that, so only the first processes to open it meet each other here.

    sqlite does not wait for a lock while it goes from reading to writing, and this switch does: it fails at once where
    another process switches too, whatever the connection's timeout.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(0.01)


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
    """Items of a store whose keys begin with a prefix; none where there is no store. Nothing is changed."""
    if not path.exists():
        return {}
    with writing(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return dict(
            connection.execute("SELECT key, value FROM items WHERE substr(key, 1, ?) = ?", (len(beginning), beginning))
        )
