"""How each formula merges a tensor that is read stretch by stretch, so that its size does not matter."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import InputError, ModelError
from tamis.formulas.merging import (
    agreeing_mean,
    dare,
    linear,
    magnitude_threshold,
    task_arithmetic,
    trim,
    weighted_sum,
    work_dtype,
)
from tamis.formulas.slerp import Arc, arcs_in_turn
from tamis.merging.checkpoints import Checkpoint

STRETCH = 1 << 21
"""Elements of a tensor in memory at a time, of each model: 8 MiB in float32. The masks of DARE depend on it."""

NAMES = ("slerp", "linear", "task-arithmetic", "ties", "dare")

TURNS = ("slerp", "linear")
"""Methods that join one model after another, at fractions t."""

THINNED = ("ties", "dare")
"""Methods that keep a share of each difference from the base."""

DENSITY = 0.2
WEIGHT = {"task-arithmetic": 0.4, "ties": 1.0, "dare": 0.4}
"""What the authors of TIES use for these methods where there is no data to choose by."""


@dataclass(frozen=True, slots=True)
class Method:
    """How to merge.

    Attributes:
        name: One of `NAMES`.
        t: slerp and linear: the fraction taken of the way from what was merged so far to the next model, in [0, 1].
            None is 1/2, then 1/3 ..., so that all models weigh alike.
        weight: task-arithmetic and dare: of each difference from the base; ties: of the mean of those that agree.
        density: ties and dare: share of each difference that is kept, in (0, 1].
        seed: dare: of the masks.
    """

    name: str = "slerp"
    t: float | None = None
    weight: float | None = None
    density: float | None = None
    seed: int = 0

    def check(self, with_base: bool) -> None:
        """Refuse settings that the method does not have, or lacks.

        Raises:
            InputError: names the option, and what to do.
        """
        if self.name not in NAMES:
            raise InputError(f"--method {self.name}: expected one of {', '.join(NAMES)}")
        for option, value, methods in (
            ("--t", self.t, TURNS),
            ("--weight", self.weight, tuple(WEIGHT)),
            ("--density", self.density, THINNED),
        ):
            if value is not None and self.name not in methods:
                raise InputError(f"{option} {value:g}: not for {self.name}, only for {', '.join(methods)}")
        if self.t is not None and not 0 <= self.t <= 1:
            raise InputError(f"--t {self.t:g}: expected a number from 0 (the first model) to 1 (the next)")
        if self.density is not None and not 0 < self.density <= 1:
            raise InputError(f"--density {self.density:g}: expected a share above 0 and at most 1")
        if self.name not in TURNS and not with_base:
            raise InputError(f"--method {self.name}: needs --base, the model that all of them started from")

    @property
    def used_weight(self) -> float:
        """The weight, or the method's default."""
        return WEIGHT[self.name] if self.weight is None else self.weight

    @property
    def used_density(self) -> float:
        """The density, or the default."""
        return DENSITY if self.density is None else self.density

    def fractions(self, models: int) -> list[float]:
        """The t of each of the `models - 1` joins."""
        return [1 / (number + 1) if self.t is None else self.t for number in range(1, models)]


@dataclass(frozen=True, slots=True)
class Sources:
    """One tensor in all models and in their base.

    Attributes:
        name: Name of the tensor.
        elements: How many numbers it has.
        models: At least two.
        base: None to merge the weights themselves.
    """

    name: str
    elements: int
    models: tuple[Checkpoint, ...]
    base: Checkpoint | None

    @property
    def everyone(self) -> tuple[Checkpoint, ...]:
        """The models, and the base last if there is one."""
        return self.models if self.base is None else (*self.models, self.base)

    def stored(self, *checkpoints: Checkpoint) -> Iterator[list[Tensor]]:
        """The stretches of some of the checkpoints side by side, [elements], in the dtypes that they are stored in."""
        for start in range(0, self.elements, STRETCH):
            yield [checkpoint.read(self.name, start, start + STRETCH) for checkpoint in checkpoints]

    def stretches(self) -> Iterator[list[Tensor]]:
        """The stretches of `everyone`, each [elements], in the dtype of the work.

        Raises:
            ModelError: a value is not finite; names the folder and the tensor.
        """
        for stretch in self.stored(*self.everyone):
            for checkpoint, x in zip(self.everyone, stretch, strict=True):
                if not bool(x.isfinite().all()):
                    raise ModelError(
                        f"{checkpoint.folder}: the tensor {self.name!r} has a value that is not finite; a broken "
                        "checkpoint cannot be merged"
                    )
            yield [x.to(work_dtype(stretch)) for x in stretch]

    def differences(self, number: int) -> Iterator[Tensor]:
        """The stretches of one model's difference from the base, each [elements]."""
        assert self.base is not None, "Method.check sees to it"
        for model, base in self.stored(self.models[number], self.base):
            work = work_dtype([model, base])
            yield model.to(work) - base.to(work)


Merge = Callable[[list[Tensor]], Tensor]
"""Makes the merged stretch of what `Sources.stretches` gives."""


def prepare(method: Method, sources: Sources) -> tuple[Merge, list[Arc]]:
    """Look at a whole tensor, as far as the method has to, and say how to merge each of its stretches.

    Returns:
        The function, and for slerp the arcs from what was merged so far to the next model.

    Raises:
        ModelError: a value is not finite.
    """
    if method.name == "slerp":
        return _slerp(method, sources)
    if method.name == "linear":
        weights = straight_weights(method.fractions(len(sources.models)))
        return lambda stretch: linear(stretch, weights), []
    return _on_differences(method, sources), []


def straight_weights(fractions: Sequence[float]) -> list[float]:
    """Weight of each model where one after another is joined on the straight line; their sum is 1."""
    weights = [1.0]
    for t in fractions:
        weights = [*((1 - t) * weight for weight in weights), t]
    return weights


def _slerp(method: Method, sources: Sources) -> tuple[Merge, list[Arc]]:
    count = len(sources.models)
    products = torch.zeros(count, count, dtype=torch.float64)
    for stretch in sources.stretches():
        rows = torch.stack(_from_base(stretch, count)).double()
        products += rows @ rows.T
    weights, arcs = arcs_in_turn(products, method.fractions(count), sources.elements)

    def merge(stretch: list[Tensor]) -> Tensor:
        merged = weighted_sum(_from_base(stretch, count), weights)
        return merged + stretch[count] if len(stretch) > count else merged

    return merge, arcs


def _from_base(stretch: list[Tensor], count: int) -> list[Tensor]:
    return [x - stretch[count] for x in stretch[:count]] if len(stretch) > count else stretch


def _on_differences(method: Method, sources: Sources) -> Merge:
    weight, density = method.used_weight, method.used_density
    weights = [weight] * len(sources.models)
    if method.name == "task-arithmetic":
        return lambda stretch: task_arithmetic(stretch[:-1], stretch[-1], weights)
    if method.name == "dare":
        generator = torch.Generator().manual_seed(_seed(method.seed, sources.name))
        return lambda stretch: dare(stretch[:-1], stretch[-1], weights, density, generator)
    # TIES in its parts: the thresholds are those of the whole tensor.
    thresholds = [_threshold(sources, number, density) for number in range(len(sources.models))]

    def ties(stretch: list[Tensor]) -> Tensor:
        *models, base = stretch
        trimmed = [trim(x - base, threshold) for x, threshold in zip(models, thresholds, strict=True)]
        return base + weight * agreeing_mean(trimmed, [1.0] * len(models))

    return ties


def _threshold(sources: Sources, number: int, density: float) -> float:
    return magnitude_threshold(lambda: sources.differences(number), sources.elements, density)


def _seed(seed: int, name: str) -> int:
    """A seed for each tensor, so that its masks do not depend on which tensors come before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1
