"""The systems that are measured, and how they rank; ties are broken independently of input order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tamis.evaluation.judged import Question
from tamis.formulas.ranking import tie_key, tied_at_top
from tamis.models.checkpoint import Deployment
from tamis.models.first_stage import FirstStage, default_of, first_stage_of, ranked_beside, weight_of
from tamis.records import GROUPS, SCORED, SERVED, WAYS, Candidates

Run = dict[str, list[str]]
"""Ranked document ids by question, best first."""

RERANKED = ("bm25", "hybrid")
"""First stages of our own whose candidates the students rerank; those of the user's own engines are reranked too."""

STUDENTS = {"untrained": "untrained student", "specialists": "specialists", "merged": "merged student"}
"""Models of a run, and their titles: what it started from, one for each domain, and what was merged from these."""

TRAINED = ("specialists", "merged")
"""Those that learnt from the run's documents."""


@dataclass(frozen=True)
class Pool:
    """What the first stages found for one question.

    Attributes:
        question: The question.
        found: What each first stage found, and the teacher's order of it, by name, up to the candidates' depth.
    """

    question: Question
    found: Mapping[str, Candidates]


@dataclass(frozen=True)
class System:
    """A column of the table.

    Attributes:
        name: `bm25`, `merged~bm25` (the model merged as served on BM25's candidates), `merged@bm25` (alone on them),
            `merged+bm25` (with BM25's scores).
        title: For people.
        group: `first stage`, `teacher`, `run`, `oracle`, or one of `GROUPS`.
        baseline: The system it is compared with, None for the first stages themselves.
    """

    name: str
    title: str
    group: str
    baseline: str | None


def pairs_to_score(pools: Sequence[Pool], depth: int, given: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(question id, document id) of all that a student has to score.

    The best `depth` of each reranked first stage: those of `RERANKED` and the `given` runs.
    """
    return [
        (pool.question.query_id, doc_id)
        for pool in pools
        for doc_id in dict.fromkeys(d for name in (*RERANKED, *given) for d in pool.found[name].doc_ids[:depth])
    ]


def rerank_head(
    question: Question, first_stage: str, found: Candidates, logits: np.ndarray, sign: str, deployment: Deployment
) -> tuple[list[str], bool]:
    """Reorder the head of a ranking by a model, as its server would answer; the tail keeps its order.

    Args:
        question: What was asked; its id, with a document's, breaks ties.
        first_stage: What found the documents.
        found: Documents of the first stage, best first, and their scores.
        logits: The model's logit of each document of the head, [depth].
        sign: One of `WAYS`.
        deployment: How far the model's checkpoint trusts a first stage.

    Returns:
        The new ranking, and whether its best score was shared.
    """
    head, tail = found.doc_ids[: len(logits)], found.doc_ids[len(logits) :]
    if not head:
        return list(tail), False
    first = None
    if sign == SERVED:
        first = first_stage_of(default_of(deployment), len(head))
    elif sign == SCORED:
        first = FirstStage(first_stage, np.array(found.scores[: len(head)]))
    weight = weight_of(deployment, first, question.text) if first else 0.0
    keys = [tie_key(question.query_id, doc_id) for doc_id in head]
    values, order = ranked_beside(logits, first, weight, keys)
    return [*(head[i] for i in order), *tail], tied_at_top(values)


def runs_of(pools: Sequence[Pool], names: Sequence[str]) -> tuple[dict[str, Run], dict[str, float]]:
    """The rankings that pools hold under these names, and the share of questions whose best score is shared."""
    runs = {name: {pool.question.query_id: list(pool.found[name].doc_ids) for pool in pools} for name in names}
    tied = {name: [tied_at_top(np.array(pool.found[name].scores)) for pool in pools] for name in names}
    return runs, {name: float(np.mean(shared)) for name, shared in tied.items()}


def student_runs(
    student: str,
    pools: Sequence[Pool],
    logits: Mapping[tuple[str, str], float],
    deployment: Deployment,
    depth: int,
    given: Sequence[str] = (),
) -> tuple[dict[str, Run], dict[str, float]]:
    """The student in each of `WAYS` on the candidates of each first stage, `student~first_stage` and so on.

    Args:
        student: Its name.
        pools: What the first stages found.
        logits: By question id and document id, for all that `pairs_to_score` names.
        deployment: How far the student's checkpoint trusts a first stage.
        depth: How many candidates of each first stage are reranked.
        given: Names of given runs, reranked beside `RERANKED`.

    Returns:
        A run per system, and the share of questions whose best score is shared.
    """
    runs: dict[str, Run] = {}
    ties: dict[str, float] = {}
    for first_stage in (*RERANKED, *given):
        for sign in WAYS:
            reranked = {}
            for pool in pools:
                question, found = pool.question, pool.found[first_stage]
                values = np.array([logits[question.query_id, doc_id] for doc_id in found.doc_ids[:depth]])
                reranked[question.query_id] = rerank_head(question, first_stage, found, values, sign, deployment)
            system = f"{student}{sign}{first_stage}"
            runs[system] = {query_id: ranking for query_id, (ranking, _) in reranked.items()}
            ties[system] = float(np.mean([tied for _, tied in reranked.values()]))
    return runs, ties


def systems_of(given: Sequence[str] = ()) -> list[System]:
    """The columns of the table, in their order; `given` runs stand beside our own first stages."""
    systems = [
        System("bm25", "BM25", "first stage", None),
        System("dense", "dense", "first stage", None),
        System("hybrid", "hybrid", "first stage", None),
        *(System(name, name, "first stage", None) for name in given),
        System("teacher", "teacher", "teacher", "hybrid"),
    ]
    for first_stage in (*RERANKED, *given):
        for sign, way in WAYS.items():
            systems += [
                System(f"{name}{sign}{first_stage}", f"{title}, {way}, on {first_stage}", GROUPS[sign], first_stage)
                for name, title in STUDENTS.items()
            ]
    return systems
