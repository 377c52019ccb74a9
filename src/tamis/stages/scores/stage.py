"""The stage scores: what the teacher makes of every candidate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from tamis.artifacts import Record, read_column
from tamis.artifacts.output import write_stream
from tamis.context import RunContext, texts_of
from tamis.progress import Advance, track
from tamis.records import Candidates, Facts, ScoredCandidates
from tamis.stages.scores.score import score_candidates
from tamis.stages.scores.teachers.teacher import TeacherPool
from tamis.stages.scores.teachers.teaching import SPEED


@dataclass(frozen=True)
class ScoresStage:
    """Asks the teacher about every candidate.

    Attributes:
        teachers: Who is asked.
        context: The run.
    """

    teachers: TeacherPool
    context: RunContext
    name: ClassVar = "scores"
    reads: ClassVar = ("corpus", "queries", "candidates")
    version: ClassVar = 1

    def key(self) -> object:
        """Settings of the teacher, and the hashes of the models that are part of it."""
        settings = self.teachers.settings
        aside = {"path", "template", *SPEED} - {"weight"}
        facts = settings.model_dump(mode="json", exclude={"teachers": {"__all__": aside}})
        return [facts, [member.identity() for member in self.teachers.members]]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        context, teachers = self.context, self.teachers
        known = read_column(context.folders["candidates"] / "candidates.parquet", "query_id")
        queries = {query_id: context.queries[query_id] for query_id in known}
        every = partial(context.stream, "candidates", Candidates)
        teach = teachers.open(texts_of(queries), lambda: ((queries[c.query_id], c.doc_ids) for c in every()))
        with track("asking the teacher", len(queries)) as advance:
            scored = score_candidates(every(), queries, teach)
            facts = write_stream(folder, self.name, self._counted(scored, advance), ScoredCandidates)
        teachers.release()
        spent = {name: costs for server in teachers.servers for name, costs in server.spent().items()}
        return {**facts, "spent": spent} if spent else facts

    def _counted(self, records: Iterable[Record], advance: Advance) -> Iterator[Record]:
        """Records that are counted on the terminal as they come, beside what they have cost."""
        for record in records:
            yield record
            if money := sum(server.money for server in self.teachers.servers):
                advance.note = f"{money:.4g} spent"
            advance(1)
