"""What the lists will cost, beside what the student scores for them where it tells the queries that it answers."""

from typing import Final

from tamis.artifacts import read_column
from tamis.context import Workshop
from tamis.costs.work import Work
from tamis.stages.queries.cost import Asked

_LIST_SECONDS: Final = 0.001  # of a list: what repeats its document, the bins, the draw


def drawing_cost(shop: Workshop, asked: Asked) -> Work:
    """A list for each query."""
    known = "scores" in shop.folders
    count = len(read_column(shop.folders["scores"] / "scores.parquet", "query_id")) if known else asked.total
    return Work("lists", "lists to draw", count, not known, count * _LIST_SECONDS)
