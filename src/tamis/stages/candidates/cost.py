"""What embedding and searching will cost."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from tamis.context import Workshop, texts_of
from tamis.costs.requests import counted, expected
from tamis.costs.timing import QUERY_CHARACTERS, a_few, timed
from tamis.costs.work import Work
from tamis.models.precision import product_rate
from tamis.retrievers.embedding import BLOCK, Embed
from tamis.stages.evaluate.cost import count_questions
from tamis.stages.queries.cost import Asked, ShelfKey
from tamis.stages.scores.settings import RemoteEncoderTeacher
from tamis.stages.scores.teachers.servers import teacher_protocol

_PAIR_BYTES: Final = 20  # of a candidate, its first-stage score and its teacher score, compressed


_SEARCH_SECONDS: Final = 0.005  # of a query beside the products: words, ties, fusion, lists


def embedding_cost(shop: Workshop, unfinished: Collection[str], asked: Asked) -> Iterator[Work]:
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
            yield from sending_cost(shop, unfinished, asked, by, stage, like)
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


def searching_cost(shop: Workshop, asked: Asked) -> Work:
    """The search of all queries, from the rate of matrix products: documents are gone through twice."""
    held = documents_searched(shop)
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
        disk=candidates_of(shop, asked) * _PAIR_BYTES,
    )


def documents_searched(shop: Workshop) -> Callable[[ShelfKey], int]:
    """How many documents a query of an origin and language is compared with."""
    by_language = Counter((d.origin, d.language) for d in shop.documents.values())
    by_origin = Counter(d.origin for d in shop.documents.values())
    same = shop.recipe.candidates.languages == "same"
    return lambda key: by_language[key] if same else by_origin[key[0]]


def heads_of(shop: Workshop, asked: Asked) -> Iterator[tuple[int, int]]:
    """How many queries have how many candidates, at most."""
    held, depth = documents_searched(shop), shop.recipe.candidates.depth
    return ((count, min(held(key), depth)) for key, count in asked.counts.items())


def candidates_of(shop: Workshop, asked: Asked) -> int:
    """Candidates of all queries together, at most."""
    return sum(count * candidates for count, candidates in heads_of(shop, asked))


def sending_cost(
    shop: Workshop, unfinished: Collection[str], asked: Asked, by: str, stage: str, like: Sequence[str]
) -> Iterator[Work]:
    """Texts that an encoder behind a server has to embed; an estimate does not ask the server."""
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
