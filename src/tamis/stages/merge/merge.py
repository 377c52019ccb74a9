"""Merge: specialists joined one after another by SLERP; every step is judged without labels and may be refused."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from tamis.formulas.slerp import MergeStatistics, merge_state_dicts
from tamis.formulas.weights import mean_and_error
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.train.stage import Tensors

Agreement = dict[str, float]
"""Mean agreement with the teacher on the held-out lists of each domain, in [0, 1]."""

Agreements = dict[str, np.ndarray]
"""The same of every list by itself, [lists] a domain, in the same order whatever is judged."""

MergeObjective = Callable[[Tensors], Agreements]


@dataclass(frozen=True)
class Step:
    """One tried merge.

    Attributes:
        merged: Specialists already in the model.
        other: The specialist to add.
        t: Fraction of the arc towards it.
        agreement: Agreement of the result with the teacher, by domain.
        accepted: Whether it became the model.
        reason: Why it was refused, empty otherwise.
        statistics: Share of tensors that fell back to linear, and angles.
    """

    merged: tuple[str, ...]
    other: str
    t: float
    agreement: Agreement
    accepted: bool
    reason: str
    statistics: MergeStatistics


class Point(NamedTuple):
    """One value of t on a curve: its agreement by domain, and what became of it."""

    t: float
    agreement: Agreement
    outcome: Literal["parent", "accepted", "refused", "passed over"]


class MergeCurve(NamedTuple):
    """Agreement over t for one specialist at one step: from the model so far at 0 to the specialist at 1."""

    merged: tuple[str, ...]
    other: str
    points: list[Point]


@dataclass
class MergePath:
    """How the merged model came about.

    Attributes:
        agreement: Agreement of untrained, general student, each specialist and result, by name and domain.
        steps: Everything that was tried, in order.
        order: The models in the result, in the order they came in; a single one where no merge was better than it.
    """

    agreement: dict[str, Agreement] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def curves(self) -> list[MergeCurve]:
        """A curve for every specialist that was tried at every step, in the order in which they were."""
        standing: dict[tuple[str, ...], Agreement] = {(name,): found for name, found in self.agreement.items()}
        standing |= {(*step.merged, step.other): step.agreement for step in self.steps if step.accepted}
        tried: dict[tuple[tuple[str, ...], str], list[Step]] = {}
        for step in self.steps:
            tried.setdefault((step.merged, step.other), []).append(step)
        found = []
        for (merged, other), steps in tried.items():
            ends = [Point(0.0, standing[merged], "parent"), Point(1.0, self.agreement[other], "parent")]
            points = {point.t: point for point in ends}
            points |= {step.t: Point(step.t, step.agreement, _outcome(step)) for step in steps}
            found.append(MergeCurve(merged, other, [points[t] for t in sorted(points)]))
        return found


class _Model(NamedTuple):
    names: tuple[str, ...]
    tensors: Tensors
    agreements: Agreements


class _Tried(NamedTuple):
    step: Step
    agreements: Agreements


def merge_specialists(
    specialists: Mapping[str, Tensors],
    parent: Tensors,
    untrained: Tensors,
    judge: MergeObjective,
    settings: MergeSettings,
    progress: Callable[[int], None],
) -> tuple[Tensors, MergePath]:
    """Greedy sequential SLERP with a gate.

    The specialist with the best mean agreement over all domains comes first. At each step every specialist that is
    left is tried at every t of the settings, then the most promising one between the best t and its neighbours, and
    again between those (`refine` times). The best admissible result becomes the model. A result is admissible if no
    domain falls more than `tolerance`, and what chance does, below the better of its two parents, nor below the
    untrained student. When no step is admissible, the specialists that are left stay out.

    Of the models on the way and of each single one, the untrained student included, the best in mean is the result:
    it is never worse than where the chain started. Of equal ones the most merged counts. Without specialists the
    general student stands for them.

    Args:
        specialists: Trained tensors by name.
        parent: Trained tensors of the general student, from which they all started.
        untrained: The same tensors before any training.
        judge: Agreement of a set of tensors on every list, by domain.
        settings: The values of t, the tolerance, and whether differences from the parent or weights are turned.
        progress: Called with 1 after each judged model.

    Returns:
        The merged tensors and the path to them.
    """

    def judged(tensors: Tensors) -> Agreements:
        found = judge(tensors)
        progress(1)
        return found

    given = {"untrained": untrained, "general": parent, **specialists}
    alone = {name: _Model((name,), tensors, judged(tensors)) for name, tensors in given.items()}
    base = parent if settings.on == "differences" else None

    def attempt(model: _Model, name: str, t: float) -> _Tried:
        tensors, statistics = merge_state_dicts(model.tensors, specialists[name], t, base)
        found = judged(tensors)
        bounds = {" + ".join(model.names): model, name: alone[name], "untrained": alone["untrained"]}
        reason = refuse({who: bound.agreements for who, bound in bounds.items()}, found, settings.tolerance)
        return _Tried(Step(model.names, name, t, mean_agreements(found), False, reason, statistics), found)

    path = MergePath({name: mean_agreements(model.agreements) for name, model in alone.items()})
    model = max((alone[name] for name in specialists), key=_mean_of, default=alone["general"])
    on_the_way = [model]
    left = [name for name in specialists if name not in model.names]
    while left:
        tried = _search(left, functools.partial(attempt, model), settings)
        best, found = max(tried, key=_promise)
        path.steps += [replace(step, accepted=step is best and not step.reason) for step, _ in tried]
        if best.reason:
            break
        # Made again rather than kept: a set of tensors for everything that was tried would fill the memory.
        tensors, _ = merge_state_dicts(model.tensors, specialists[best.other], best.t, base)
        model = _Model((*model.names, best.other), tensors, found)
        on_the_way.append(model)
        left.remove(best.other)
    singles = [*(alone[name] for name in specialists), alone["general"], alone["untrained"]]
    chosen = max([*reversed(on_the_way), *singles], key=_mean_of)
    path.agreement["merged"] = mean_agreements(chosen.agreements)
    path.order = list(chosen.names)
    return chosen.tensors, path


def _search(left: Iterable[str], attempt: Callable[[str, float], _Tried], settings: MergeSettings) -> list[_Tried]:
    """Try all specialists at the coarse values of t, and the most promising one at finer ones."""
    tried = [attempt(name, t) for name in left for t in settings.t]
    for _ in range(settings.refine):
        best, _ = max(tried, key=_promise)
        known = [step.t for step, _ in tried if step.other == best.other]
        tried += [attempt(best.other, t) for t in between(best.t, known)]
    return tried


def between(best: float, known: Sequence[float]) -> list[float]:
    """Halfway from the best value of t to its neighbours on either side, among the known ones and the ends 0 and 1."""
    values = sorted({0.0, 1.0, *known})
    return [(a + b) / 2 for a, b in itertools.pairwise(values) if best in (a, b)]


def refuse(bounds: Mapping[str, Agreements], after: Agreements, tolerance: float) -> str:
    """Why a merge step must not be taken, empty if it may.

    A domain of twenty lists falls and rises by more than the tolerance where two of them change places: what counts is
    a fall beyond the tolerance and one standard error of the mean difference, list by list.

    Args:
        bounds: Agreements of the models that the result must not fall below, by name.
        after: Agreements of the result.
        tolerance: How far a domain may fall below the best of them, chance aside.

    Returns:
        The domain that falls most beyond what it may, how far, and below which model.
    """
    falls = [
        _Fall(domain, who, *mean_and_error(before[domain] - after[domain]))
        for who, before in bounds.items()
        for domain in after
    ]
    worst = max(falls, key=lambda fall: fall.mean - fall.error)
    if worst.mean <= tolerance + worst.error:
        return ""
    chance = f" and the {worst.error:.4f} of chance" if worst.error else ""
    return f"{worst.domain} falls {worst.mean:.4f} below {worst.who}, more than {tolerance:g}{chance}"


class _Fall(NamedTuple):
    """How far a domain falls below a model, in agreement, and the standard error of it."""

    domain: str
    who: str
    mean: float
    error: float


def mean_agreements(agreements: Agreements) -> Agreement:
    """The mean over the lists of each domain."""
    return {domain: float(values.mean()) for domain, values in agreements.items()}


def judgements(specialists: int, values_of_t: int, refine: int) -> int:
    """Most models that `merge_specialists` judges, for the progress bar."""
    return 2 + specialists + sum(left * values_of_t + 2 * refine for left in range(1, specialists))


def _promise(tried: _Tried) -> tuple[bool, float]:
    """Admissible results first, then the best mean: near a good one that is refused may lie one that is not."""
    return not tried.step.reason, _mean(tried.step.agreement)


def _outcome(step: Step) -> Literal["accepted", "refused", "passed over"]:
    return "accepted" if step.accepted else "refused" if step.reason else "passed over"


def _mean_of(model: _Model) -> float:
    return _mean(mean_agreements(model.agreements))


def _mean(agreement: Agreement) -> float:
    return math.fsum(agreement.values()) / len(agreement)
