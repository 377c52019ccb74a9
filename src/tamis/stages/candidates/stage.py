"""The stage candidates: search for every query, or take what the user's own engine found."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_stream
from tamis.context import RunContext, texts_of
from tamis.progress import track
from tamis.records import Candidates, Facts
from tamis.retrievers.given_run import read_run
from tamis.stages.candidates.encoders import DENSE
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.search import find_candidates, own_documents
from tamis.stages.queries.given import given_id, logged_id


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
    version: ClassVar = 3

    def key(self) -> object:
        """Settings of the first stages, and the hash of the encoder."""
        settings = self.first_stages.settings
        return [
            settings.model_dump(mode="json", exclude={"dense": {"path"}, "runs": True}),
            dict(zip(settings.runs, input_hashes(list(settings.runs.values()), self.name), strict=True)),
            self.context.identity_of(settings.dense.path),
            self.context.machine.precision,
        ]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        first_stages, context = self.first_stages, self.context
        vectors = first_stages.embeddings.vectors("query", DENSE, texts_of(context.queries))
        depth = first_stages.settings.depth
        given, unknown = self._external_runs()
        queries = list(context.queries.values())
        with track("searching", len(queries) - len(given)) as advance:
            found = find_candidates(queries, vectors, first_stages.indexes, depth, given, advance, context.engine)
            facts = write_stream(folder, self.name, found, Candidates)
        if own := own_documents(queries, first_stages.indexes):
            told = f"{len(own):,} given queries are documents of their corpus, by their ids; none is its own candidate"
            facts = {**facts, "warnings": [told]}
        return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts

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
