"""The domains of earlier runs, by whose held-out queries a model is judged that learns another one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tamis.artifacts import file_hash, newest_results, read_records
from tamis.records import Document, Query, TrainingList


@dataclass(frozen=True)
class OldDomains:
    """What the last training of a run learnt from; every query and document id begins with the folder's name.

    Attributes:
        lists: All its lists.
        queries: Its queries by id.
        documents: Its documents by id.
    """

    lists: list[TrainingList]
    queries: dict[str, Query]
    documents: dict[str, Document]


def old_domains(run: Path) -> OldDomains:
    """Read the lists, queries and documents of the newest training in a run folder.

    Raises:
        RunError: no finished training lies there.
    """
    folders = newest_results(run, "train")
    mark = f"{run.name}/"
    lists = [
        replace(one, query_id=mark + one.query_id, doc_ids=tuple(mark + doc_id for doc_id in one.doc_ids))
        for one in read_records(folders["lists"] / "lists.parquet", TrainingList)
    ]
    queries = (replace(q, query_id=mark + q.query_id) for q in _read(folders, "queries", Query))
    documents = (replace(d, doc_id=mark + d.doc_id) for d in _read(folders, "corpus", Document))
    return OldDomains(lists, {q.query_id: q for q in queries}, {d.doc_id: d for d in documents})


def old_domains_identity(runs: Iterable[Path]) -> list[str]:
    """Hash of the lists of each run: what a merge that is judged by them depends on.

    Raises:
        RunError: no finished training lies there.
    """
    return [file_hash(newest_results(run, "train")["lists"] / "lists.parquet") for run in runs]


def _read(folders: Mapping[str, Path], stage: str, kind: type) -> Iterator[Any]:
    yield from read_records(folders[stage] / f"{stage}.parquet", kind)
