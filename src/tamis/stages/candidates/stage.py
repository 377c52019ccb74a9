"""The stage candidates: search for every query, or take what the user's own engine found."""

from pathlib import Path

from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_stream
from tamis.context import Workshop, texts_of
from tamis.machine import resolve_precision
from tamis.models.checkpoint import model_identity
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import Candidates, Facts
from tamis.retrievers.given_run import read_run
from tamis.stages.candidates.search import find_candidates
from tamis.stages.queries.given import given_id, logged_id


def encoder_settings(recipe: Recipe) -> object:
    """Settings of the first stages, and the hash of the encoder."""
    candidates = recipe.candidates
    return [
        candidates.model_dump(mode="json", exclude={"dense": {"path"}, "runs": True}),
        dict(zip(candidates.runs, input_hashes(list(candidates.runs.values()), "candidates"), strict=True)),
        model_identity(candidates.dense.path),
        resolve_precision(recipe.precision),
    ]


def build_candidates(shop: Workshop, folder: Path) -> Facts:
    """Search for every query, or take what the user's own engine found."""
    vectors = shop.vectors("query", "dense", texts_of(shop.queries))
    depth = shop.recipe.candidates.depth
    given, unknown = _given_runs(shop)
    queries = list(shop.queries.values())
    with track("searching", len(queries) - len(given)) as advance:
        found = find_candidates(queries, vectors, shop.shelves, depth, given, advance, shop.engine)
        facts = write_stream(folder, "candidates", found, Candidates)
    return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts


def _given_runs(shop: Workshop) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Scores of the documents that the user's engine found, by our query id; and how many lines named unknown ones.

    Ids in a run are those of its general corpus, or of its log and of the run's own documents. A query that its run
    does not answer has no scores.
    """
    given: dict[str, dict[str, float]] = {}
    unknown: dict[str, int] = {}
    logs = {log.path.name for log in shop.recipe.queries.logs}
    for name, path in shop.recipe.candidates.runs.items():
        run = read_run(path, shop.documents, "" if name in logs else f"{name}:")
        unknown[name] = run.unknown
        of_log = logged_id(name, "")
        for query in shop.queries.values():
            if name in logs and query.query_id.startswith(of_log):
                given[query.query_id] = run.scores.get(query.query_id.removeprefix(of_log), {})
            elif query.origin == "general" and query.document_id.startswith(f"{name}:"):
                given[query.query_id] = run.scores.get(given_id(query), {})
    return given, unknown
