"""What the student will prepare, learn and score before the merge, from how fast it scores a few pairs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tamis.artifacts import read_column
from tamis.context import texts_of
from tamis.costs.plan import ExpectedQueries
from tamis.costs.timing import QUERY_CHARACTERS, a_few, timed
from tamis.costs.work import Work
from tamis.models.student import Student, score_prepared
from tamis.stages.lists.held_out import domains_among
from tamis.stages.lists.settings import GENERAL
from tamis.stages.lists.solved import LOOKED_AT
from tamis.stages.student.factory import StudentFactory
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.stage import Tensors, TrainStage, steps_of

_ORIGINS: Final = ("target", "general")
_BACKWARD: Final = 4.5  # a step of learning takes so many times as long as scoring its pairs: make bench-estimates


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


def solving_cost(
    students: StudentFactory, queries: ExpectedQueries, held_out: float, depth: int, pace: Pace
) -> Iterator[Work]:
    """What the student reads and scores before the lists, to tell the queries that it answers already.

    Held-out queries are not looked at; which they are is known only when the lists are drawn.

    Args:
        students: Of the run.
        queries: Those that will be searched.
        held_out: Share of them that is held out.
        depth: Candidates of each, at most.
        pace: How fast the student is.
    """
    count = round(queries.own * (1 - held_out))
    pairs = count * min(LOOKED_AT, len(students.context.target), depth)
    yield _documents(students, "lists", ("target",), pace)
    yield _queries("lists", count, True, pace)
    yield Work("lists", "pairs to score", pairs, True, pairs * pace.pair)


def training_cost(
    stage: TrainStage,
    start: Tensors,
    queries: ExpectedQueries,
    lists: Counter[tuple[str, str]],
    documents: int,
    judged: int,
    pace: Pace,
    solving: bool,
) -> Iterator[Work]:
    """What the students prepare, learn and score.

    Args:
        stage: The training.
        start: What the untrained student starts with.
        queries: Those that will be searched.
        lists: Training lists by domain and split.
        documents: Of a list.
        judged: Pairs of the held-out lists that judge, of all domains.
        pace: How fast the student is.
        solving: Whether it has read the target documents before.
    """
    settings, about = stage.settings, "lists" not in stage.context.folders
    origins = ("general",) if solving else _ORIGINS
    yield _documents(stage.students, "train", origins, pace)
    count = lists.total()
    if not about and queries.records is not None:
        known = read_column(stage.context.folders["lists"] / "lists.parquet", "query_id")
        count = stage.students.prepared.unfinished("query", [queries.records[query_id].text for query_id in known])
    yield _queries("train", count, about, pace)
    domains = domains_among(lists)
    steps = _steps(settings, lists, domains)
    done = {} if about else stage.steps_done(start)
    seconds = _BACKWARD * pace.pair * settings.lists_per_step * documents
    left = sum(steps.values()) - sum(done.values())
    disk = pace.trained_bytes * (1 + len(steps))
    yield Work("train", "steps to learn", left, about, left * seconds, disk=disk)
    # General is judged by all domains, a specialist by its own; from the start on and at every checkpoint.
    pairs = (settings.checkpoints + 1) * judged * (1 + (len(domains) > 0))
    yield Work("train", "pairs to score", pairs, True, pairs * pace.pair)


def _steps(settings: TrainSettings, lists: Counter[tuple[str, str]], domains: Sequence[str]) -> dict[str, int]:
    """Steps of each student, from its training lists by domain and split."""
    train = {domain: lists[domain, "train"] for domain in domains}
    every = sum(count for (_, split), count in lists.items() if split == "train")
    return {GENERAL: steps_of(settings, settings.general_steps, every)} | {
        domain: steps_of(settings, settings.specialist_steps, count) for domain, count in train.items()
    }


def _documents(students: StudentFactory, stage: str, origins: Sequence[str], pace: Pace) -> Work:
    every = students.context.documents.values()
    groups = [[document.text for document in every if document.origin == origin] for origin in origins]
    count = sum(students.prepared.unfinished("document", group) for group in groups)
    disk = round(count * pace.document_bytes)
    return Work(stage, "documents to prepare", count, False, count * pace.document, disk=disk)


def _queries(stage: str, count: int, about: bool, pace: Pace) -> Work:
    disk = round(count * pace.query_bytes)
    return Work(stage, "queries to prepare", count, about, count * pace.query, disk=disk)


def pace_of(students: StudentFactory, student: Student) -> Pace:
    """Let a student read and score a few texts."""
    texts = a_few(list(texts_of(students.context.documents).values()))
    asked = [text[:QUERY_CHARACTERS] for text in texts]
    student.prepare_documents(texts[:1])
    queries, for_queries = timed(lambda: student.prepare_queries(asked))
    documents, for_documents = timed(lambda: student.prepare_documents(texts))
    budget = students.context.machine.token_budget
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
