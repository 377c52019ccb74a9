"""The user's own search engine as a first stage: its results in a TREC run file."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from tamis.errors import InputError
from tamis.formats import trec
from tamis.records import Candidates


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
    run = {
        query_id: Candidates(query_id, tuple(prefix + doc_id for doc_id in found.doc_ids), found.scores)
        for query_id, found in trec.read_run(path).items()
    }
    kept, unknown = of_known(run, known)
    if not any(found.doc_ids for found in kept.values()):
        raise InputError(f"{path}: none of its documents is in the corpus; do the ids belong together?")
    scores = {query_id: dict(zip(found.doc_ids, found.scores, strict=True)) for query_id, found in kept.items()}
    return GivenRun(scores, unknown)


def of_known(run: Mapping[str, Candidates], known: Container[str]) -> tuple[dict[str, Candidates], int]:
    """A run without documents that are not known.

    Args:
        run: Candidates by query id.
        known: Ids of the documents that are known.

    Returns:
        The run, in which a query may have nothing left, and the number of candidates that were left out.
    """
    kept = {query_id: found.where(lambda doc_id: doc_id in known) for query_id, found in run.items()}
    return kept, sum(len(found.doc_ids) - len(kept[query_id].doc_ids) for query_id, found in run.items())
