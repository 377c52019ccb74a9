"""The user's own search engine as a first stage: its results in a TREC run file."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from tamis.errors import InputError
from tamis.formats import trec


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
    """Read a TREC run, see `tamis.formats.trec.read_run`, of documents that are known.

    Args:
        path: The file.
        known: Ids of the documents that are known.
        prefix: Put before each document id of the file.

    Raises:
        InputError: a missing file, a line that is not understood, a document that comes twice for a query, or not one
            document that is known.
    """
    kept: dict[str, dict[str, float]] = {}
    unknown = 0
    for query_id, found in trec.read_run(path).items():
        named = zip((prefix + doc_id for doc_id in found.doc_ids), found.scores, strict=True)
        kept[query_id] = {doc_id: score for doc_id, score in named if doc_id in known}
        unknown += len(found.doc_ids) - len(kept[query_id])
    if not any(kept.values()):
        raise InputError(f"{path}: none of its documents is in the corpus; do the ids belong together?")
    return GivenRun(kept, unknown)
