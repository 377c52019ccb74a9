"""What was asked and what came back, a file a day, for those who want to learn from it: off unless it is named.

A thread of its own writes: no request waits for a disk, and none fails because of one.
"""

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Final

import regex

from tamis.artifacts.line_log import append_line, cut_torn_line
from tamis.errors import InputError
from tamis.formats.fields import content_id
from tamis.formats.query_logs import day_of
from tamis.models.serializer import DocumentText
from tamis.serving.request import text_of
from tamis.text import normalise

logger = logging.getLogger(__name__)

WAITING: Final = 256
"""Requests that may wait for the disk; what comes beyond is not logged, and counted."""

CHARACTERS: Final = 2**25
"""Characters of their queries and documents, likewise."""

QUIET: Final = 10.0
"""Seconds without a loss after which it is told that nothing is lost any more."""

REDACTED: Final = "[redacted]"

REDACTING: Final = 2.0
"""Seconds that the patterns may take for the texts of a request, which is not logged where they take longer."""

LOOKED_AFTER: Final = 60.0
"""Seconds between two looks at the clock and at old files."""

JUMP: Final = 60.0
"""Seconds between two looks by which a clock may be set without being taken for one that jumped."""

STEADY: Final = 3600.0
"""Seconds for which the clock has to go evenly before a file is deleted by its date."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A request with one query that was answered.

    Attributes:
        time: Unix time in seconds.
        request_id: Id of the request.
        model: Name of the model that answered.
        version: Its version.
        split: Name of the split by which it was drawn; empty for none.
        query: As it came.
        documents: As they came.
        ids: What the client calls them.
        scores: What ranks, of each document.
    """

    time: float
    request_id: str
    model: str
    version: str
    split: str
    query: str
    documents: Sequence[DocumentText]
    ids: Sequence[str | None]
    scores: Sequence[float]

    @property
    def characters(self) -> int:
        """Characters of its texts."""
        return len(self.query) + sum(len(text_of(one)) for one in self.documents)


class SteadyClock:
    """Tells whether the clock on the wall goes as evenly as the one that nobody can set."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()
        self._since = time.monotonic()

    def steady(self) -> bool:
        """Whether it has gone evenly for `STEADY` seconds; to be asked every `LOOKED_AFTER`."""
        ahead, now = time.time() - time.monotonic(), time.monotonic()
        if abs(jump := ahead - self._ahead) > JUMP:
            logger.warning(
                "the clock jumped; no logged queries are deleted for an hour", extra={"facts": {"seconds": jump}}
            )
            self._since = now
        self._ahead = ahead
        return now - self._since >= STEADY


class QueryLog:
    """Daily files in a folder, by the date in UTC.

    Attributes:
        folder: Where they lie.
    """

    def __init__(
        self, folder: Path, redact: Sequence[str] = (), days: int = 30, lost: Callable[[], None] = lambda: None
    ) -> None:
        """Start the thread.

        Args:
            folder: Made where it is not there.
            redact: Regular expressions; what they match is taken out of queries and texts.
            days: After so many, a file is deleted.
            lost: Called for each request that could not be written.

        Raises:
            InputError: the folder cannot be written.
        """
        self.folder = folder
        # Not `re`, which lets nothing else run while it searches: a long text would hold up the server.
        self._patterns = [regex.compile(pattern) for pattern in redact]
        self._until = 0.0  # monotonic, by when the texts at hand have to be redacted
        self._days = days
        self._lost = lost
        self._waiting: Queue[Logged | None] = Queue(WAITING)
        self._clock = SteadyClock()
        self._held = 0  # characters that wait
        self._changing = threading.Lock()
        self._losses = 0  # since it was told that there are any
        self._last_loss = 0.0
        self._whole: Path | None = None  # a file whose last line this process has seen whole
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f".{os.getpid()}").touch()
            (folder / f".{os.getpid()}").unlink()
        except OSError as error:
            raise InputError(
                f"--log-queries {folder}: cannot be written: {error.strerror}; choose another one"
            ) from None
        self._thread = threading.Thread(target=self._work, name="log queries", daemon=True)
        self._thread.start()

    def add(self, logged: Logged) -> None:
        """Have a request written; returns at once, whatever the disk does."""
        with self._changing:
            fits = self._held + logged.characters <= CHARACTERS
            self._held += logged.characters if fits else 0
        try:
            if not fits:
                raise Full
            self._waiting.put_nowait(logged)
        except Full:
            self._hold(-logged.characters if fits else 0)
            self._fail("the disk is too slow")

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        looked = time.monotonic()
        while True:
            with suppress(Empty):
                logged = self._waiting.get(timeout=LOOKED_AFTER)
                if logged is None:
                    return
                self._write(logged)
                self._hold(-logged.characters)
            if time.monotonic() - looked >= LOOKED_AFTER:
                looked = time.monotonic()
                self._look_after()

    def _look_after(self) -> None:
        """Delete what is old, if the clock can be trusted; a folder that is gone stops nothing."""
        try:
            if self._clock.steady():
                self._forget(datetime.fromtimestamp(time.time(), UTC).date())
        except (OSError, ValueError, OverflowError) as error:
            facts = {"folder": str(self.folder), "error": str(error)}
            logger.warning("old files of queries cannot be looked for", extra={"facts": facts})

    def _write(self, logged: Logged) -> None:
        try:
            day = datetime.fromtimestamp(logged.time, UTC)
            line = json.dumps(self._content(logged, day), ensure_ascii=False) + "\n"
            self._append(self.folder / f"{day.date()}.jsonl", line.encode("utf-8", "replace"))
        except TimeoutError:
            self._fail(f"--log-redact took longer than {REDACTING:g} seconds on the texts of a request")
        except (OSError, ValueError, OverflowError) as error:  # a full disk; a clock beyond all years
            self._fail(str(error))
        else:
            self._recover()

    def _fail(self, why: str) -> None:
        """Count what is lost, and say it when it begins."""
        self._lost()
        self._last_loss = time.monotonic()
        self._losses += 1
        if self._losses == 1:
            facts = {"folder": str(self.folder), "error": why}
            logger.error("queries cannot be logged; serving goes on", extra={"facts": facts})

    def _recover(self) -> None:
        if self._losses and time.monotonic() - self._last_loss >= QUIET:
            logger.warning("queries are logged again", extra={"facts": {"lost": self._losses}})
            self._losses = 0

    def _hold(self, characters: int) -> None:
        with self._changing:
            self._held += characters

    def _append(self, file: Path, line: bytes) -> None:
        """Put a whole line to the end of a file, or nothing."""
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            with suppress(OSError):  # a file system that locks nothing
                fcntl.flock(opened, fcntl.LOCK_EX)
            if self._whole != file:
                if cut := cut_torn_line(opened):
                    logger.warning("an unfinished last line was cut off", extra={"facts": {"bytes": cut}})
                self._whole = file
            append_line(opened, line, sync=False)
        finally:
            os.close(opened)

    def _content(self, logged: Logged, day: datetime) -> dict[str, Any]:
        self._until = time.monotonic() + REDACTING
        query = self._redacted(logged.query)
        ids = logged.ids or [None] * len(logged.documents)
        found = zip(logged.documents, ids, logged.scores, strict=True)
        return {
            "time": day.isoformat(timespec="milliseconds"),
            "query_id": content_id(normalise(query) or query),
            "query": query,
            "model": logged.model,
            "version": logged.version,
            **({"split": logged.split} if logged.split else {}),
            "request_id": logged.request_id,
            "candidates": [self._candidate(document, doc_id, score) for document, doc_id, score in found],
        }

    def _candidate(self, document: DocumentText, doc_id: str | None, score: float) -> dict[str, Any]:
        """A document by its id; by its text where it has none, with an id that is the same for the same text."""
        if doc_id is not None:
            return {"id": doc_id, "score": score}
        text = self._redacted(text_of(document))
        title = "" if isinstance(document, str) else self._redacted(document.get("title") or "")
        return {"id": content_id(text), "score": score, **({"title": title} if title else {}), "text": text}

    def _redacted(self, text: str) -> str:
        """The text without what the patterns match.

        Raises:
            TimeoutError: they took too long.
        """
        for pattern in self._patterns:
            left = max(1e-3, self._until - time.monotonic())
            text = pattern.sub(REDACTED, text, timeout=left, concurrent=True)
        return text

    def _forget(self, today: date) -> None:
        """Delete files whose last line is older than they are kept for."""
        for file in sorted(self.folder.iterdir()):
            day = day_of(file)
            if day is None or (today - day).days <= self._days:
                continue
            try:
                file.unlink()
            except OSError as error:
                logger.warning(
                    "a file of queries cannot be deleted", extra={"facts": {"file": str(file), "error": str(error)}}
                )
            else:
                logger.info("deleted", extra={"facts": {"file": str(file), "days": (today - day).days}})
