"""What every system finds for the judged questions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from tamis.context import Workshop
from tamis.errors import ModelError
from tamis.evaluation.judged import Question
from tamis.evaluation.systems import Pool, Run, pairs_to_score, runs_of, student_runs
from tamis.models.checkpoint import Deployment, find_checkpoint, read_facts
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import Candidates, Query
from tamis.retrievers.index import FIRST_STAGES
from tamis.retrievers.search import rank_candidates, search_shelves
from tamis.stages.lists.settings import GENERAL
from tamis.stages.train.student_scores import score_pairs

QUESTIONS_AT_ONCE = 128
"""How many questions a teacher is asked about together: enough to keep a server busy, few enough to see it move."""


def find_pools(shop: Workshop, questions: Sequence[Question]) -> list[Pool]:
    """What every first stage and the teacher find for every question."""
    texts = {question.query_id: question.text for question in questions}
    vectors = shop.vectors("query", "dense", texts)
    teach = shop.teacher(texts)
    depth = shop.recipe.candidates.depth
    queries = [Query(q.query_id, q.text, q.language, "target", "", "question") for q in questions]
    ranked = list(search_shelves(queries, vectors, shop.shelves, depth, FIRST_STAGES, engine=shop.engine))
    taught: list[np.ndarray] = []
    with track("asking the teacher", len(ranked)) as advance:
        for start in range(0, len(ranked), QUESTIONS_AT_ONCE):
            asked = [(query, of["hybrid"].doc_ids) for query, of in ranked[start : start + QUESTIONS_AT_ONCE]]
            taught += teach(asked)
            advance(len(asked))
    shop.toolbox.release_rerankers()
    found: dict[str, dict[str, Candidates]] = {}
    for (query, of), scores in zip(ranked, taught, strict=True):
        if not np.isfinite(scores).all():
            raise ModelError(
                f"question {query.query_id}: a teacher behind a server gave no score; those that came are kept, mend "
                "the server and run the same command again"
            )
        by_teacher = rank_candidates(query.query_id, of["hybrid"].doc_ids, scores, depth)
        found[query.query_id] = {**of, **_given(shop, query.query_id, depth), "teacher": by_teacher}
    return [Pool.of(question, found[question.query_id]) for question in questions]


def _given(shop: Workshop, query_id: str, depth: int) -> dict[str, Candidates]:
    """What the user's own engines found for a question, by the name of each run; nothing where a run is silent."""
    scores = {name: run.scores.get(query_id, {}) for name, run in shop.given_runs.items()}
    return {
        name: rank_candidates(query_id, tuple(found), np.array(list(found.values())), depth)
        for name, found in scores.items()
    }


def runs_of_pools(shop: Workshop, pools: Sequence[Pool], depth: int) -> tuple[dict[str, Run], dict[str, float]]:
    """The ranking of every system for every question, and the share of questions whose best score is shared."""
    given = tuple(shop.given_runs)
    runs, ties = runs_of(pools, (*FIRST_STAGES, *given, "teacher"))
    merged = read_facts(shop.folders["merge"] / "model").deployment
    untrained = deployment_of_start(shop.recipe, merged)
    for student, logits in _student_logits(shop, pools, depth).items():
        deployment = untrained if student == "untrained" else merged
        found, tied = student_runs(student, pools, logits, deployment, depth, given)
        runs |= found
        ties |= tied
    return runs, ties


def deployment_of_start(recipe: Recipe, merged: Deployment) -> Deployment:
    """How the untrained student would be served: as its own checkpoint says, or like the merged one.

    Args:
        recipe: Names what the student starts from.
        merged: What the merged student's checkpoint says; that counts where the start's names no weight at all, as one
            does that tamis did not make.
    """
    start = recipe.student.start
    own = read_facts(find_checkpoint(start)).deployment if start else merged
    return own if own.first_stage_weights else merged


def _student_logits(shop: Workshop, pools: Sequence[Pool], depth: int) -> dict[str, dict[tuple[str, str], float]]:
    """Logits of every pair by the untrained student, by each language's own specialist, and by the merged student."""
    student = shop.untrained_student()
    train = shop.folders["train"]
    domain_for = shop.recipe.lists.domain_for

    def logits_of(path: Path, some: Sequence[Pool], label: str) -> dict[tuple[str, str], float]:
        student.load_trained(load_file(path))
        return score_pairs(shop, student, pairs_to_score(some, depth, tuple(shop.given_runs)), label)

    specialists: dict[tuple[str, str], float] = {}
    for domain in sorted({domain_for(pool.question.language) for pool in pools}):
        own = [pool for pool in pools if domain_for(pool.question.language) == domain]
        path = train / f"{domain}.safetensors"
        # A domain without a single training list has no specialist of its own.
        name = domain if path.exists() else GENERAL
        specialists |= logits_of(train / f"{name}.safetensors", own, f"scoring with {name}")
    return {
        "untrained": logits_of(train / "untrained.safetensors", pools, "scoring with untrained"),
        "specialists": specialists,
        "merged": logits_of(shop.folders["merge"] / "merged.safetensors", pools, "scoring with merged"),
    }
