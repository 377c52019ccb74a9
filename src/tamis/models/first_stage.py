"""A first stage beside a model: what it says of a query's documents, how much that counts, and the order of both.

They meet here and nowhere else, so that Python and a server rank alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from torch import Tensor

from tamis.errors import InputError
from tamis.formulas.arrays import FloatArray, IndexArray
from tamis.formulas.first_stage import scores_of_order, with_first_stage
from tamis.formulas.ranking import rank_order, z_scores
from tamis.languages import language_identifier, primary
from tamis.models.arguments import listed
from tamis.models.checkpoint import ORDER, OTHER, Deployment
from tamis.text import clip

NONE: Final = "none"
"""The model alone."""

FirstStageArgument = str | tuple[str, Sequence[float]]
"""What a caller says of the first stage: `NONE`, `ORDER`, or a name and a score of each document."""

LARGEST: Final = 1e100
"""Scores up to here can be squared and added up."""


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What a first stage says of a query's documents.

    Attributes:
        name: `ORDER`, `OTHER` or a name of its own.
        scores: Higher is better, finite, any scale, [documents].
    """

    name: str
    scores: FloatArray


class SummedRanking(NamedTuple):
    """A query's documents, ranked.

    Attributes:
        values: What ranks them, on the scale of the logits, [documents].
        order: Indices, best first, [documents]; values never rise along it.
    """

    values: np.ndarray
    order: IndexArray


def first_stage_of(said: FirstStageArgument | None, documents: int) -> FirstStage | None:
    """The first stage that a caller means; None for the model alone.

    Args:
        said: None or `NONE` for the model alone, `ORDER` where the documents come as the first stage ranked them, or
            its name and its score of each document: a list, a tensor, or see `listed`.
        documents: How many there are.

    Raises:
        InputError: a name without scores, scores without a name of their own, no list of them, not one a document, or
            not finite.
    """
    if said is None or (isinstance(said, str) and said == NONE):  # an array would compare each of its numbers
        return None
    if isinstance(said, str) and said == ORDER:
        return FirstStage(ORDER, scores_of_order(documents))
    name, given = said if isinstance(said, tuple | list) and len(said) == 2 else ("", ())
    if not isinstance(name, str) or not name:
        raise InputError(f"first_stage: got {clip(repr(said), 100)}, expected none, order, or a name and scores")
    if name in (NONE, ORDER):
        raise InputError(f"first_stage {name!r}: takes no scores; name what made them, or call it {OTHER!r}")
    plain = given.tolist() if isinstance(given, Tensor) else given
    scores = list(listed(f"first_stage {name!r}", plain, "scores"))
    if len(scores) != documents:
        raise InputError(f"first_stage {name!r}: {len(scores)} scores for {documents} documents, expected one of each")
    return FirstStage(name, finite_scores(name, scores))


def finite_scores(name: str, scores: Sequence[float]) -> FloatArray:
    """Scores of a first stage that can be squared and added up; z-scores know no scale, so a vast one is taken off.

    Args:
        name: Name of the first stage, for the message.
        scores: Any finite numbers, [documents].

    Raises:
        InputError: one that is no finite number.
    """
    try:
        values = np.array([float(score) for score in scores])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"first_stage {name!r}: expected a finite number of each document: {error}") from None
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        raise InputError(f"first_stage {name!r}: score {broken[0]} is not finite")
    peak = np.abs(values).max(initial=0)
    return values / peak if peak > LARGEST else values  # z-scores know no scale


def order_counts(deployment: Deployment) -> bool:
    """Whether the order of documents has any weight, be it for queries of one language only."""
    weights = [deployment.weight_of(ORDER), *deployment.weights_by_language.get(ORDER, {}).values()]
    return max(weights) > 0


def default_of(deployment: Deployment) -> str:
    """What a server does with requests that say nothing: `ORDER` where it is known to help, else `NONE`."""
    return ORDER if deployment.weight_of(ORDER) > 0 else NONE


def weight_of(deployment: Deployment, first: FirstStage, query: str) -> float:
    """The weight of a first stage beside the model.

    The query's language is looked at only where the checkpoint has weights by language for this first stage.
    """
    languages = deployment.weights_by_language.get(deployment.known_as(first.name))
    return deployment.weight_of(first.name, _identifier(tuple(languages))(query) if languages else "")


@cache
def _identifier(weighed: tuple[str, ...]) -> Callable[[str], str]:
    """Tells the languages with a weight of their own, `zh-cn` by its primary part; empty for all others."""
    tags = {primary(tag): tag for tag in reversed(weighed)}
    tell = language_identifier(None)  # among few, whatever is none of them would be taken for one
    return lambda text: tags.get(tell(text), "")


def doubt(deployment: Deployment, name: str) -> str | None:
    """What a caller should know about a first stage that the checkpoint has no weight for; None where it has one."""
    if name == ORDER:
        what = "this model has no weight for the order of documents, so nothing was added"
        return None if order_counts(deployment) else f"first_stage {ORDER!r}: {what}"
    if deployment.knows(name) or name == OTHER:
        return None
    known = ", ".join(sorted(deployment.first_stage_weights)) or "none"
    weight = deployment.weight_of(name)
    return (
        f"first_stage {name!r}: this model has no weight for it, so that of any other was taken, {weight:g}; "
        f"it knows {known}"
    )


def ranked_beside(logits: np.ndarray, first: FirstStage | None, weight: float, keys: Sequence[int]) -> SummedRanking:
    """Rank a query's documents by a model's logits and a first stage.

    Args:
        logits: The model's, [documents].
        first: None for the model alone.
        weight: Weight of the first stage's z-score, 0 or above.
        keys: `tie_key` of each document, [documents]: what is still equal is ordered by them.

    Returns:
        See `SummedRanking`. Without a first stage, or with weight 0, the values are the logits. Where all logits are
        the same they stay it, and the order is the first stage's.
    """
    if first is None or not weight:
        return SummedRanking(logits, rank_order(logits.astype(np.float64), keys))
    if logits.min() == logits.max():
        return SummedRanking(logits, rank_order(z_scores(first.scores), keys))
    values = with_first_stage(logits, first.scores, weight)
    return SummedRanking(values, rank_order(values, keys))
