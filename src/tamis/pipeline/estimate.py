"""What a run will still cost, told before it begins: calls, tokens, money, texts, pairs, steps, disk and time.

Only what is not finished counts: not the stages, queries, vectors and students that the run folder holds. Where a stage
that others depend on is not done, their counts follow from what it is given and are marked `about`; filters drop some,
so they are rather too high. Times come from a short probe: the models of the run read and score a few of its own texts.
"""

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from tamis.costs.plan import Plan
from tamis.costs.work import Estimate, Work
from tamis.pipeline.parts import Parts
from tamis.records import Tokens
from tamis.remote.budget import limit_exceeded
from tamis.remote.settings import ServerSettings
from tamis.stages.candidates.cost import documents_searched, embedding_cost, searching_cost
from tamis.stages.evaluate.cost import count_questions, reranking_cost
from tamis.stages.lists.cost import drawing_cost, expected_lists, mean_length
from tamis.stages.merge.cost import judged_pairs, merging_cost
from tamis.stages.queries.cost import expected_queries
from tamis.stages.train.cost import pace_of, solving_cost, training_cost

_ORDER = ("queries", "candidates", "scores", "lists", "train", "merge", "evaluate")

_LOADS: Final = {"train": 2, "merge": 2, "evaluate": 1}
"""How often a stage loads, hashes or writes the whole student, beside all its other work."""


def estimate(parts: Parts, unfinished: Collection[str]) -> Estimate:
    """Estimate what is left to do after the stage corpus.

    Args:
        parts: Of the run; its context holds the folders of the stages that are finished.
        unfinished: Names of the stages that will run.

    Raises:
        TamisError: what the run itself would raise when it opens these models and files.
    """
    context, recipe = parts.context, parts.recipe
    questions = count_questions(recipe.evaluate if "evaluate" in unfinished else None, context)
    plan = Plan(frozenset(unfinished), expected_queries(parts.queries), questions)
    works: list[Work] = []
    if "queries" in plan.unfinished:
        works += parts.writers.cost()
    embeddings = parts.embeddings
    searching = ("candidates", *(("scores",) if recipe.scores.dense else ()), "merge", "evaluate")
    works += embedding_cost(embeddings.dense, searching, embeddings, plan)
    if "candidates" in plan.unfinished:
        works.append(searching_cost(parts.first_stages, plan.queries, context))
    works += parts.teachers.cost(plan)
    if "lists" in plan.unfinished:
        works.append(drawing_cost(context, plan.queries))
    if _solving(parts, plan) or {"train", "merge", "evaluate"} & plan.unfinished:
        works += _learning(parts, plan)
    works = sorted((work for work in works if work.count), key=lambda work: _ORDER.index(work.stage))
    free = shutil.disk_usage(context.items.path.parent).free
    return Estimate(works, free, list(_notes(parts, works, free)))


def _solving(parts: Parts, plan: Plan) -> bool:
    """Whether the student is asked which queries it answers already."""
    return "lists" in plan.unfinished and parts.recipe.lists.solved < 1


def _learning(parts: Parts, plan: Plan) -> Iterator[Work]:
    """What the student prepares, learns and scores, from how fast it scores a few pairs."""
    recipe, students, context = parts.recipe, parts.students, parts.context
    began = time.monotonic()
    student = students.prepared.student  # one that is loaded anyway: nothing is learnt here
    loading = time.monotonic() - began
    pace = pace_of(students, student)
    lists = expected_lists(recipe.lists, context, plan.queries)
    held = documents_searched(recipe.candidates, context)
    heads = [(count, held(key)) for key, count in plan.queries.counts.items()]
    documents = mean_length(heads, recipe.lists.documents)
    judged = judged_pairs(recipe.merge, lists, documents)
    solving = _solving(parts, plan)
    if solving:
        yield from solving_cost(students, plan.queries, recipe.lists.held_out, recipe.candidates.depth, pace)
    if "train" in plan.unfinished:
        yield from training_cost(parts.train, student.trained(), plan.queries, lists, documents, judged, pace, solving)
    if "merge" in plan.unfinished:
        yield merging_cost(recipe.merge, lists, judged, heads, recipe.rerank_depth, pace.pair, pace.model_bytes)
    if "evaluate" in plan.unfinished and recipe.evaluate:
        yield reranking_cost(recipe.evaluate, recipe.candidates, plan.questions, context, pace.pair)
    for stage, times in _LOADS.items():
        if stage in plan.unfinished and (stage != "evaluate" or recipe.evaluate):
            yield Work(stage, "loads and copies of the student", times, seconds=times * loading)


def _notes(parts: Parts, works: Sequence[Work], free: int) -> Iterator[str]:
    disk = sum(work.disk for work in works)
    if disk > free:
        yield f"the disk has {free / 1e9:,.1f} GB left, about {disk / 1e9:,.1f} GB are needed"
    for section, server, spent in _servers(parts):
        more = sum((work.tokens for work in works if work.section == section), Tokens())
        limit = limit_exceeded(spent + more, server)
        if limit and more != Tokens():
            yield f"{section}.{limit} may be reached before the end; what is finished by then is kept"


def _servers(parts: Parts) -> Iterator[tuple[str, ServerSettings, Tokens]]:
    """Each server of the recipe: the section that names it, its settings, and what it has cost the run folder."""
    writers = parts.writers
    for kind, writer in writers.members.items():
        if writer.server:
            yield f"queries.{kind}", writer.server, writers.ledger(kind).spent
    yield from ((server.section, server.teacher, server.ledger.spent) for server in parts.teachers.servers)
