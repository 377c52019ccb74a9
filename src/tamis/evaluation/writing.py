"""What is written of a measured set: runs, judgements, and the table of questions."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.evaluation.figures import Measured, measure_system
from tamis.evaluation.sets import JudgedSet
from tamis.evaluation.systems import System
from tamis.formats.qrels import write_qrels
from tamis.formats.trec import by_rank, write_ranking
from tamis.formulas.measures import Ranking

TiedRanking = tuple[str, Sequence[str], bool]
"""A question's id, its documents best first, and whether the best score is shared."""

RankedSystem = tuple[System, Iterable[Ranking], Callable[[], float | None]]
"""A system, its rankings, and what gives its tie rate once these were read; None where no score ranks."""


class ReadRankings:
    """Rankings that are read once, and how many of them are tied."""

    def __init__(self, rankings: Iterator[TiedRanking], judged: JudgedSet, scored: bool = True) -> None:
        self._rankings, self._questions, self._scored = rankings, len(judged.questions), scored
        self._tied = 0

    def __iter__(self) -> Iterator[Ranking]:
        for query_id, doc_ids, tied in self._rankings:
            self._tied += tied
            yield query_id, doc_ids

    def tie_rate(self) -> float | None:
        """Share of all questions of the set, once the rankings are through."""
        return self._tied / self._questions if self._scored else None


def measure_set(
    judged: JudgedSet, systems: Iterable[RankedSystem], measures: Mapping[str, Any], folder: Path
) -> Iterator[Measured]:
    """Measure every system of a set; its run is written as it is measured, and the judgements beside the runs.

    Passages are ranked as the documents that are judged.

    Args:
        judged: The set.
        systems: What ranks, one after the other.
        measures: As `parse_measures` gives them; the first one is the main one.
        folder: Folder of the set, which is made.
    """
    (folder / "runs").mkdir(parents=True)
    write_qrels(folder / "qrels.trec", judged.grades)
    for system, rankings, ties in systems:
        ranked = ((query_id, judged.judged_ranking(query_id, doc_ids)) for query_id, doc_ids in rankings)
        written = _written(ranked, folder / "runs" / f"{system.name}.trec", system.name)
        yield measure_system(judged, system, written, measures, ties)


def _written(rankings: Iterable[Ranking], file: Path, tag: str) -> Iterator[Ranking]:
    """The rankings, as they are written to a TREC run; the score is the negative rank, so that tools keep our order."""
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for query_id, doc_ids in rankings:
            write_ranking(stream, by_rank(query_id, doc_ids), tag)
            yield query_id, doc_ids


class PerQuery:
    """per_query.parquet: a row for each question and system."""

    def __init__(self, path: Path, measures: Sequence[str]) -> None:
        self._measures = measures
        texts = [
            pa.field(name, pa.string())
            for name in ("set", "query_id", "text", "language", "domain", "system", "baseline")
        ]
        figures = [pa.field(name, pa.float64()) for name in (*measures, "difference")]
        self._schema = pa.schema([*texts, *figures])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> "PerQuery":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, judged: JudgedSet, measured: Sequence[Measured]) -> None:
        """Write a set; `difference` is the main measure's to the baseline."""
        main = self._measures[0]
        values = {m.system.name: m.values[main] for m in measured}
        questions = list(judged.questions.values())
        for each in measured:
            baseline = values.get(each.system.baseline or "")
            columns = {
                "set": [judged.name] * len(questions),
                "query_id": [question.query_id for question in questions],
                "text": [question.text for question in questions],
                "language": [question.language for question in questions],
                "domain": [question.domain for question in questions],
                "system": [each.system.name] * len(questions),
                "baseline": [each.system.baseline] * len(questions),
                **each.values,
                "difference": [None] * len(questions) if baseline is None else values[each.system.name] - baseline,
            }
            self._writer.write_table(pa.table(columns, schema=self._schema))
