"""What the queries will cost: how many are expected, and what language models are asked for."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tamis.context import Workshop
from tamis.costs.requests import counted
from tamis.costs.work import Work
from tamis.records import Query, QueryRequest
from tamis.stages.queries.given import given_rows, log_queries
from tamis.stages.queries.writers.endpoint import most_tokens
from tamis.stages.queries.writers.writers import remembering, unanswered
from tamis.stages.queries.written import file_queries
from tamis.text import normalise

ShelfKey = tuple[str, str]
"""Origin and language."""


@dataclass(frozen=True)
class Asked:
    """The queries that will be searched.

    Attributes:
        counts: How many of each origin and language.
        own: How many of them belong to a target document; the others are given with general ones, or typed.
        records: They themselves; None where they are not written yet.
    """

    counts: Mapping[ShelfKey, int]
    own: int
    records: Mapping[str, Query] | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def about(self) -> bool:
        """Whether the queries are only expected and not there yet."""
        return self.records is None


def asked_queries(shop: Workshop) -> Asked:
    """The queries where they are finished, else as many as are asked for and given."""
    if "queries" in shop.folders:
        found = shop.queries.values()
        own = sum(query.origin == "target" and bool(query.document_id) for query in found)
        return Asked(Counter((query.origin, query.language) for query in found), own, shop.queries)
    settings = shop.recipe.queries
    target = Counter(d.language for d in shop.documents.values() if d.origin == "target")
    share = min(1.0, settings.documents / max(target.total(), 1)) if settings.documents else 1.0
    writers = sum(1.0 if kind == "extractive" else share for kind in settings.generator)
    counts = Counter({("target", k): round(n * settings.per_document * writers) for k, n in target.items()})
    counts.update((one.origin, one.language) for one in file_queries(shop) if isinstance(one, Query))
    own = counts.total()
    for _, _, doc_id in given_rows(shop):
        counts["general", shop.documents[doc_id].language] += 1
    typed = {(query.origin, query.language, normalise(query.text)) for query in log_queries(shop)}  # often repeated
    counts.update((origin, language) for origin, language, _ in typed)
    return Asked(counts, own, None)


_WRITTEN: Final = 4  # queries that a language model of this machine is tried on; they are kept


def writing_cost(shop: Workshop) -> Iterator[Work]:
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
