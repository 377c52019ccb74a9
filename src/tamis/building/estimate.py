"""What a run will still cost, told before it begins: calls, tokens, money, texts, pairs, steps, disk and time.

Only what is not finished counts: not the stages, queries, vectors and students that the run folder holds. Where a stage
that others depend on is not done, their counts follow from what it is given and are marked `about`; filters drop some,
so they are rather too high. Times come from a short probe: the models of the run read and score a few of its own texts.
"""

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Final

from tamis.building.asked import Asked, ShelfKey, asked_queries, count_questions
from tamis.building.calls import counted, expected
from tamis.building.embedding import BLOCK, Embed
from tamis.building.learning_estimate import learning
from tamis.building.probe import QUERY_CHARACTERS, a_few, timed
from tamis.building.servers import OnServer, teacher_protocol
from tamis.building.work import Estimate, Work
from tamis.building.workshop import PairTeacher, Workshop, texts_of
from tamis.building.writers import remembering, unanswered, writer_ledger
from tamis.generators.endpoint import most_tokens
from tamis.models.precision import product_rate
from tamis.records import Candidates, QueryRequest, Tokens
from tamis.remote.budget import limit_exceeded
from tamis.settings import JudgeTeacher, RemoteEncoderTeacher, RemoteRerankerTeacher, RerankerTeacher, ServerSettings
from tamis.teachers.group import Group

_WRITTEN: Final = 4  # queries that a language model of this machine is tried on; they are kept
_PAIR_BYTES: Final = 20  # of a candidate, its first-stage score and its teacher score, compressed
_SEARCH_SECONDS: Final = 0.005  # of a query beside the products: words, ties, fusion, lists


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
        works += _writing(shop)
    if {"candidates", "scores", "merge", "evaluate"} & set(unfinished):
        works += _embedding(shop, unfinished, asked)
    if "candidates" in unfinished:
        works.append(_searching(shop, asked))
    if {"scores", "evaluate"} & set(unfinished):
        works += _teaching(shop, unfinished, asked)
    if {"train", "merge", "evaluate"} & set(unfinished):
        works += learning(shop, unfinished, asked)
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
    like = [text[:QUERY_CHARACTERS] for text in a_few(list(texts_of(shop.documents).values()))]
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
            yield _texts("evaluate", f"questions to embed ({by})", like, embed, count_questions(shop))


def _texts(stage: str, what: str, texts: Sequence[str], embed: Embed, count: int | None = None) -> Work:
    """Texts to embed; with a count of texts that are not there yet, those given are like them."""
    many = len(texts) if count is None else count
    if not many or not texts:
        return Work(stage, what, 0)
    some = a_few(texts)
    embed(some[:1])  # loads the model
    vectors, seconds = timed(lambda: embed(some))
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
        questions = count_questions(shop)
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
        of_questions = count_questions(shop) * shop.recipe.candidates.depth
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
        heads["evaluate"] = [(count_questions(shop), shop.recipe.candidates.depth)]
    batch = 1 if isinstance(teacher, JudgeTeacher) else teacher.batch
    texts = [document.text[: teacher.max_chars] for document in shop.documents.values()] if heads else []
    each = [most(Group(text[:QUERY_CHARACTERS], (text,))) for text in texts]
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
    texts = a_few(list(texts_of(shop.documents).values()))
    pairs = [(text[:QUERY_CHARACTERS], text) for text in texts]
    model.score_pairs(pairs[:1], teacher.instruction)
    _, seconds = timed(lambda: model.score_pairs(pairs, teacher.instruction))
    shop.toolbox.release_rerankers()
    return seconds / len(pairs)
