"""What a student will still prepare, learn and score, and how long that takes, from how fast it scores a few pairs."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tamis.artifacts import read_column, read_json
from tamis.context import Workshop, texts_of
from tamis.costs.timing import QUERY_CHARACTERS, a_few, timed
from tamis.costs.work import Work
from tamis.evaluation.systems import RERANKED
from tamis.models.student import Student, score_prepared
from tamis.stages.evaluate.cost import count_questions
from tamis.stages.lists.settings import GENERAL
from tamis.stages.lists.solved import LOOKED_AT
from tamis.stages.merge.merge import judgements
from tamis.stages.merge.weigh import WEIGHING, rerank_depth
from tamis.stages.queries.cost import Asked
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.stage import steps_done, steps_of

_ORIGINS: Final = ("target", "general")
_BACKWARD: Final = 3  # a step of learning takes three times as long as scoring its pairs
_STUDENTS: Final = 3  # untrained, specialists and merged are evaluated
_OVERLAP: Final = 0.8  # share of the heads of two first stages that they do not have in common, of both together


@dataclass(frozen=True)
class Pace:
    """How fast a student is, and what it leaves.

    Attributes:
        query: Seconds for preparing a query.
        document: Seconds for preparing a document.
        pair: Seconds for scoring a prepared pair.
        query_bytes: Size of a prepared query.
        document_bytes: Size of a prepared document.
        trained_bytes: Size of what it learns.
        model_bytes: Size of all of it.
    """

    query: float
    document: float
    pair: float
    query_bytes: float
    document_bytes: float
    trained_bytes: int
    model_bytes: int


def learning(shop: Workshop, unfinished: Collection[str], asked: Asked) -> Iterator[Work]:
    """What the student prepares, learns and scores, from how fast it scores a few pairs."""
    recipe = shop.recipe
    student = shop.untrained_student()
    pace = _pace(shop, student)
    lists, about = _lists(shop, asked), "lists" not in shop.folders
    domains = sorted({domain for domain, _ in lists} - {GENERAL})
    judging = {name: min(recipe.merge.held_out, lists[name, "held-out"]) for name in domains or [GENERAL]}
    judged = sum(judging.values()) * recipe.lists.documents
    solving = "lists" in unfinished and recipe.lists.solved < 1
    if solving:
        yield from _solving(shop, asked, pace)
    if "train" in unfinished:
        yield from _preparing(shop, asked, about, lists.total(), pace, ("general",) if solving else _ORIGINS)
        steps = _steps(recipe.train, lists, domains)
        done = {} if about else steps_done(shop, student.trained())
        seconds = _BACKWARD * pace.pair * recipe.train.lists_per_step * recipe.lists.documents
        disk = pace.trained_bytes * (1 + len(steps))
        count = sum(steps.values()) - sum(done.values())
        yield Work("train", "steps to learn", count, about, count * seconds, disk=disk)
        # General is judged by all domains, a specialist by its own; from the start on and at every checkpoint.
        pairs = (recipe.train.checkpoints + 1) * judged * (1 + (len(domains) > 0))
        yield Work("train", "pairs to score", pairs, True, pairs * pace.pair)
    if "merge" in unfinished:
        specialists = len(domains) + bool(recipe.merge.keep)
        pairs = judgements(specialists, len(recipe.merge.t), recipe.merge.refine) * judged
        held_out = sum(count for (_, split), count in lists.items() if split == "held-out")
        weighing = WEIGHING if recipe.merge.weigh_on else min(WEIGHING, held_out)
        pairs += len(RERANKED) * weighing * rerank_depth(recipe)
        yield Work("merge", "pairs to score", pairs, True, pairs * pace.pair, disk=pace.model_bytes)
    if "evaluate" in unfinished and recipe.evaluate:
        questions = count_questions(shop)
        stages = len(RERANKED) + len(recipe.evaluate.runs)
        pairs = round(_STUDENTS * questions * recipe.evaluate.depth * (1 + (stages - 1) * _OVERLAP))
        yield Work("evaluate", "pairs to score", pairs, True, pairs * pace.pair)


def _steps(settings: TrainSettings, lists: Counter[tuple[str, str]], domains: list[str]) -> dict[str, int]:
    """Steps of each student, from its training lists by domain and split."""
    train = {domain: lists[domain, "train"] for domain in domains}
    every = sum(count for (_, split), count in lists.items() if split == "train")
    return {GENERAL: steps_of(settings, settings.general_steps, every)} | {
        domain: steps_of(settings, settings.specialist_steps, count) for domain, count in train.items()
    }


def _solving(shop: Workshop, asked: Asked, pace: Pace) -> Iterator[Work]:
    """What the student reads and scores before the lists, to tell the queries that it answers already.

    Held-out queries are not looked at; which they are is known only when the lists are drawn.
    """
    target = sum(d.origin == "target" for d in shop.documents.values())
    queries = round(asked.own * (1 - shop.recipe.lists.held_out))
    pairs = queries * min(LOOKED_AT, target, shop.recipe.candidates.depth)
    yield _documents(shop, "lists", ("target",), pace)
    yield _queries("lists", queries, True, pace)
    yield Work("lists", "pairs to score", pairs, True, pairs * pace.pair)


def _preparing(
    shop: Workshop, asked: Asked, about: bool, lists: int, pace: Pace, origins: Sequence[str]
) -> Iterator[Work]:
    """Texts that the student's frozen part reads once; documents of the origins that it has not read before."""
    yield _documents(shop, "train", origins, pace)
    queries = lists
    if not about and asked.records is not None:
        known = read_column(shop.folders["lists"] / "lists.parquet", "query_id")
        queries = shop.prepared.unfinished("query", [asked.records[query_id].text for query_id in known])
    yield _queries("train", queries, about, pace)


def _documents(shop: Workshop, stage: str, origins: Sequence[str], pace: Pace) -> Work:
    groups = [[d.text for d in shop.documents.values() if d.origin == origin] for origin in origins]
    count = sum(shop.prepared.unfinished("document", group) for group in groups)
    disk = round(count * pace.document_bytes)
    return Work(stage, "documents to prepare", count, False, count * pace.document, disk=disk)


def _queries(stage: str, count: int, about: bool, pace: Pace) -> Work:
    disk = round(count * pace.query_bytes)
    return Work(stage, "queries to prepare", count, about, count * pace.query, disk=disk)


def _pace(shop: Workshop, student: Student) -> Pace:
    """Let a student read and score a few texts."""
    texts = a_few(list(texts_of(shop.documents).values()))
    asked = [text[:QUERY_CHARACTERS] for text in texts]
    student.prepare_documents(texts[:1])
    queries, for_queries = timed(lambda: student.prepare_queries(asked))
    documents, for_documents = timed(lambda: student.prepare_documents(texts))
    budget = shop.toolbox.token_budget
    list(score_prepared(student, queries[:1], documents[:1], budget))
    _, for_pairs = timed(lambda: list(score_prepared(student, queries, documents, budget)))
    return Pace(
        query=for_queries / len(texts),
        document=for_documents / len(texts),
        pair=for_pairs / len(texts),
        query_bytes=sum(tensor.nbytes for tensor in queries) / len(texts),
        document_bytes=sum(tensor.nbytes for tensor in documents) / len(texts),
        trained_bytes=sum(tensor.nbytes for tensor in student.trained().values()),
        model_bytes=sum(tensor.nbytes for tensor in student.parameters()),
    )


def _lists(shop: Workshop, asked: Asked) -> Counter[tuple[str, str]]:
    """Training lists by domain and split: those that there are, or one for each query."""
    if "lists" in shop.folders:
        found = read_json(shop.folders["lists"] / "manifest.json")["lists"]
        return Counter({tuple(name.rsplit(", ", 1)): count for name, count in found.items()})
    settings = shop.recipe.lists
    expected: Counter[tuple[str, str]] = Counter()
    for (_, language), count in asked.counts.items():
        domain = settings.domain_for(language)
        held_out = round(count * settings.held_out)
        expected[domain, "held-out"] += held_out
        expected[domain, "train"] += count - held_out
    return expected
