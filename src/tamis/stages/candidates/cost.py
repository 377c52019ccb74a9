"""What searching will cost."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from tamis.context import RunContext
from tamis.costs.plan import ExpectedQueries, Spoken
from tamis.costs.work import Work
from tamis.models.precision import product_rate
from tamis.stages.candidates.encoders import DENSE
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.settings import CandidatesSettings

_PAIR_BYTES: Final = 20  # of a candidate, its first-stage score and its teacher score, compressed
_SEARCH_SECONDS: Final = 0.005  # of a query beside the products: words, ties, fusion, lists


def searching_cost(first_stages: FirstStages, queries: ExpectedQueries, context: RunContext) -> Work:
    """The search of all queries, from the rate of matrix products: documents are gone through twice."""
    settings = first_stages.settings
    held = documents_searched(settings, context)
    products = sum(count * held(key) for key, count in queries.counts.items())
    width = first_stages.embeddings.missing("query", DENSE, {})[1](["any"]).shape[1]
    rate = product_rate(context.machine.device, "float32")
    seconds = 2 * 2 * products * width / rate + queries.total * _SEARCH_SECONDS
    disk = candidates_of(settings, queries, context) * _PAIR_BYTES
    return Work("candidates", "queries to search", queries.total, queries.about, seconds, disk=disk)


def documents_searched(settings: CandidatesSettings, context: RunContext) -> Callable[[Spoken], int]:
    """How many documents a query of an origin and language is compared with."""
    by_language = Counter((d.origin, d.language) for d in context.documents.values())
    by_origin = Counter(d.origin for d in context.documents.values())
    return lambda key: by_language[key] if settings.languages == "same" else by_origin[key[0]]


def heads_of(settings: CandidatesSettings, queries: ExpectedQueries, context: RunContext) -> Iterator[tuple[int, int]]:
    """How many queries have how many candidates, at most."""
    held = documents_searched(settings, context)
    return ((count, min(held(key), settings.depth)) for key, count in queries.counts.items())


def candidates_of(settings: CandidatesSettings, queries: ExpectedQueries, context: RunContext) -> int:
    """Candidates of all queries together, at most."""
    return sum(count * candidates for count, candidates in heads_of(settings, queries, context))
