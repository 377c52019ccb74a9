"""The stage candidates: search for every query, or take what the user's own engine found."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_stream
from tamis.context import RunContext, texts_of
from tamis.errors import InputError
from tamis.own_parts import Retriever
from tamis.progress import track
from tamis.records import Candidates, Facts
from tamis.retrievers.given_run import read_run
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.search import find_candidates, own_documents
from tamis.stages.queries.given import given_id, logged_id

AT_ONCE: Final = 256
"""Queries that the user's own function is asked about together."""


@dataclass(frozen=True)
class CandidatesStage:
    """Searches for every query, or takes what the user's own engine found.

    Attributes:
        first_stages: What searches.
        logs: Names of the logs of queries; the other runs are of general corpora.
        context: The run.
    """

    first_stages: FirstStages
    logs: frozenset[str]
    context: RunContext
    name: ClassVar = "candidates"
    reads: ClassVar = ("corpus", "queries")
    version: ClassVar = 4

    def key(self) -> object:
        """Settings of the first stages, and the hash of the encoder."""
        settings = self.first_stages.settings
        return [
            settings.model_dump(mode="json", exclude={"dense": {"path"}, "runs": True, "retriever": True}),
            dict(zip(settings.runs, input_hashes(list(settings.runs.values()), self.name), strict=True)),
            self.context.identity_of(settings.dense.path),
            self.context.machine.precision,
            *([settings.retriever.identity] if settings.retriever else ()),
        ]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        first_stages, context = self.first_stages, self.context
        vectors = first_stages.embeddings.vectors("query", texts_of(context.queries))
        depth = first_stages.settings.depth
        given, unknown = self._external_runs()
        if retriever := first_stages.settings.retriever:
            found_by, unknown[retriever.name] = self._own_engine(retriever, depth)
            given = {**found_by, **given}
        queries = list(context.queries.values())
        with track("searching", len(queries) - len(given)) as advance:
            found = find_candidates(queries, vectors, first_stages.indexes, depth, given, advance, context.executor)
            facts = write_stream(folder, self.name, found, Candidates)
        if own := own_documents(queries, first_stages.indexes):
            told = f"{len(own):,} given queries are documents of their corpus, by their ids; none is its own candidate"
            facts = {**facts, "warnings": [told]}
        return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts

    def _own_engine(self, retriever: Retriever, depth: int) -> tuple[dict[str, dict[str, float]], int]:
        """Scores of the documents that the user's function finds for the target's queries; how many are not there.

        Raises:
            InputError: not one of its documents is there.
        """
        target = self.context.target
        queries = [query for query in self.context.queries.values() if query.origin == "target"]
        blocks = [queries[start : start + AT_ONCE] for start in range(0, len(queries), AT_ONCE)]
        texts = ([query.text for query in block] for block in blocks)
        answers = self.context.executor_for(retriever).mapped(partial(_found_for, retriever, depth), texts)
        given: dict[str, dict[str, float]] = {}
        unknown = 0
        for block, answer in zip(blocks, answers, strict=True):
            for query, found in zip(block, answer, strict=True):
                given[query.query_id] = {doc_id: score for doc_id, score in found.items() if doc_id in target}
                unknown += len(found) - len(given[query.query_id])
        if queries and not any(given.values()):
            raise InputError(
                f"retriever {retriever.name!r}: none of the documents that it found is in the corpus, which has ids "
                f"like {next(iter(target))!r}; do they belong together?"
            )
        return given, unknown

    def _external_runs(self) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
        """Scores of the documents that the user's engine found, by query id; and how many lines named unknown ones.

        Ids in a run are those of its general corpus, or of its log and of the run's own documents. A query that its
        run does not answer has no scores.
        """
        given: dict[str, dict[str, float]] = {}
        unknown: dict[str, int] = {}
        for name, path in self.first_stages.settings.runs.items():
            of_log = name in self.logs
            run = read_run(path, self.context.documents, "" if of_log else f"{name}:")
            unknown[name] = run.unknown
            prefix = logged_id(name, "")
            for query in self.context.queries.values():
                if of_log and query.query_id.startswith(prefix):
                    given[query.query_id] = run.scores.get(query.query_id.removeprefix(prefix), {})
                elif query.origin == "general" and query.document_id.startswith(f"{name}:"):
                    given[query.query_id] = run.scores.get(given_id(query), {})
        return given, unknown


def _found_for(retriever: Retriever, depth: int, queries: list[str]) -> list[dict[str, float]]:
    return retriever.find(queries, depth)
