"""`tamis inspect`: what a run did, per stage and language, and the whole history of any query in it."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from tamis.artifacts import find_records, newest_results, read_json, read_stream, stream_columns
from tamis.errors import InputError, RunError
from tamis.pipeline.run import NAMES
from tamis.records import GIVEN, Candidates, Document, Dropped, Query, ScoredCandidates, TrainingList
from tamis.remote.spending import Spending, spent_in
from tamis.stages.queries.given import LOG

RecordKind = TypeVar("RecordKind")

MOST_FOUND = 20
"""Queries that are named where a piece of text stands in several."""


@dataclass(frozen=True)
class StageFacts:
    """What one stage did.

    Attributes:
        name: The stage.
        seconds: Wall time.
        memory: Most bytes the process had held by its end.
        kept: Records that went on.
        dropped: Records left out, by reason.
        kept_of: Kept records by language, where records have one.
        dropped_of: Dropped records by language, those of each by reason.
        skipped: Files and folders that were passed over among the documents, by what they are.
    """

    name: str
    seconds: float
    memory: int
    kept: int
    dropped: Mapping[str, int]
    kept_of: Mapping[str, int]
    dropped_of: Mapping[str, Mapping[str, int]]
    skipped: Mapping[str, int]


@dataclass(frozen=True)
class HistoryEntry:
    """One document in the history of a query.

    Attributes:
        document: The document.
        rank: Its rank among the candidates, from 1.
        first_stage: First-stage score.
        teacher: The teacher's score, None where it was not asked.
        bin: Score bin, None where the document is in no list.
        label: What the student was to learn, None where the document is in no list.
    """

    document: Document
    rank: int
    first_stage: float
    teacher: float | None
    bin: int | None
    label: float | None


@dataclass(frozen=True)
class History:
    """Where a query came from and what became of it.

    Attributes:
        query: The query; its fields say who wrote it, with which prompt and seed.
        source: The document it was written from, None where that was left out, or for a query of a log.
        dropped: (stage, reason) that left it out, None where it was learnt from or held out.
        domain: The specialist that it belongs to, empty where it is in no list.
        split: `train` or `held-out`, empty where it is in no list.
        entries: Its candidates, best first.
    """

    query: Query
    source: Document | None
    dropped: tuple[str, str] | None
    domain: str
    split: str
    entries: Sequence[HistoryEntry]


class Inspection:
    """The newest results in a run folder; nothing in it is changed."""

    def __init__(self, root: Path) -> None:
        """Find them.

        Raises:
            RunError: no finished stage lies there.
        """
        manifests = sorted(root.glob("*/*/manifest.json"), key=lambda file: file.stat().st_mtime)
        known = [file for file in manifests if file.parent.parent.name in NAMES]
        if not known:
            raise RunError(f"{root}: no finished stage in it; expected the folder of a run, as --out names it")
        self._root = root
        self._folders = newest_results(root, known[-1].parent.parent.name)

    def stages(self) -> Iterator[StageFacts]:
        """What every stage did, in their order."""
        # Only the ids are held of many queries; there are few languages, each of them once.
        languages = {
            query_id: sys.intern(language) for query_id, language in self._columns("queries", "query_id", "language")
        }
        for name in NAMES:
            if name not in self._folders:
                continue
            manifest = read_json(self._folders[name] / "manifest.json")
            kept_of: Counter[str] = Counter()
            if name == "corpus":
                kept_of.update(language for (language,) in self._columns(name, "language"))
            elif name == "queries":
                kept_of.update(languages.values())
            elif name in ("candidates", "scores", "lists"):
                kept_of.update(languages[query_id] for (query_id,) in self._columns(name, "query_id"))
            left_out = self._file(name, "dropped.parquet")
            dropped_of: dict[str, Counter[str]] = {}
            for language, reason in stream_columns(left_out, "language", "reason") if left_out else ():
                dropped_of.setdefault(language, Counter())[reason] += 1
            counts = manifest["counts"]
            yield StageFacts(
                name,
                manifest["seconds"],
                manifest.get("peak_memory_bytes", 0),
                counts["kept"],
                counts["dropped"],
                kept_of,
                dropped_of,
                manifest.get("folder", {}).get("skipped", {}),
            )

    def spent(self) -> dict[str, Spending]:
        """What each model behind a server has cost so far, by what it does and what it is called."""
        return spent_in(self._root)

    def find(self, wanted: str) -> list[Query]:
        """Queries with this id, or else those in whose id or text it stands, whatever its case."""
        low = wanted.casefold()
        file = self._file("queries", "queries.parquet")
        every = chain(read_stream(file, Query) if file else (), self._dropped_queries())
        holding = [q for q in every if low in q.query_id.casefold() or low in q.text.casefold()]
        return [query for query in holding if query.query_id == wanted] or holding

    def history(self, wanted: str) -> History:
        """The history of one query.

        Args:
            wanted: Its id, or a piece of its text that stands in no other one.

        Raises:
            InputError: no query, or several; some are named.
        """
        found = self.find(wanted)
        if not found:
            raise InputError(f"{self._root}: no query has the id {wanted!r} or holds this text")
        if len(found) > 1:
            some = ", ".join(query.query_id for query in found[:MOST_FOUND])
            more = f" and {len(found) - MOST_FOUND} more" if len(found) > MOST_FOUND else ""
            raise InputError(f"{self._root}: {len(found)} queries hold {wanted!r}; name one of {some}{more}")
        query = found[0]
        learnt = self._of_query("lists", TrainingList, query.query_id)
        found_by = self._of_query("candidates", Candidates, query.query_id)
        shown = {query.document_id, *(found_by.doc_ids if found_by else ())}
        documents = {d.doc_id: d for d in self._find("corpus", "corpus.parquet", Document, "doc_id", shown)}
        return History(
            query,
            documents.get(query.document_id),
            self._reason(query.query_id),
            learnt.domain if learnt else "",
            learnt.split if learnt else "",
            list(self._entries(found_by, documents, learnt)) if found_by else [],
        )

    def _entries(
        self, found: Candidates, documents: Mapping[str, Document], learnt: TrainingList | None
    ) -> Iterator[HistoryEntry]:
        scored = self._of_query("scores", ScoredCandidates, found.query_id)
        teacher = dict(zip(scored.doc_ids, scored.teacher, strict=True)) if scored else {}
        bins = dict(zip(learnt.doc_ids, learnt.bins, strict=True)) if learnt else {}
        labels = dict(zip(learnt.doc_ids, learnt.labels, strict=True)) if learnt else {}
        for rank, (doc_id, score) in enumerate(zip(found.doc_ids, found.scores, strict=True), 1):
            of = (teacher.get(doc_id), bins.get(doc_id), labels.get(doc_id))
            yield HistoryEntry(documents[doc_id], rank, score, *of)

    def _reason(self, query_id: str) -> tuple[str, str] | None:
        for stage in ("queries", "candidates", "scores", "lists"):
            for record in self._find(stage, "dropped.parquet", Dropped, "record_id", [query_id]):
                return stage, record.reason
        return None

    def _dropped_queries(self) -> Iterator[Query]:
        """Queries that the filters left out, as far as their record goes: their names say who wrote them."""
        file = self._file("queries", "dropped.parquet")
        for record in read_stream(file, Dropped) if file else ():
            generator, *_, document_id = record.record_id.split("/", 2)
            if generator == LOG:
                generator, document_id = GIVEN, ""
            yield Query(record.record_id, record.text, record.language, "", document_id, generator)

    def _of_query(self, stage: str, kind: type[RecordKind], query_id: str) -> RecordKind | None:
        return next(self._find(stage, f"{stage}.parquet", kind, "query_id", [query_id]), None)

    def _find(
        self, stage: str, name: str, kind: type[RecordKind], field: str, wanted: Collection[str]
    ) -> Iterator[RecordKind]:
        """Records of a file whose field is one of those wanted."""
        file = self._file(stage, name)
        return find_records(file, kind, field, wanted) if file else iter(())

    def _columns(self, stage: str, *names: str) -> Iterator[tuple[Any, ...]]:
        """Some fields of all records that a stage kept."""
        file = self._file(stage, f"{stage}.parquet")
        return stream_columns(file, *names) if file else iter(())

    def _file(self, stage: str, name: str) -> Path | None:
        """A file of a stage; none where the stage was not run or has no such file."""
        file = self._folders[stage] / name if stage in self._folders else None
        return file if file and file.exists() else None
