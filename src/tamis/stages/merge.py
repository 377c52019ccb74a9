"""Merge: specialists joined one after another by SLERP; every step is judged without labels and may be refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tamis.formulas.slerp import MergeStatistics, merge_state_dicts
from tamis.settings import MergeSettings

Tensors = Mapping[str, Tensor]
Agreement = dict[str, float]
Judge = Callable[[Tensors], Agreement]
"""Agreement with the teacher on the held-out synthetic queries of each domain."""


@dataclass(frozen=True)
class Step:
    """One tried merge.

    Attributes:
        merged: Specialists already in the model.
        other: The specialist to add.
        t: Fraction of the arc towards it.
        agreement: Of the result, by domain.
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


@dataclass
class MergePath:
    """How the merged model came about.

    Attributes:
        agreement: Of every parent and of the result, by name and domain.
        steps: Everything that was tried, in order.
        order: Specialists in the merged model, in the order they came in.
    """

    agreement: dict[str, Agreement] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    order: list[str] = field(default_factory=list)


def merge_specialists(
    specialists: Mapping[str, Tensors],
    parent: Tensors,
    judge: Judge,
    settings: MergeSettings,
    progress: Callable[[int], None],
) -> tuple[Tensors, MergePath]:
    """Greedy sequential SLERP with a gate.

    The specialist with the best mean agreement over all domains comes first. At each step every specialist that is
    left is tried at every t; the best admissible result becomes the model. A result is admissible if no domain falls
    more than `tolerance` below the model as it was. A specialist without any admissible step is left out.

    Args:
        specialists: Trained tensors by name.
        parent: Trained tensors of the model they all started from.
        judge: Agreement by domain of a set of tensors.
        settings: The values of t, the tolerance, and whether differences from the parent or weights are turned.
        progress: Called with 1 after each judged model.

    Returns:
        The merged tensors and the path to them.
    """
    path = MergePath()

    def judged(tensors: Tensors) -> Agreement:
        found = judge(tensors)
        progress(1)
        return found

    path.agreement = {"general": judged(parent)}
    path.agreement |= {name: judged(tensors) for name, tensors in specialists.items()}
    first = max(specialists, key=lambda name: _mean(path.agreement[name]))
    model, standing = specialists[first], path.agreement[first]
    path.order.append(first)
    left = [name for name in specialists if name != first]
    base = parent if settings.on == "differences" else None
    while left:
        tried: list[tuple[Step, Tensors]] = []
        for name in left:
            for t in settings.t:
                tensors, statistics = merge_state_dicts(model, specialists[name], t, base)
                found = judged(tensors)
                reason = refuse(standing, found, settings.tolerance)
                tried.append((Step(tuple(path.order), name, t, found, False, reason, statistics), tensors))
        best = _best(tried)
        path.steps += [_accept(step) if number == best else step for number, (step, _) in enumerate(tried)]
        if best is None:
            break
        step, model = tried[best]
        standing = step.agreement
        path.order.append(step.other)
        left.remove(step.other)
    path.agreement["merged"] = standing
    return model, path


def refuse(before: Agreement, after: Agreement, tolerance: float) -> str:
    """Why a merge step must not be taken, empty if it may: the domain that falls most, if by more than `tolerance`."""
    domain = max(before, key=lambda name: before[name] - after[name])
    fall = before[domain] - after[domain]
    return f"{domain} falls by {fall:.4f}, more than {tolerance:g}" if fall > tolerance else ""


def judgements(specialists: int, values_of_t: int) -> int:
    """Most models that `merge_specialists` judges, for the progress bar."""
    return 1 + specialists + values_of_t * sum(range(1, specialists))


def _best(tried: Sequence[tuple[Step, Tensors]]) -> int | None:
    admissible = [number for number, (step, _) in enumerate(tried) if not step.reason]
    return max(admissible, key=lambda number: _mean(tried[number][0].agreement), default=None)


def _accept(step: Step) -> Step:
    return Step(step.merged, step.other, step.t, step.agreement, True, "", step.statistics)


def _mean(agreement: Agreement) -> float:
    return sum(agreement.values()) / len(agreement)
