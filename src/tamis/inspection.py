"""`tamis inspect`: what a run did, per stage and language, and the whole history of any query in it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.artifacts import newest_results, read_json, read_records
from tamis.building.ledger import Spending, spent_in
from tamis.errors import InputError, RunError
from tamis.pipeline import NAMES
from tamis.records import Candidates, Document, Dropped, Query, ScoredCandidates, TrainingList

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
        dropped_of: Dropped records by language.
    """

    name: str
    seconds: float
    memory: int
    kept: int
    dropped: Mapping[str, int]
    kept_of: Mapping[str, int]
    dropped_of: Mapping[str, int]


@dataclass(frozen=True)
class Entry:
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
        source: The document it was written from, None where that was left out.
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
    entries: Sequence[Entry]


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
        languages = {q.query_id: q.language for q in self._read("queries", Query)}
        for name in NAMES:
            if name not in self._folders:
                continue
            manifest = read_json(self._folders[name] / "manifest.json")
            kept_of: Counter[str] = Counter()
            if name == "corpus":
                kept_of.update(document.language for document in self._read(name, Document))
            elif name == "queries":
                kept_of.update(languages.values())
            elif name in ("candidates", "scores", "lists"):
                kind = {"candidates": Candidates, "scores": ScoredCandidates, "lists": TrainingList}[name]
                kept_of.update(languages[record.query_id] for record in self._read(name, kind))
            dropped_of = Counter(record.language for record in self._dropped(name))
            counts = manifest["counts"]
            yield StageFacts(
                name,
                manifest["seconds"],
                manifest.get("peak_memory_bytes", 0),
                counts["kept"],
                counts["dropped"],
                kept_of,
                dropped_of,
            )

    def spent(self) -> dict[str, Spending]:
        """What each model behind a server has cost so far, by what it does and what it is called."""
        return spent_in(self._root)

    def find(self, wanted: str) -> list[Query]:
        """Queries with this id, or else those in whose id or text it stands, whatever its case."""
        every = [*self._read("queries", Query), *self._dropped_queries()]
        exact = [query for query in every if query.query_id == wanted]
        low = wanted.casefold()
        return exact or [q for q in every if low in q.query_id.casefold() or low in q.text.casefold()]

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
        documents = {d.doc_id: d for d in self._read("corpus", Document)}
        learnt = next((one for one in self._read("lists", TrainingList) if one.query_id == query.query_id), None)
        return History(
            query,
            documents.get(query.document_id),
            self._reason(query.query_id),
            learnt.domain if learnt else "",
            learnt.split if learnt else "",
            list(self._entries(query.query_id, documents, learnt)),
        )

    def _entries(
        self, query_id: str, documents: Mapping[str, Document], learnt: TrainingList | None
    ) -> Iterator[Entry]:
        found = next((one for one in self._read("candidates", Candidates) if one.query_id == query_id), None)
        if found is None:
            return
        scored = next((one for one in self._read("scores", ScoredCandidates) if one.query_id == query_id), None)
        teacher = dict(zip(scored.doc_ids, scored.teacher, strict=True)) if scored else {}
        bins = dict(zip(learnt.doc_ids, learnt.bins, strict=True)) if learnt else {}
        labels = dict(zip(learnt.doc_ids, learnt.labels, strict=True)) if learnt else {}
        for rank, (doc_id, score) in enumerate(zip(found.doc_ids, found.scores, strict=True), 1):
            of = (teacher.get(doc_id), bins.get(doc_id), labels.get(doc_id))
            yield Entry(documents[doc_id], rank, score, *of)

    def _reason(self, query_id: str) -> tuple[str, str] | None:
        for stage in ("queries", "candidates", "scores", "lists"):
            for record in self._dropped(stage):
                if record.record_id == query_id:
                    return stage, record.reason
        return None

    def _dropped_queries(self) -> Iterator[Query]:
        """Queries that the filters left out, as far as their record goes: their names say who wrote them."""
        for record in self._dropped("queries"):
            generator, *_, document_id = record.record_id.split("/", 2)
            yield Query(record.record_id, record.text, record.language, "", document_id, generator)

    def _read(self, stage: str, kind: type[Any]) -> list[Any]:
        return self._records(stage, f"{stage}.parquet", kind)

    def _dropped(self, stage: str) -> list[Dropped]:
        return self._records(stage, "dropped.parquet", Dropped)

    def _records(self, stage: str, name: str, kind: type[Any]) -> list[Any]:
        """Records of a file; none where the stage was not run or has no such file."""
        file = self._folders[stage] / name if stage in self._folders else None
        return read_records(file, kind) if file and file.exists() else []
