"""What the queries will cost: how many are expected, and what language models are asked for."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from tamis.costs.plan import ExpectedQueries
from tamis.costs.requests import counted
from tamis.costs.work import Work
from tamis.records import Query, QueryRequest
from tamis.stages.queries.stage import QueriesStage
from tamis.stages.queries.writers.endpoint import most_tokens
from tamis.stages.queries.writers.writers import QueryWriters, language_models
from tamis.stages.queries.written import file_queries
from tamis.text import normalise


def expected_queries(stage: QueriesStage) -> ExpectedQueries:
    """The queries where they are finished, else as many as are asked for and given."""
    context, settings = stage.context, stage.settings
    if stage.name in context.folders:
        known = context.queries.values()
        own = sum(query.origin == "target" and bool(query.document_id) for query in known)
        return ExpectedQueries(Counter((query.origin, query.language) for query in known), own, context.queries)
    target = Counter(document.language for document in context.target.values())
    share = min(1.0, settings.documents / max(target.total(), 1)) if settings.documents else 1.0
    writers = sum(1.0 if kind == "extractive" else share for kind in settings.generator) + bool(settings.writer) * share
    counts = Counter({("target", k): round(n * settings.per_document * writers) for k, n in target.items()})
    written = file_queries(settings.written, context)
    counts.update((query.origin, query.language) for query in written if isinstance(query, Query))
    own = counts.total()
    for _, _, doc_id in stage.given():
        counts["general", context.documents[doc_id].language] += 1
    typed = {(query.origin, query.language, normalise(query.text)) for query in stage.typed()}  # often repeated
    counts.update((origin, language) for origin, language, _ in typed)
    return ExpectedQueries(counts, own, None)


_WRITTEN: Final = 4  # queries that a language model of this machine is tried on; they are kept


def writing_cost(writers: QueryWriters) -> Iterator[Work]:
    """What language models are asked for; extracts take no time to speak of."""
    for kind in language_models(writers.settings):
        left = writers.unanswered(kind)
        if kind == "endpoint" and (endpoint := writers.settings.endpoint):
            costs = (most_tokens(request, endpoint) for request in left)
            yield counted("queries", "queries.endpoint", endpoint, costs)
            continue
        first = list(islice(left, _WRITTEN))
        if first:
            name, seconds = _writes(writers, kind, first)
            count = sum(1 for _ in left)
            yield Work("queries", f"queries to write ({name})", count, seconds=count * seconds)


def _writes(writers: QueryWriters, kind: str, requests: Sequence[QueryRequest]) -> tuple[str, float]:
    """Name of a language model of this machine, and seconds for a query; those that it is tried on are kept."""
    with writers.models.load(kind) as model:
        cached = writers.cached(model, kind, lambda: None)
        start = time.monotonic()  # once: what is written is known the second time
        answers = list(cached.write(requests))
        return model.name, (time.monotonic() - start) / len(answers)
