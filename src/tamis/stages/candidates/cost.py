"""What searching will cost."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tamis.context import RunContext, texts_of
from tamis.costs.plan import ExpectedQueries, Plan, Spoken
from tamis.costs.timing import a_few, beginnings, timed
from tamis.costs.work import Work
from tamis.models.precision import product_rate
from tamis.stages.candidates.embeddings import Embeddings, NamedEncoder
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.settings import CandidatesSettings

_PAIR_BYTES: Final = 20  # of a candidate, its first-stage score and its teacher score, compressed
_SEARCH_SECONDS: Final = 0.002  # of a query beside the products: words, ties, fusion, lists

_OVERLAP: Final = 0.8  # share of a head that another first stage's head of the same query lacks


def embedding_cost(encoder: NamedEncoder, stages: Sequence[str], embeddings: Embeddings, plan: Plan) -> Iterator[Work]:
    """Documents and queries that a bi-encoder has to read, at the first of these stages that will run."""
    stage = next((stage for stage in stages if stage in plan.unfinished), None)
    if stage is None:
        return
    documents, queries = texts_of(embeddings.context.documents), plan.queries
    what = f"to embed ({encoder.name})"
    left = embeddings.missing("document", encoder, documents)
    yield _texts(stage, f"documents {what}", encoder, "document", left)
    # Queries and questions that are not there yet are like the beginnings of documents.
    like = beginnings(documents.values())
    if queries.records is not None:
        left = embeddings.missing("query", encoder, texts_of(queries.records))
        yield _texts(stage, f"queries {what}", encoder, "query", left)
    elif stage in ("candidates", "scores"):
        yield _texts(stage, f"queries {what}", encoder, "query", like, queries.total)
    if "evaluate" in plan.unfinished:
        yield _texts("evaluate", f"questions {what}", encoder, "query", like, plan.questions)


def _texts(
    stage: str, what: str, encoder: NamedEncoder, kind: str, texts: Sequence[str], count: int | None = None
) -> Work:
    """Texts to embed; with a count of texts that are not there yet, those given are like them."""
    many = len(texts) if count is None else count
    if not many or not texts:
        return Work(stage, what, 0)
    some = a_few(texts)
    encoder.embed(kind, some[:1])  # loads the model
    vectors, seconds = timed(lambda: encoder.embed(kind, some))
    return Work(stage, what, many, count is not None, many * seconds / len(some), disk=many * vectors.shape[1] * 4)


def searching_cost(first_stages: FirstStages, queries: ExpectedQueries, context: RunContext) -> Work:
    """The search of all queries, from the rate of matrix products: documents are gone through twice."""
    settings = first_stages.settings
    held = documents_searched(settings, context)
    products = sum(count * held(key) for key, count in queries.counts.items())
    width = first_stages.embeddings.dense.embed("query", ["any"]).shape[1]
    rate = product_rate(context.machine.device, "float32")
    seconds = 2 * 2 * products * width / rate + queries.total * _SEARCH_SECONDS
    disk = candidates_of(settings, queries, context) * _PAIR_BYTES
    return Work("candidates", "queries to search", queries.total, queries.about, seconds, disk=disk)


def documents_searched(settings: CandidatesSettings, context: RunContext) -> Callable[[Spoken], int]:
    """How many documents a query of an origin and language is compared with."""
    by_language = Counter((d.origin, d.language) for d in context.documents.values())
    by_origin = Counter(d.origin for d in context.documents.values())
    return lambda key: by_language[key] if settings.languages == "same" else by_origin[key[0]]


def heads_together(searched: int, depth: int, first_stages: int) -> float:
    """Documents in the heads of several first stages of one query, each counted once.

    Args:
        searched: Documents that the query is compared with.
        depth: Of a head.
        first_stages: How many there are.
    """
    return min(searched, depth * (1 + (first_stages - 1) * _OVERLAP))


def heads_of(settings: CandidatesSettings, queries: ExpectedQueries, context: RunContext) -> Iterator[tuple[int, int]]:
    """How many queries have how many candidates, at most."""
    held = documents_searched(settings, context)
    return ((count, min(held(key), settings.depth)) for key, count in queries.counts.items())


def candidates_of(settings: CandidatesSettings, queries: ExpectedQueries, context: RunContext) -> int:
    """Candidates of all queries together, at most."""
    return sum(count * candidates for count, candidates in heads_of(settings, queries, context))
