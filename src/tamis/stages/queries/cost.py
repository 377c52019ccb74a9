"""How many queries are expected; what they cost, their writers say."""

from collections import Counter

from tamis.costs.plan import ExpectedQueries
from tamis.records import Query
from tamis.stages.queries.stage import QueriesStage
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
    shares = [share if writer.mode else 1.0 for writer in stage.writers.members.values()]
    writers = sum(shares) + bool(settings.writer) * share
    counts = Counter({("target", k): round(n * settings.per_document * writers) for k, n in target.items()})
    written = file_queries(settings.written, context)
    counts.update((query.origin, query.language) for query in written if isinstance(query, Query))
    own = counts.total()
    for _, _, doc_id in stage.given():
        counts["general", context.documents[doc_id].language] += 1
    typed = {(query.origin, query.language, normalise(query.text)) for query in stage.typed()}  # often repeated
    counts.update((origin, language) for origin, language, _ in typed)
    return ExpectedQueries(counts, own, None)
