"""What a run will still cost, told before it begins: calls, tokens, money, texts, pairs, steps, disk and time.

Only what is not finished counts: not the stages, queries, vectors and students that the run folder holds. Where a stage
that others depend on is not done, their counts follow from what it is given and are marked `about`; filters drop some,
so they are rather too high. Times come from a short probe: the models of the run read and score a few of its own texts.
"""

import shutil
from collections.abc import Collection, Iterator, Sequence

from tamis.context import Workshop
from tamis.costs.work import Estimate, Work
from tamis.records import Tokens
from tamis.remote.budget import limit_exceeded
from tamis.remote.settings import ServerSettings
from tamis.stages.candidates.cost import embedding_cost, searching_cost
from tamis.stages.lists.cost import drawing_cost
from tamis.stages.queries.cost import asked_queries, writing_cost
from tamis.stages.queries.writers.writers import writer_ledger
from tamis.stages.scores.cost import teaching_cost
from tamis.stages.scores.teachers.servers import OnServer
from tamis.stages.train.cost import learning


def estimate(shop: Workshop, unfinished: Collection[str]) -> Estimate:
    """Estimate what is left to do after the stage corpus.

    Args:
        shop: The tools of the run; its folders hold the stages that are finished.
        unfinished: Names of the stages that will run.

    Raises:
        TamisError: what the run itself would raise when it opens these models and files.
    """
    asked = asked_queries(shop)
    works: list[Work] = []
    if "queries" in unfinished:
        works += writing_cost(shop)
    if {"candidates", "scores", "merge", "evaluate"} & set(unfinished):
        works += embedding_cost(shop, unfinished, asked)
    if "candidates" in unfinished:
        works.append(searching_cost(shop, asked))
    if {"scores", "evaluate"} & set(unfinished):
        works += teaching_cost(shop, unfinished, asked)
    if "lists" in unfinished:
        works.append(drawing_cost(shop, asked))
    solving = "lists" in unfinished and shop.recipe.lists.solved < 1
    if solving or {"train", "merge", "evaluate"} & set(unfinished):
        works += learning(shop, unfinished, asked)
    order = ("queries", "candidates", "scores", "lists", "train", "merge", "evaluate")
    works = sorted((work for work in works if work.count), key=lambda work: order.index(work.stage))
    free = shutil.disk_usage(shop.items.path.parent).free
    return Estimate(works, free, list(_notes(shop, works, free)))


def _notes(shop: Workshop, works: Sequence[Work], free: int) -> Iterator[str]:
    disk = sum(work.disk for work in works)
    if disk > free:
        yield f"the disk has {free / 1e9:,.1f} GB left, about {disk / 1e9:,.1f} GB are needed"
    for section, server, spent in _servers(shop):
        more = sum((work.tokens for work in works if work.section == section), Tokens())
        limit = limit_exceeded(spent + more, server)
        if limit and more != Tokens():
            yield f"{section}.{limit} may be reached before the end; what is finished by then is kept"


def _servers(shop: Workshop) -> Iterator[tuple[str, ServerSettings, Tokens]]:
    """Each server of the recipe: the section that names it, its settings, and what it has cost the run folder."""
    endpoint = shop.recipe.queries.endpoint
    if endpoint:
        yield "queries.endpoint", endpoint, writer_ledger(shop, endpoint.model).spent
    for teacher in shop.recipe.scores.teachers:
        if isinstance(teacher, OnServer):
            yield shop.servers.section(teacher), teacher, shop.servers.ledger(teacher).spent
