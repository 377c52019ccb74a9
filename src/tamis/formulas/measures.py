"""How good rankings are, by ir-measures; ties are broken before, so that no tool breaks them its own way."""

import math
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

from tamis.errors import InputError

BLOCK = 1000
"""Queries measured at once: memory does not grow with how many there are."""

MOST_CUTOFF = 10**9
"""Highest cutoff: any list is shorter, and programs in C still hold it."""

Grades = Mapping[str, Mapping[str, int]]
"""Grade of each judged document by query id and document id; above 0 is relevant."""

Ranking = tuple[str, Sequence[str]]
"""A query's id and its documents, best first."""


def parse_measures(names: Sequence[str]) -> dict[str, Any]:
    """Measures of ir-measures by the name that it gives them (`RR@10` for `MRR@10`, `AP` for `MAP`).

    Raises:
        ValueError: a name that is no measure, a cutoff that is no whole number of 1 or more, or a measure that nothing
            installed computes.
    """
    import ir_measures

    found = {}
    for name in names:
        try:
            measure = ir_measures.parse_measure(name)
            _check_cutoff(measure.params.get("cutoff", 1))
            # Some providers only tell with the first run that they lack a program or do not take a parameter.
            list(ir_measures.evaluator([measure], {"1": {"1": 1, "2": 0}}).iter_calc({"1": {"1": 0.0, "2": -1.0}}))
        except Exception as error:  # whatever a provider raises, the measure cannot be computed here
            raise ValueError(
                f"measure {name!r}: {_reason(error)}; expected nDCG@10, RR@10, AP, R@100 or the like"
            ) from None
        found[str(measure)] = measure
    return found


def _check_cutoff(cutoff: object) -> None:
    """Refuse what trec_eval ends the whole process for, or what no list is as long as."""
    if not isinstance(cutoff, int) or isinstance(cutoff, bool) or not 1 <= cutoff <= MOST_CUTOFF:
        raise ValueError(f"the cutoff is {cutoff}, and a whole number from 1 to {MOST_CUTOFF:,} is needed")


def _reason(error: Exception) -> str:
    """Why a measure cannot be computed, on one line."""
    if isinstance(error, subprocess.CalledProcessError | OSError):
        return "the program that computes it does not run here (perl)"
    told = re.sub(r"invalid param (\w+)=<object object at \w+>", r"it needs the parameter \1", str(error))
    return " ".join(told.split()).rstrip(".") or type(error).__name__


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

    Raises:
        InputError: judgements that the program of a measure does not take, such as grades above 4 for ERR, or a query
            of which it gives no number.
    """
    import ir_measures

    ranked = {query_id: doc_ids for query_id, doc_ids in block if query_id in grades}
    found: dict[str, dict[str, float]] = {name: dict.fromkeys(ranked, 0.0) for name in measures}
    if not any(len(doc_ids) for doc_ids in ranked.values()):
        return found
    # Numbers in place of ids: programs that read files take no blanks in ids, and some no letters.
    names = {str(number): query_id for number, query_id in enumerate(ranked, 1)}
    numbers: dict[str, str] = defaultdict(map(str, count(1)).__next__)
    qrels = {
        number: {numbers[doc_id]: grade for doc_id, grade in grades[query_id].items()}
        for number, query_id in names.items()
    }
    # The scores are the ranks: there is nothing left to break.
    run = {
        number: {numbers[doc_id]: float(-rank) for rank, doc_id in enumerate(ranked[query_id])}
        for number, query_id in names.items()
        if len(ranked[query_id])
    }
    try:
        for metric in ir_measures.evaluator(list(measures.values()), qrels).iter_calc(run):
            if len(ranked[names[metric.query_id]]):
                found[str(metric.measure)][names[metric.query_id]] = _finite(metric.value, str(metric.measure))
    except subprocess.CalledProcessError:
        raise InputError(
            f"{', '.join(measures)}: the program behind one of them (gdeval) does not take these judgements; grades "
            "above 4 are too high for ERR and for nDCG with exponential gains, choose other measures"
        ) from None
    except Exception as error:  # whatever a provider raises for rankings that its measure is not defined for
        raise InputError(
            f"{', '.join(measures)}: one of them cannot be computed for these rankings ({_reason(error)}); leave it out"
        ) from None
    return found


def _finite(value: float, measure: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{measure} is {value} for a query")
    return float(value)


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
