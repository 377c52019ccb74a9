"""How many training lists there will be, and what drawing them takes."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final

from tamis.artifacts import read_column, read_json
from tamis.context import RunContext
from tamis.costs.plan import ExpectedQueries
from tamis.costs.work import Work
from tamis.stages.lists.settings import ListsSettings

_LIST_SECONDS: Final = 0.001  # of a list: what repeats its document, the bins, the draw


def drawing_cost(context: RunContext, queries: ExpectedQueries) -> Work:
    """A list for each query."""
    scores = context.folders.get("scores")
    count = len(read_column(scores / "scores.parquet", "query_id")) if scores else queries.total
    return Work("lists", "lists to draw", count, scores is None, count * _LIST_SECONDS)


def mean_length(heads: Iterable[tuple[int, int]], documents: int) -> int:
    """Documents of a list in the mean, rounded up: where a query searches few documents, its list is short.

    Args:
        heads: How many queries are compared with how many documents.
        documents: Most of a list.
    """
    heads = list(heads)
    asked = sum(count for count, _ in heads)
    return math.ceil(sum(count * min(held, documents) for count, held in heads) / asked) if asked else documents


def expected_lists(settings: ListsSettings, context: RunContext, queries: ExpectedQueries) -> Counter[tuple[str, str]]:
    """Training lists by domain and split: those that there are, or one for each query."""
    if "lists" in context.folders:
        known = read_json(context.folders["lists"] / "manifest.json")["lists"]
        return Counter({tuple(name.rsplit(", ", 1)): count for name, count in known.items()})
    expected: Counter[tuple[str, str]] = Counter()
    for (_, language), count in queries.counts.items():
        domain = settings.domain_for(language)
        held_out = round(count * settings.held_out)
        expected[domain, "held-out"] += held_out
        expected[domain, "train"] += count - held_out
    return expected
