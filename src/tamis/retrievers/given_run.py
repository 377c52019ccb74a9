"""The user's own search engine as a first stage: its results in a TREC run file.

A reader of its own, of what is needed here; the readers of other formats will take it over.
"""

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from tamis.errors import InputError


@dataclass(frozen=True)
class GivenRun:
    """What a run file says of documents that are known.

    Attributes:
        scores: Score of each document by query id and document id, higher is better.
        unknown: Lines whose document is not known; an engine may hold what a corpus left out as a duplicate.
    """

    scores: dict[str, dict[str, float]]
    unknown: int


def read_run(path: Path, known: Container[str], prefix: str = "") -> GivenRun:
    """Read a TREC run: query id, `Q0`, document id, rank, score and name of the run in each line.

    Fields are separated by tabs where a line holds one (ids may then hold spaces), else by white space. Order comes
    from the scores, as trec_eval has it; ranks are not looked at.

    Args:
        path: The file.
        known: Ids of the documents that are known.
        prefix: Put before each document id of the file.

    Raises:
        InputError: a missing file, a line that is not understood, a document that stands twice for a query, or not
            one document that is known.
    """
    scores: dict[str, dict[str, float]] = {}
    unknown = 0
    for number, (query_id, doc_id, score) in _lines(path):
        found = scores.setdefault(query_id, {})
        if doc_id in found:
            raise InputError(f"{path}, line {number}: document {doc_id!r} stands twice for query {query_id!r}")
        found[doc_id] = score
    kept: dict[str, dict[str, float]] = {}
    for query_id, found in scores.items():
        kept[query_id] = {prefix + doc_id: score for doc_id, score in found.items() if prefix + doc_id in known}
        unknown += len(found) - len(kept[query_id])
    if not any(kept.values()):
        raise InputError(f"{path}: none of its documents is in the corpus; do the ids belong together?")
    return GivenRun(kept, unknown)


def _lines(path: Path) -> Iterator[tuple[int, tuple[str, str, float]]]:
    """Numbered lines that are not blank: query id, document id, score."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _fields(path, number, line.rstrip("\r\n"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None


def _fields(path: Path, number: int, line: str) -> tuple[str, str, float]:
    fields = line.split("\t") if "\t" in line else line.split()
    try:
        query_id, _, doc_id, _, text, _ = fields
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{path}, line {number}: expected query-id Q0 document-id rank score name, got {line[:80]!r}")
    return query_id, doc_id, score
