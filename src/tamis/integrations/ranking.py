"""What the rerankers of all frameworks do alike: rank what a search found, with its scores where it told them."""

from collections.abc import Sequence
from pathlib import Path

from tamis.errors import InputError
from tamis.models.checkpoint import ORDER, OTHER
from tamis.models.first_stage import NONE, FirstStageArgument, default_of
from tamis.models.reranker import Reranker

Model = str | Path | Reranker
"""Folder or hub name, or a reranker that is loaded."""


def loaded(model: Model) -> Reranker:
    """The reranker itself."""
    return model if isinstance(model, Reranker) else Reranker(model)


def rank_found(
    model: Model,
    query: str,
    texts: Sequence[str | None],
    scores: Sequence[float | None],
    top_n: int | None,
    first_stage: str | None,
) -> list[tuple[int, float]]:
    """Rank what a search found.

    Args:
        model: What ranks.
        query: The query.
        texts: Of each document, best first as the search says; None counts as empty.
        scores: The search's score of each document, higher is better; None for one that has none.
        top_n: How many to return, at least 1; None for all.
        first_stage: Name of the search, for its weight in the model; `order` and `none` say that scores do not count.
            None takes the weight of `other` for scores, and without scores the order if the model has a weight for it,
            as `tamis serve` does.

    Returns:
        (index into `texts`, score), best first; scores never rise.

    Raises:
        InputError: some documents have a score and others none, a search is named and none has one, or as
            `Reranker.rank`.
    """
    reranker = loaded(model)
    argument = _argument(reranker, scores, first_stage)
    hits = reranker.rank(query, [text or "" for text in texts], top_n, first_stage=argument) if texts else []
    return [(hit["corpus_id"], hit["score"]) for hit in hits]


def _argument(reranker: Reranker, scores: Sequence[float | None], first_stage: str | None) -> FirstStageArgument:
    """What `rank` is told about the first stage."""
    if first_stage in (NONE, ORDER):
        return str(first_stage)
    told = [score for score in scores if score is not None]
    if len(told) == len(scores) > 0:
        return first_stage or OTHER, told
    if told:
        place = next(place for place, score in enumerate(scores) if score is None)
        raise InputError(
            f"document {place} has no score of the search, others have; give each one, or say first_stage='none'"
        )
    if first_stage is not None and scores:
        raise InputError(f"first_stage {first_stage!r}: no document has a score of it; say 'order' or 'none'")
    return default_of(reranker.deployment)
