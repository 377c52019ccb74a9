"""How good rankings are, by ir-measures; ties are broken before, so that no tool breaks them its own way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

BLOCK = 1000
"""Queries measured at once: memory does not grow with how many there are."""

Grades = Mapping[str, Mapping[str, int]]
"""Grade of each judged document by query id and document id; above 0 is relevant."""

Ranking = tuple[str, Sequence[str]]
"""A query's id and its documents, best first."""


def parse_measures(names: Sequence[str]) -> dict[str, Any]:
    """Measures of ir-measures by the name that it gives them (`RR@10` for `MRR@10`, `AP` for `MAP`).

    Raises:
        ValueError: a name that is no measure, or one that no installed package computes.
    """
    import ir_measures

    found = {}
    for name in names:
        try:
            measure = ir_measures.parse_measure(name)
            ir_measures.evaluator([measure], [ir_measures.Qrel("q", "d", 1)])
        except (NameError, ValueError, SyntaxError, AssertionError) as error:
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise ValueError(f"measure {name!r}: {reason}; expected nDCG@10, RR@10, AP, R@100 or the like") from None
        found[str(measure)] = measure
    return found


def blocks(rankings: Iterable[Ranking]) -> Iterator[list[Ranking]]:
    """Rankings a block at a time, as they come."""
    stream = iter(rankings)
    while block := list(islice(stream, BLOCK)):
        yield block


def measure_block(block: Sequence[Ranking], grades: Grades, measures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Measure some rankings.

    Args:
        block: Rankings of different queries; those without judgements are passed over.
        grades: Judgements, of these queries at least.
        measures: As `parse_measures` gives them.

    Returns:
        Value of each ranked query by name of the measure; 0 for an empty ranking.
    """
    import ir_measures

    ranked = {query_id: doc_ids for query_id, doc_ids in block if query_id in grades}
    found: dict[str, dict[str, float]] = {name: dict.fromkeys(ranked, 0.0) for name in measures}
    if not any(len(doc_ids) for doc_ids in ranked.values()):
        return found
    qrels = {query_id: dict(grades[query_id]) for query_id in ranked}
    # The scores are the ranks: there is nothing left to break.
    run = {
        query_id: {doc_id: float(-rank) for rank, doc_id in enumerate(doc_ids)}
        for query_id, doc_ids in ranked.items()
        if len(doc_ids)
    }
    for metric in ir_measures.evaluator(list(measures.values()), qrels).iter_calc(run):
        if len(ranked[metric.query_id]):
            found[str(metric.measure)][metric.query_id] = float(metric.value)
    return found


def measure_rankings(
    rankings: Iterable[Ranking], grades: Grades, measures: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Measure any number of rankings, a block at a time.

    Args:
        rankings: One a query at most, in any order.
        grades: Judgements.
        measures: As `parse_measures` gives them.

    Returns:
        By name of the measure, a value for every judged query; 0 for those without results.
    """
    found: dict[str, dict[str, float]] = {name: dict.fromkeys(grades, 0.0) for name in measures}
    for block in blocks(rankings):
        for name, values in measure_block(block, grades, measures).items():
            found[name].update(values)
    return found
