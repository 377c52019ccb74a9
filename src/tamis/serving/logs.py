"""Logs as lines of JSON. No line holds a query or a document."""

import json
import logging
from datetime import UTC, datetime
from typing import TextIO


class JsonLines(logging.Formatter):
    """One object a record: time, level, what happened, and the facts that were given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__  # its words might hold a request's text
        return json.dumps(line, ensure_ascii=False)


def log_to(stream: TextIO) -> None:
    """Send the lines of this server and of the library below it to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.raiseExceptions = False  # a full disk must not stop a server, nor fill another one
    for name in ("tamis", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
