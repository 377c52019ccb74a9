"""The stage scores: what the teacher makes of every candidate."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tamis.artifacts import Record, read_column
from tamis.artifacts.output import write_stream
from tamis.context import Workshop, texts_of
from tamis.pipeline.recipe import Recipe
from tamis.progress import Advance, track
from tamis.records import Candidates, Facts, ScoredCandidates
from tamis.stages.scores.score import score_candidates
from tamis.stages.scores.teachers.identity import SPEED, teacher_identity


def scores_settings(recipe: Recipe) -> object:
    """Settings of the teacher, and the hashes of the models that are part of it."""
    teachers = recipe.scores.teachers
    aside = {"path", "template", *SPEED} - {"weight"}
    facts = recipe.scores.model_dump(mode="json", exclude={"teachers": {"__all__": aside}})
    return [facts, [teacher_identity(teacher) for teacher in teachers]]


def build_scores(shop: Workshop, folder: Path) -> Facts:
    """Ask the teacher about every candidate."""
    known = read_column(shop.folders["candidates"] / "candidates.parquet", "query_id")
    queries = {query_id: shop.queries[query_id] for query_id in known}
    shop.ask_ahead(lambda: ((queries[one.query_id], one.doc_ids) for one in shop.stream("candidates", Candidates)))
    with track("asking the teacher", len(queries)) as advance:
        candidates = shop.stream("candidates", Candidates)
        scored = score_candidates(candidates, queries, shop.teacher(texts_of(queries)))
        facts = write_stream(folder, "scores", _told(scored, advance, shop), ScoredCandidates)
    shop.toolbox.release_rerankers()
    spent = shop.servers.spent()
    return {**facts, "spent": spent} if spent else facts


def _told(records: Iterable[Record], advance: Advance, shop: Workshop) -> Iterator[Record]:
    """Records that are counted on the terminal as they come, beside what they have cost."""
    for record in records:
        yield record
        if shop.servers.money:
            advance.note = f"{shop.servers.money:.4g} spent"
        advance(1)
