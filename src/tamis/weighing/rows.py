"""What weights are worth, as it is shown: figures and tests for all queries and by language."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tamis.formulas.arrays import FloatArray
from tamis.formulas.ranking import tie_key
from tamis.formulas.significance import paired_randomisation
from tamis.stages.merge.weights import WeightChoice, WeightSample

ROUNDS: Final = 10_000
"""Sign flips of the paired tests."""


@dataclass(frozen=True)
class WeightRow:
    """What a first stage is worth: alone, under the model, and beside it. NDCG@10 of the queries' own documents.

    Beside it, each query counts with the weight that the queries of the other folds choose: whatever chose a weight
    does not say how good it is.

    Attributes:
        name: The first stage, or its order.
        language: Language of the queries; empty for all.
        queries: How many.
        first: The first stage's own ranking.
        alone: The model's.
        together: Both, see above.
        weight: The weight that all queries choose; languages with one of their own have rows of their own.
        p_alone: p-value of together against alone, see `paired_randomisation`; those of one document flip together.
        p_first: p-value of together against the first stage.
    """

    name: str
    language: str
    queries: int
    first: float
    alone: float
    together: float
    weight: float
    p_alone: float
    p_first: float


def weight_rows(
    name: str, sample: WeightSample, chosen: WeightChoice, together: FloatArray, group_of: Mapping[str, str]
) -> Iterator[WeightRow]:
    """A row for all queries, then one for each language with a weight of its own.

    Args:
        name: The first stage, or its order.
        sample: What each weight does; 0 is among them.
        chosen: The weights that all queries choose.
        together: NDCG@10 with the weight that the queries of the other folds choose, [queries].
        group_of: By query, the document that it shares with others.
    """
    alone = sample.with_weights(0.0, {})
    languages = np.array(sample.languages)
    groups = np.unique([group_of[query_id] for query_id in sample.query_ids], return_inverse=True)[1]
    for language in ("", *chosen.by_language):
        of = (languages == language) | (not language)
        weight = chosen.by_language.get(language, chosen.general)
        yield _row(name, language, weight, sample.itself[of], alone[of], together[of], groups[of])


def _row(
    name: str,
    language: str,
    weight: float,
    first: FloatArray,
    alone: FloatArray,
    together: FloatArray,
    groups: NDArray[np.int64],
) -> WeightRow:
    rng = np.random.default_rng(tie_key(name, language))
    gains = (np.bincount(groups, weights=together - other).astype(np.float64) for other in (alone, first))
    p_alone, p_first = (paired_randomisation(gain, rng, ROUNDS) for gain in gains)
    before, under, beside = (float(values.mean()) for values in (first, alone, together))
    return WeightRow(name, language, len(first), before, under, beside, weight, p_alone, p_first)
