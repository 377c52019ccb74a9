"""The stage queries: write them, take those that were given, filter all."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tamis.artifacts import drop_counts, read_json, split_dropped
from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_output
from tamis.context import RunContext
from tamis.errors import InputError
from tamis.formats.queries import query_log_files
from tamis.languages import language_identifier
from tamis.records import GIVEN, Dropped, Facts, Query
from tamis.stages.corpus.overlaps import QUERY_SHINGLE, evaluation_texts, kept_out_hashes, without_overlaps
from tamis.stages.corpus.settings import CorpusSettings
from tamis.stages.queries.given import given_queries, given_rows, log_queries
from tamis.stages.queries.settings import QueriesSettings
from tamis.stages.queries.write import filter_queries
from tamis.stages.queries.writers.answers import CUT
from tamis.stages.queries.writers.endpoint import cut_warning
from tamis.stages.queries.writers.writers import QueryWriters
from tamis.stages.queries.written import written_facts


@dataclass(frozen=True)
class QueriesStage:
    """Writes queries from the target documents, takes those of files, general corpora and logs, filters all.

    Attributes:
        settings: Who writes, and what is left out.
        corpus: The general corpora, with their own queries; the languages that may occur.
        writers: Who writes.
        context: The run.
    """

    settings: QueriesSettings
    corpus: CorpusSettings
    writers: QueryWriters
    context: RunContext
    name: ClassVar = "queries"
    reads: ClassVar = ("corpus",)
    version: ClassVar = 4

    def key(self) -> object:
        """Settings of the writers and of the filters; those that are off are as if there were none."""
        near = self.settings.near_duplicate
        logs = [
            {"name": log.path.name, "files": input_hashes(query_log_files(log.path), "queries")}
            | log.model_dump(mode="json", exclude={"path"})
            for log in self.settings.logs
        ]
        kept_out = kept_out_hashes(self.settings.keep_out)
        written = written_facts(self.settings.written)
        files = [{name: facts} for name, facts in (("logs", logs), ("written", written)) if facts]
        return [self.writers.key(), *([near] if near else ()), *kept_out, *files]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        documents = self.context.documents
        languages = sorted({document.language for document in documents.values()})
        written = self.writers.write()
        given = given_queries(self.given(), documents)
        came, dropped = split_dropped(itertools.chain(written.queries, given, self.typed()))
        identify = language_identifier([*languages, "en"])
        filtered = filter_queries(came, documents, identify, written.shots, written.style)
        queries, left_out = split_dropped(filtered)
        dropped += left_out
        kept_out = evaluation_texts(self.settings.keep_out, documents=False)
        queries, left_out = without_overlaps(queries, kept_out, self.settings.near_duplicate, QUERY_SHINGLE)
        dropped += left_out
        kept = [query.query_id for query in queries]
        facts = {**write_output(folder, self.name, queries, Query, dropped), "generators": by_generator(kept, dropped)}
        facts |= {"warnings": warnings} if (warnings := self._warnings(facts["counts"]["dropped"])) else {}
        return {**facts, "spent": written.spent} if written.spent else facts

    def given(self) -> Iterator[tuple[str, str, str]]:
        """The given queries of the general documents that are there: id, text and document."""
        return given_rows(self.corpus.general, self.context.documents)

    def typed(self) -> Iterator[Query]:
        """The queries of the logs."""
        return log_queries(self.settings.logs, self.corpus.languages, self.context.documents)

    def _warnings(self, dropped: Mapping[str, int]) -> list[str]:
        """That documents are longer than what is read, and that answers of a server were cut."""
        longer = self.writers.parts.warnings() if self.writers.parts else []
        count, endpoint = dropped.get(CUT, 0), self.settings.endpoint
        return [*longer, *([cut_warning(count, endpoint)] if count and endpoint else [])]

    def check(self, recipe: str) -> None:
        """Somebody asks about the documents that are learnt from.

        Args:
            recipe: Its name, for the message.

        Raises:
            InputError: All queries were dropped; they are counted by reason.
        """
        target, folder = self.corpus.target, self.context.folders[self.name]
        if any(query.origin == ("target" if target else "general") for query in self.context.queries.values()):
            return
        reasons = Counter[str]()
        for name, counts in read_json(folder / "manifest.json")["generators"].items():
            if not target or name != GIVEN:  # given ones ask about general documents
                reasons.update(counts["dropped"])
        if reasons:
            told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            raise InputError(
                f"{recipe}: 0 of {reasons.total():,} queries were kept: {told}; see {folder}/dropped.parquet, and give "
                "other queries or let another model write"
            )


def by_generator(kept: Sequence[str], dropped: Sequence[Dropped]) -> dict[str, Facts]:
    """Counts of each query writer, in the form of a manifest's counts; query ids begin with the writer's name."""
    kept_of = Counter(query_id.split("/")[0] for query_id in kept)
    dropped_of: dict[str, list[Dropped]] = {}
    for record in dropped:
        dropped_of.setdefault(record.record_id.split("/")[0], []).append(record)
    counts: dict[str, Facts] = {}
    for name in sorted(kept_of.keys() | dropped_of.keys()):
        own = dropped_of.get(name, [])
        counts[name] = {"in": kept_of[name] + len(own), "kept": kept_of[name], "dropped": drop_counts(own)}
    return counts
