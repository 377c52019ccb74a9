"""Held-out queries weigh the first stages beside the student, and say where its published score is one half."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tamis.building.scoring import score_pairs
from tamis.building.workshop import Workshop, texts_of
from tamis.formulas.calibration import balanced_level
from tamis.formulas.ranking import agreement, steady_weight, z_scores
from tamis.models.student import Student
from tamis.records import Query
from tamis.settings import Recipe
from tamis.stages.candidates import search_shelves
from tamis.stages.evaluate import RERANKED


def rerank_depth(recipe: Recipe) -> int:
    """How many candidates the model will rerank; of the evaluation's settings no other is looked at before it."""
    return recipe.evaluate.depth if recipe.evaluate else 20


class Head(NamedTuple):
    """The best candidates of a first stage for one held-out query.

    Attributes:
        logits: The student's, [candidates].
        first: The first stage's scores, [candidates].
        own: 1 for the document that the query belongs to, 0 for the others, [candidates].
    """

    logits: np.ndarray
    first: np.ndarray
    own: np.ndarray


def held_out_heads(shop: Workshop, student: Student, queries: Sequence[Query]) -> dict[str, list[Head]]:
    """What the student makes of held-out queries, by first stage, down to the depth at which it will be used.

    Args:
        shop: The tools of the run.
        student: The model.
        queries: Each with the document that it belongs to; may be none.
    """
    if not queries:
        return {first_stage: [] for first_stage in RERANKED}
    vectors = shop.vectors("query", "dense", texts_of(shop.queries))
    found = dict(
        (query.query_id, ranked)
        for query, ranked in search_shelves(queries, vectors, shop.shelves, rerank_depth(shop.recipe), RERANKED)
    )
    heads: dict[str, list[Head]] = {}
    for first_stage in RERANKED:
        ranked = [(query, found[query.query_id][first_stage]) for query in queries]
        pairs = [(query.query_id, doc_id) for query, head in ranked for doc_id in head.doc_ids]
        logits = score_pairs(shop, student, pairs, f"weighing {first_stage}")
        heads[first_stage] = [
            Head(
                np.array([logits[query.query_id, doc_id] for doc_id in head.doc_ids]),
                np.array(head.scores),
                np.array([float(doc_id == query.document_id) for doc_id in head.doc_ids]),
            )
            for query, head in ranked
        ]
    return heads


def first_stage_weights(
    heads: Mapping[str, Sequence[Head]], choices: Iterable[float]
) -> tuple[dict[str, float], dict[str, list[list[float]]]]:
    """For each reranked first stage, the weight of its score beside the student's, and how well each weight does.

    Judged by nDCG@10 of the document that each held-out query belongs to; a weight other than 1 needs evidence
    (`steady_weight`). Not by agreement with the teacher: it holds the first stage's own scorers and flatters them
    (docs/log.md). Without any query there is no evidence, and no curve.
    """
    if not any(heads.values()):
        choices = list(choices)
        return dict.fromkeys(heads, steady_weight(choices, np.zeros((len(choices), 1)))), {}
    weights: dict[str, float] = {}
    curves: dict[str, list[list[float]]] = {}
    choices = sorted(choices)
    for first_stage, found in heads.items():
        parts = [(z_scores(head.logits), z_scores(head.first), head.own) for head in found]
        values = np.array(
            [[agreement(s + weight * f, own) if own.any() else 0.0 for s, f, own in parts] for weight in choices]
        )
        curves[first_stage] = [[w, float(value)] for w, value in zip(choices, values.mean(axis=1), strict=True)]
        weights[first_stage] = steady_weight(choices, values)
    return weights, curves


def level_of(heads: Iterable[Head]) -> float:
    """The logit between the documents that held-out queries belong to and the other candidates; 0 without either."""
    heads = list(heads)
    if not heads:
        return 0.0
    logits, own = (np.concatenate(parts) for parts in zip(*((h.logits, h.own) for h in heads), strict=True))
    return balanced_level(logits[own == 1], logits[own == 0]) if 0 < own.sum() < len(own) else 0.0
