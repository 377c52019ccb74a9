"""What a run will still cost, told before it begins: calls, tokens, money, texts, pairs, steps, disk and time.

Only what is not finished counts: not the stages, queries, vectors and students that the run folder holds. Where a stage
that others depend on is not done, their counts follow from what it is given and are marked `about`; filters drop some,
so they are rather too high. Times come from a short probe: the models of the run read and score a few of its own texts.
"""

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from tamis.artifacts import read_column, read_json
from tamis.building.calls import counted, expected
from tamis.building.embedding import BLOCK, Embed
from tamis.building.mining import given_rows
from tamis.building.servers import OnServer, teacher_protocol
from tamis.building.training import WEIGHING, steps_done
from tamis.building.weighing import rerank_depth
from tamis.building.work import Estimate, Work
from tamis.building.workshop import PairTeacher, Workshop, texts_of
from tamis.building.writers import remembering, unanswered, writer_ledger
from tamis.generators.endpoint import most_tokens
from tamis.models.precision import product_rate
from tamis.models.student import Student, score_prepared
from tamis.records import Candidates, Query, QueryRequest, Tokens
from tamis.remote.budget import limit_exceeded
from tamis.settings import JudgeTeacher, RemoteEncoderTeacher, RemoteRerankerTeacher, RerankerTeacher, ServerSettings
from tamis.stages.evaluate import RERANKED
from tamis.stages.lists import GENERAL
from tamis.stages.merge import judgements
from tamis.teachers.group import Group

_PROBED: Final = 16  # texts or pairs that a model is tried on
_TRIES: Final = 3
_TRIED_SECONDS: Final = 2.0  # after which no further try is made
_WRITTEN: Final = 4  # queries that a language model of this machine is tried on; they are kept
_QUERY_CHARACTERS: Final = 60  # of a query that is not written yet
_PAIR_BYTES: Final = 20  # of a candidate, its first-stage score and its teacher score, compressed
_QUESTION_BYTES: Final = 150  # of a line of questions, which no stage before the evaluation opens
_SEARCH_SECONDS: Final = 0.005  # of a query beside the products: words, ties, fusion, lists
_BACKWARD: Final = 3  # a step of learning takes three times as long as scoring its pairs
_STUDENTS: Final = 3  # untrained, specialists and merged are evaluated
_OVERLAP: Final = 0.8  # share of the heads of two first stages that they do not have in common, of both together

Found = TypeVar("Found")

ShelfKey = tuple[str, str]
"""Origin and language."""


@dataclass(frozen=True)
class Asked:
    """The queries that will be searched.

    Attributes:
        counts: How many of each origin and language.
        records: They themselves; None where they are not written yet.
    """

    counts: Mapping[ShelfKey, int]
    records: Mapping[str, Query] | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def about(self) -> bool:
        """Whether they are only expected."""
        return self.records is None


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


def estimate(shop: Workshop, unfinished: Collection[str]) -> Estimate:
    """Estimate what is left to do after the stage corpus.

    Args:
        shop: The tools of the run; its folders hold the stages that are finished.
        unfinished: Names of the stages that will run.

    Raises:
        TamisError: what the run itself would raise when it opens these models and files.
    """
    asked = _asked(shop)
    works: list[Work] = []
    if "queries" in unfinished:
        works += _writing(shop)
    if {"candidates", "scores", "merge", "evaluate"} & set(unfinished):
        works += _embedding(shop, unfinished, asked)
    if "candidates" in unfinished:
        works.append(_searching(shop, asked))
    if {"scores", "evaluate"} & set(unfinished):
        works += _teaching(shop, unfinished, asked)
    if {"train", "merge", "evaluate"} & set(unfinished):
        works += _learning(shop, unfinished, asked)
    order = ("queries", "candidates", "scores", "train", "merge", "evaluate")
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


def _asked(shop: Workshop) -> Asked:
    """The queries where they are finished, else as many as are asked for and given."""
    if "queries" in shop.folders:
        return Asked(Counter((query.origin, query.language) for query in shop.queries.values()), shop.queries)
    settings = shop.recipe.queries
    target = Counter(d.language for d in shop.documents.values() if d.origin == "target")
    share = min(1.0, settings.documents / max(target.total(), 1)) if settings.documents else 1.0
    writers = sum(1.0 if kind == "extractive" else share for kind in settings.generator)
    counts = Counter({("target", k): round(n * settings.per_document * writers) for k, n in target.items()})
    for _, _, doc_id in given_rows(shop):
        counts["general", shop.documents[doc_id].language] += 1
    return Asked(counts, None)


def _writing(shop: Workshop) -> Iterator[Work]:
    """What language models are asked for; extracts take no time to speak of."""
    settings = shop.recipe.queries
    for kind in settings.generator:
        if kind == "extractive":
            continue
        if kind == "endpoint" and settings.endpoint:
            endpoint = settings.endpoint
            costs = (most_tokens(request, endpoint) for request in unanswered(shop, kind))
            yield counted("queries", "queries.endpoint", endpoint, costs)
            continue
        left = unanswered(shop, kind)
        first = list(islice(left, _WRITTEN))
        if first:
            name, seconds = _writes(shop, kind, first)
            count = sum(1 for _ in left)
            yield Work("queries", f"queries to write ({name})", count, seconds=count * seconds)


def _writes(shop: Workshop, kind: str, requests: Sequence[QueryRequest]) -> tuple[str, float]:
    """Name of a language model of this machine, and seconds for a query; those that it is tried on are kept."""
    with shop.toolbox.writer(kind) as model:
        remembered = remembering(shop, model, kind, lambda: None)
        start = time.monotonic()  # once: what is written is known the second time
        answers = list(remembered.write(requests))
        return model.name, (time.monotonic() - start) / len(answers)


def _embedding(shop: Workshop, unfinished: Collection[str], asked: Asked) -> Iterator[Work]:
    """Documents and queries that bi-encoders have to read, each at the first stage that needs it."""
    teaching = tuple(shop.teaching_encoders)
    needs = {"candidates": ("dense",), "scores": teaching, "merge": ("dense",), "evaluate": ("dense", *teaching)}
    first: dict[str, str] = {}
    for stage, names in needs.items():
        if stage in unfinished:
            first |= {by: stage for by in names if by not in first}
    # Queries and questions that are not there yet are like the beginnings of documents.
    like = [text[:_QUERY_CHARACTERS] for text in _some(list(texts_of(shop.documents).values()))]
    for by, stage in first.items():
        if by in shop.remote_encoders:
            yield from _sending(shop, unfinished, asked, by, stage, like)
            continue
        yield _texts(stage, f"documents to embed ({by})", *shop.unembedded("document", by, texts_of(shop.documents)))
        if asked.records is not None:
            yield _texts(stage, f"queries to embed ({by})", *shop.unembedded("query", by, texts_of(asked.records)))
        _, embed = shop.unembedded("query", by, {})
        if asked.records is None and stage in ("candidates", "scores"):
            yield _texts(stage, f"queries to embed ({by})", like, embed, asked.total)
        if "evaluate" in unfinished:
            yield _texts("evaluate", f"questions to embed ({by})", like, embed, _questions(shop))


def _texts(stage: str, what: str, texts: Sequence[str], embed: Embed, count: int | None = None) -> Work:
    """Texts to embed; with a count of texts that are not there yet, those given are like them."""
    many = len(texts) if count is None else count
    if not many or not texts:
        return Work(stage, what, 0)
    some = _some(texts)
    embed(some[:1])  # loads the model
    vectors, seconds = _timed(lambda: embed(some))
    return Work(stage, what, many, count is not None, many * seconds / len(some), disk=many * vectors.shape[1] * 4)


def _sending(
    shop: Workshop, unfinished: Collection[str], asked: Asked, by: str, stage: str, like: Sequence[str]
) -> Iterator[Work]:
    """The same for an encoder behind a server, which an estimate does not ask."""
    teacher = shop.remote_encoders[by]
    section, most = shop.servers.section(teacher), teacher_protocol(teacher).most
    known = [*shop.unsent("document", by, texts_of(shop.documents))]
    if asked.records is not None:
        known += shop.unsent("query", by, texts_of(asked.records))
    yield counted(stage, section, teacher, map(most, known))
    each = [most((teacher.query_prefix + text,)) for text in like]
    if asked.records is None and stage == "scores":
        yield expected(stage, section, teacher, _batches(asked.total, teacher), asked.total, each)
    if "evaluate" in unfinished:
        questions = _questions(shop)
        yield expected("evaluate", section, teacher, _batches(questions, teacher), questions, each)


def _batches(texts: int, teacher: RemoteEncoderTeacher) -> int:
    """Requests for so many texts, which are embedded block by block."""
    whole, rest = divmod(texts, BLOCK)
    return whole * math.ceil(BLOCK / teacher.batch) + math.ceil(rest / teacher.batch)


def _searching(shop: Workshop, asked: Asked) -> Work:
    """The search of all queries, from the rate of matrix products: documents are gone through twice."""
    held = _held(shop)
    products = sum(count * held(key) for key, count in asked.counts.items())
    _, embed = shop.unembedded("query", "dense", {})
    width = embed(["any"]).shape[1]
    rate = product_rate(shop.device, "float32")
    seconds = 2 * 2 * products * width / rate + asked.total * _SEARCH_SECONDS
    return Work(
        "candidates",
        "queries to search",
        asked.total,
        asked.about,
        seconds,
        disk=_candidates(shop, asked) * _PAIR_BYTES,
    )


def _held(shop: Workshop) -> Callable[[ShelfKey], int]:
    """How many documents a query of an origin and language is compared with."""
    by_language = Counter((d.origin, d.language) for d in shop.documents.values())
    by_origin = Counter(d.origin for d in shop.documents.values())
    same = shop.recipe.candidates.languages == "same"
    return lambda key: by_language[key] if same else by_origin[key[0]]


def _heads(shop: Workshop, asked: Asked) -> Iterator[tuple[int, int]]:
    """How many queries have how many candidates, at most."""
    held, depth = _held(shop), shop.recipe.candidates.depth
    return ((count, min(held(key), depth)) for key, count in asked.counts.items())


def _candidates(shop: Workshop, asked: Asked) -> int:
    """Candidates of all queries together, at most."""
    return sum(count * candidates for count, candidates in _heads(shop, asked))


def _teaching(shop: Workshop, unfinished: Collection[str], asked: Asked) -> Iterator[Work]:
    """Pairs that teachers are asked about; a new kind of teacher gets a branch here."""
    for teacher in shop.pair_teachers:
        if isinstance(teacher, RerankerTeacher):
            yield from _reranking(shop, unfinished, asked, teacher)
        else:
            yield from _judging(shop, unfinished, asked, teacher)


def _reranking(shop: Workshop, unfinished: Collection[str], asked: Asked, teacher: RerankerTeacher) -> Iterator[Work]:
    """Pairs for a reranker on this machine."""
    known = "candidates" in shop.folders
    pairs, of_questions = 0, 0
    if "scores" in unfinished:
        missing = _missing(shop, teacher) if known else ()
        pairs = sum(len(group.documents) for group in missing) if known else _candidates(shop, asked)
    if "evaluate" in unfinished:
        of_questions = _questions(shop) * shop.recipe.candidates.depth
    seconds = _scores(shop, teacher) if pairs + of_questions else 0.0
    what = f"pairs to score ({teacher.name})"
    yield Work("scores", what, pairs, not known, pairs * seconds)
    yield Work("evaluate", what, of_questions, True, of_questions * seconds)


def _judging(
    shop: Workshop, unfinished: Collection[str], asked: Asked, teacher: JudgeTeacher | RemoteRerankerTeacher
) -> Iterator[Work]:
    """Requests for a judge or a reranker behind a server; an estimate sends none."""
    section, most = shop.servers.section(teacher), teacher_protocol(teacher).most
    heads: dict[str, list[tuple[int, int]]] = {}
    if "scores" in unfinished and "candidates" in shop.folders:
        yield counted("scores", section, teacher, map(most, _missing(shop, teacher)))
    elif "scores" in unfinished:
        heads["scores"] = list(_heads(shop, asked))
    if "evaluate" in unfinished:
        heads["evaluate"] = [(_questions(shop), shop.recipe.candidates.depth)]
    batch = 1 if isinstance(teacher, JudgeTeacher) else teacher.batch
    texts = [document.text[: teacher.max_chars] for document in shop.documents.values()] if heads else []
    each = [most(Group(text[:_QUERY_CHARACTERS], (text,))) for text in texts]
    for stage, found in heads.items():
        requests = sum(queries * math.ceil(candidates / batch) for queries, candidates in found)
        pairs = sum(queries * candidates for queries, candidates in found)
        yield expected(stage, section, teacher, requests, pairs, each)


def _missing(shop: Workshop, teacher: PairTeacher) -> Iterator[Group]:
    """What a teacher has to score of the candidates that there are."""
    found = shop.stream("candidates", Candidates)
    return shop.remembered_scores(teacher).missing((shop.queries[one.query_id], one.doc_ids) for one in found)


def _scores(shop: Workshop, teacher: RerankerTeacher) -> float:
    """Seconds that a reranker needs for a pair."""
    model = shop.toolbox.reranker(teacher)
    texts = _some(list(texts_of(shop.documents).values()))
    pairs = [(text[:_QUERY_CHARACTERS], text) for text in texts]
    model.score_pairs(pairs[:1], teacher.instruction)
    _, seconds = _timed(lambda: model.score_pairs(pairs, teacher.instruction))
    shop.toolbox.release_rerankers()
    return seconds / len(pairs)


def _learning(shop: Workshop, unfinished: Collection[str], asked: Asked) -> Iterator[Work]:
    """What the student prepares, learns and scores, from how fast it scores a few pairs."""
    recipe = shop.recipe
    student = shop.untrained_student()
    pace = _pace(shop, student)
    lists, about = _lists(shop, asked), "lists" not in shop.folders
    domains = sorted({domain for domain, _ in lists} - {GENERAL})
    judging = {name: min(recipe.merge.held_out, lists[name, "held-out"]) for name in domains or [GENERAL]}
    judged = sum(judging.values()) * recipe.lists.documents
    if "train" in unfinished:
        yield from _preparing(shop, asked, about, lists.total(), pace)
        steps = {GENERAL: recipe.train.general_steps} | dict.fromkeys(domains, recipe.train.specialist_steps)
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
        weighing = min(WEIGHING, sum(count for (_, split), count in lists.items() if split == "held-out"))
        pairs += len(RERANKED) * weighing * rerank_depth(recipe)
        yield Work("merge", "pairs to score", pairs, True, pairs * pace.pair, disk=pace.model_bytes)
    if "evaluate" in unfinished and recipe.evaluate:
        questions = _questions(shop)
        stages = len(RERANKED) + len(recipe.evaluate.runs)
        pairs = round(_STUDENTS * questions * recipe.evaluate.depth * (1 + (stages - 1) * _OVERLAP))
        yield Work("evaluate", "pairs to score", pairs, True, pairs * pace.pair)


def _preparing(shop: Workshop, asked: Asked, about: bool, lists: int, pace: Pace) -> Iterator[Work]:
    """Texts that the student's frozen part reads once."""
    groups = [[d.text for d in shop.documents.values() if d.origin == origin] for origin in ("target", "general")]
    documents = sum(shop.prepared.unfinished("document", group) for group in groups)
    yield Work(
        "train", "documents to prepare", documents, False, documents * pace.document,
        disk=round(documents * pace.document_bytes),
    )  # fmt: skip
    queries = lists
    if not about and asked.records is not None:
        known = read_column(shop.folders["lists"] / "lists.parquet", "query_id")
        queries = shop.prepared.unfinished("query", [asked.records[query_id].text for query_id in known])
    yield Work(
        "train", "queries to prepare", queries, about, queries * pace.query, disk=round(queries * pace.query_bytes)
    )


def _pace(shop: Workshop, student: Student) -> Pace:
    """Let a student read and score a few texts."""
    texts = _some(list(texts_of(shop.documents).values()))
    asked = [text[:_QUERY_CHARACTERS] for text in texts]
    student.prepare_documents(texts[:1])
    queries, for_queries = _timed(lambda: student.prepare_queries(asked))
    documents, for_documents = _timed(lambda: student.prepare_documents(texts))
    budget = shop.recipe.machine.token_budget
    list(score_prepared(student, queries[:1], documents[:1], budget))
    _, for_pairs = _timed(lambda: list(score_prepared(student, queries, documents, budget)))
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
        domain = settings.domain_of.get(language, GENERAL)
        held_out = round(count * settings.held_out)
        expected[domain, "held-out"] += held_out
        expected[domain, "train"] += count - held_out
    return expected


def _questions(shop: Workshop) -> int:
    """Judged questions, from the size of their file: no stage before the evaluation opens it."""
    settings = shop.recipe.evaluate
    if settings is None:
        return 0
    languages = len({d.language for d in shop.documents.values() if d.origin == "target"})
    found = max(1, settings.queries.stat().st_size // _QUESTION_BYTES)
    return min(found, settings.questions * languages) if settings.questions else found


def _some(texts: Sequence[str]) -> list[str]:
    """A few texts for all: evenly spaced in the order of their lengths."""
    ordered = sorted(texts, key=len)
    return [ordered[i * len(ordered) // _PROBED] for i in range(_PROBED)] if len(ordered) > _PROBED else ordered


def _timed(do: Callable[[], Found]) -> tuple[Found, float]:
    """What something gives and the seconds it takes: the best of a few tries, since whatever else runs only adds."""
    best, spent = math.inf, 0.0
    for _ in range(_TRIES):
        start = time.monotonic()
        found = do()
        seconds = time.monotonic() - start
        best, spent = min(best, seconds), spent + seconds
        if spent > _TRIED_SECONDS:
            break
    return found, best
