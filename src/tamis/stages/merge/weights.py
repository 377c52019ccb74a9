"""What queries with a document of their own say about the weights of first stages: one each, for an order, by language.

Judged by nDCG@10 of the documents that each query belongs to, whatever found the candidates and whatever scored them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tamis.formulas.arrays import FloatArray
from tamis.formulas.first_stage import scores_of_order
from tamis.formulas.ranking import agreement, tie_key, z_scores
from tamis.formulas.weights import SURE, better_weight, mean_and_error, steady_weight
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.models.checkpoint import ORDER, OTHER

ORDER_ERRORS: Final = 1.0
"""Standard errors by which an order has to help before it counts: where it does, a server counts it unasked."""

KNOWN_ERRORS: Final = 1.0
"""Standard errors by which a higher weight has to be better than the one that a model had before."""

CHANCE: Final = 0.05
"""Probability with which chance alone may give some language a weight of its own: there are many to be wrong about."""

FOLDS: Final = 5
"""Parts of the queries, of which each is measured with the weights that the others choose."""


class RerankedHead(NamedTuple):
    """The best candidates of a first stage for one query, best first.

    Attributes:
        query_id: The query.
        language: Language of the query.
        logits: The model's, [candidates].
        first: The first stage's scores, [candidates].
        own: 1 for the documents that the query belongs to and those that repeat them, 0 for the others, [candidates].
    """

    query_id: str
    language: str
    logits: np.ndarray
    first: np.ndarray
    own: np.ndarray

    def ndcg(self, scores: FloatArray) -> float:
        """NDCG@10 of some scores, [candidates]; 0 where no document of the query's own is among them."""
        return agreement(scores, self.own) if self.own.any() else 0.0


@dataclass(frozen=True)
class WeightSample:
    """How well each weight does on each query.

    Attributes:
        weights: Those tried, ascending.
        query_ids: Each query once.
        languages: Language of each query.
        values: NDCG@10 of the query's own documents, [weights, queries].
        itself: The same of the first stage without the model, [queries].
    """

    weights: tuple[float, ...]
    query_ids: tuple[str, ...]
    languages: tuple[str, ...]
    values: FloatArray
    itself: FloatArray

    def of(self, language: str) -> FloatArray:
        """Values of the queries of a language, [weights, its queries]."""
        return self.values[:, np.array([one == language for one in self.languages], bool)]

    def part(self, kept: NDArray[np.bool_]) -> "WeightSample":
        """Some of the queries. kept: [queries]."""
        query_ids, languages = (tuple(compress(each, kept)) for each in (self.query_ids, self.languages))
        return WeightSample(self.weights, query_ids, languages, self.values[:, kept], self.itself[kept])

    def from_weight(self, least: float) -> "WeightSample":
        """Without the weights below one."""
        kept = np.array(self.weights) >= least
        weights = tuple(compress(self.weights, kept))
        return WeightSample(weights, self.query_ids, self.languages, self.values[kept], self.itself)

    def with_weights(self, general: float, by_language: Mapping[str, float]) -> FloatArray:
        """Values with each query's own weight: its language's, or the general one; [queries]."""
        places = [self.weights.index(by_language.get(language, general)) for language in self.languages]
        return self.values[places, np.arange(len(places))]

    def curve(self) -> list[list[float]]:
        """Each weight with its mean."""
        return [[w, float(value)] for w, value in zip(self.weights, self.values.mean(axis=1), strict=True)]


def sample_of(heads: Sequence[RerankedHead], weights: Iterable[float], by_order: bool = False) -> WeightSample:
    """How well each weight does on heads of different queries.

    Args:
        heads: At least one.
        weights: To be tried.
        by_order: Whether the order of the candidates counts in place of the first stage's scores.
    """
    weights = tuple(sorted(set(weights)))
    values = np.empty((len(weights), len(heads)))
    for number, head in enumerate(heads):
        first = z_scores(scores_of_order(len(head.first)) if by_order else head.first)
        logits = z_scores(head.logits)
        values[:, number] = [head.ndcg(logits + weight * first) for weight in weights]
    itself = np.array([head.ndcg(head.first) for head in heads])
    return WeightSample(weights, tuple(h.query_id for h in heads), tuple(h.language for h in heads), values, itself)


def weight_of_order(by_stage: Sequence[WeightSample]) -> float:
    """Weight of the candidates' order, which a server counts unasked; 0 unless it surely helps.

    Chosen where it matters most, beside the first stage that ranks best: a weak one loses little by too large a weight,
    a good one ranks worse than before by too small a weight. It has to be better there than the model alone by more
    than one standard error, and on no first stage worse than that first stage itself by more than one.

    Args:
        by_stage: What the order does, by first stage; 0 is among the weights.
    """
    best = best_stage(by_stage)
    weight = steady_weight(best.weights, best.values)
    place, alone = best.weights.index(weight), best.weights.index(0.0)
    gain, error = mean_and_error(best.values[place] - best.values[alone])
    helps = best.values.shape[1] >= SURE and gain > ORDER_ERRORS * error
    over = [mean_and_error(sample.values[place] - sample.itself) for sample in by_stage]
    return weight if helps and all(mean >= -error for mean, error in over) else 0.0


def best_stage(by_stage: Sequence[WeightSample]) -> WeightSample:
    """The first stage that ranks best by itself."""
    return max(by_stage, key=lambda sample: mean_and_error(sample.itself)[0])


def weights_by_language(sample: WeightSample, general: float, parts: Sequence[WeightSample] = ()) -> dict[str, float]:
    """Weights of the languages in which another one than the general one is surely better.

    Args:
        sample: The queries.
        general: One of its weights.
        parts: Other first stages that the weight will count for: none may lose by more than one standard error.
    """
    found = {}
    languages = sorted({*sample.languages} - {UNKNOWN_LANGUAGE})
    tried = max(1, len(languages) * (len(sample.weights) - 1))
    errors = float(norm.isf(CHANCE / tried))  # Bonferroni
    for language in languages:
        own = [part.of(language) for part in parts]
        weight = better_weight(sample.weights, sample.of(language), general, errors, own)
        if weight != general:
            found[language] = weight
    return found


class WeightChoice(NamedTuple):
    """The weight of a first stage.

    Attributes:
        general: For all languages but some.
        by_language: Those in which another one is surely better.
    """

    general: float
    by_language: Mapping[str, float]


def choice_by_scores(by_stage: Sequence[WeightSample]) -> WeightChoice:
    """The weight of the scores of a first stage, or of any like several: by what they do beside the best one.

    Nobody knows which any other one will be like, and a good one has more to lose.
    """
    best = best_stage(by_stage)
    weight = steady_weight(best.weights, best.values)
    return WeightChoice(weight, weights_by_language(best, weight, by_stage))


def choice_by_order(by_stage: Sequence[WeightSample]) -> WeightChoice:
    """The weight of the order, by what it does on each first stage."""
    weight = weight_of_order(by_stage)
    return WeightChoice(weight, weights_by_language(best_stage(by_stage), weight, by_stage))


def choice_beside(by_stage: Sequence[WeightSample], known: float) -> WeightChoice:
    """The weight that a model had before it was adapted, unless a higher one is surely better.

    Queries that were written about documents do not ask quite as people do. On the development sets they took a first
    stage's say away where real questions needed it, and gave it more where real questions lost by that (docs/log.md).
    So the weight that was chosen before stands against them: they never lower it, and raise it only where that gains
    more than one standard error.

    Args:
        by_stage: As for `choice_by_scores` and `choice_by_order`.
        known: The weight so far, one of those tried.
    """
    raised = [sample.from_weight(known) for sample in by_stage]
    best = best_stage(raised)
    parts = [sample.values for sample in raised if sample is not best]
    weight = better_weight(best.weights, best.values, known, KNOWN_ERRORS, parts)
    return WeightChoice(weight, weights_by_language(best, weight, raised))


def deal_folds(group_of: Mapping[str, str]) -> dict[str, int]:
    """A fold from 0 to `FOLDS` - 1 for each query, the same for all of a group.

    Args:
        group_of: By query, what those that would give each other's answer away have in common: their document.
    """
    groups = sorted({*group_of.values()}, key=lambda group: (tie_key("fold", group), group))
    fold = {group: number % FOLDS for number, group in enumerate(groups)}
    return {query_id: fold[group] for query_id, group in group_of.items()}


def cross_fitted(
    by_stage: Sequence[WeightSample],
    choose: Callable[[Sequence[WeightSample]], WeightChoice],
    fold_of: Mapping[str, int],
) -> list[FloatArray]:
    """What each query has with the weight that is chosen without it, by all queries of other folds.

    So the gain of a choice is measured on queries that had no part in it. Source: Stone 1974, cross-validatory
    assessment.

    Args:
        by_stage: Samples of the first stages.
        choose: Chooses a weight for all of them.
        fold_of: Fold of each query.

    Returns:
        Values by sample, [queries].
    """
    folds = [np.array([fold_of[query_id] for query_id in sample.query_ids]) for sample in by_stage]
    found = [np.zeros(len(sample.query_ids)) for sample in by_stage]
    for fold in {*fold_of.values()}:
        choice = choose([sample.part(of != fold) for sample, of in zip(by_stage, folds, strict=True)])
        for sample, of, values in zip(by_stage, folds, found, strict=True):
            values[of == fold] = sample.with_weights(choice.general, choice.by_language)[of == fold]
    return found


@dataclass(frozen=True)
class Weights:
    """Weights of first stages, by name.

    Attributes:
        general: Weight of each, `ORDER` and `OTHER` among them.
        by_language: By first stage and language, where another one is surely better.
        curves: Pairs of weight and mean nDCG@10, by first stage.
    """

    general: dict[str, float]
    by_language: dict[str, dict[str, float]] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)


def choose_weights(
    heads: Mapping[str, Sequence[RerankedHead]], choices: Iterable[float], known: Mapping[str, float] | None = None
) -> Weights:
    """The weight of each first stage's scores, of the order alone, and of the scores of any other first stage.

    A first stage's weight is other than 1 only with evidence (`steady_weight`); so is that of any other, which is that
    of the best one here. The order counts only where it surely helps. What a model had before needs evidence against
    it (`choice_beside`).
    Not judged by agreement with the teacher: it holds the first stage's own scorers and flatters them (docs/log.md).

    Args:
        heads: By first stage; may be empty.
        choices: Weights to be tried, for the order 0 besides.
        known: Weights that the model had before it was adapted, by first stage; where one is 0 or missing, nothing is
            known of that first stage.

    Returns:
        Without any query there is no evidence: no curve, and what is known, for the order and any other first stage
        nothing besides.
    """
    known = known or {}
    tried = sorted({*choices, *known.values()})
    if not any(heads.values()):
        return Weights({**dict.fromkeys(heads, steady_weight(tried, np.zeros((len(tried), 1)))), **known})
    by_scores = {name: sample_of(found, tried) for name, found in heads.items()}
    by_order = [sample_of(found, {0.0, *tried}, by_order=True) for found in heads.values()]
    of_each = {
        **{name: [sample] for name, sample in by_scores.items()},
        OTHER: list(by_scores.values()),
        ORDER: by_order,
    }

    def chosen(name: str, samples: Sequence[WeightSample]) -> WeightChoice:
        if known.get(name):
            return choice_beside(samples, known[name])
        return choice_by_order(samples) if name == ORDER else choice_by_scores(samples)

    choice_of = {name: chosen(name, samples) for name, samples in of_each.items()}
    return Weights(
        {**known, **{name: choice.general for name, choice in choice_of.items()}},
        {name: dict(choice.by_language) for name, choice in choice_of.items() if choice.by_language},
        {name: best_stage(samples).curve() for name, samples in of_each.items()},
    )
