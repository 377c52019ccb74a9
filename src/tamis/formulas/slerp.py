"""Merging checkpoints on the arc: spherical interpolation of one tensor, of many in turn, and of a whole state dict.

Siblings trained from one parent are nearly parallel as whole vectors, and interpolating those is averaging in all but
name. What they learnt apart is in their *differences from the parent*: give the parent as `base` to interpolate those.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

PARALLEL_COSINE = 0.9995  # beyond it sin(angle) is too small to divide by, and the arc is a straight line anyway


class Arc(NamedTuple):
    """A point on the way from vector a to vector b: weight_a * a + weight_b * b.

    Attributes:
        weight_a: Weight of the first vector.
        weight_b: Weight of the second vector.
        angle: Between the two, radians in [0, pi]; None where there is no direction to compare (a zero vector or fewer
            than two elements).
        linear: Whether the straight line was taken instead of the arc.
    """

    weight_a: float
    weight_b: float
    angle: float | None
    linear: bool


class Slerp(NamedTuple):
    """An interpolated tensor, shape and dtype of the first input, and how it came about: see `Arc`."""

    tensor: Tensor
    angle: float | None
    linear: bool


@dataclass(frozen=True, slots=True)
class MergeStatistics:
    """What a merge did, tensor by tensor.

    Attributes:
        tensors: All tensors of the state dict.
        equal: Tensors that were the same in both models and were copied; all integer tensors are among them.
        linear: Tensors interpolated on the straight line because no arc could be told from it.
        mean_angle: Mean angle in degrees, 0 to 180, over the tensors that differ and have an angle; 0 without any.
        layer_angles: The same for each numbered layer that has an angle.
    """

    tensors: int
    equal: int
    linear: int
    mean_angle: float
    layer_angles: Mapping[int, float]


@torch.no_grad()
def slerp(a: Tensor, b: Tensor, t: float) -> Slerp:
    """Point at fraction t of the arc from a to b, both taken as one flat vector.

    The angle is that of the normalised vectors; the weights of `arc` are applied to the vectors as they are. Two
    vectors of equal norm keep that norm on the arc.

    Args:
        a: Any shape, floating point.
        b: Same shape. Computed in float64 where either is float64, otherwise in float32; returned in a.dtype.
        t: In [0, 1]; 0 gives a, 1 gives b.

    Returns:
        The tensor, the angle, and whether the straight line was taken.

    Raises:
        ValueError: Shapes differ, t is outside [0, 1], or a value is not finite.

    Source: Shoemake 1985; for weights, as mergekit does it.
    """
    if a.shape != b.shape:
        raise ValueError(f"cannot interpolate shapes {tuple(a.shape)} and {tuple(b.shape)}, expected equal shapes")
    work = torch.float64 if torch.float64 in (a.dtype, b.dtype) else torch.float32
    x, y = a.to(work), b.to(work)
    taken = arc(_cosine(x.flatten(), y.flatten()), t)
    return Slerp((taken.weight_a * x + taken.weight_b * y).to(a.dtype), taken.angle, taken.linear)


def arc(cosine: float | None, t: float) -> Arc:
    """The weights of the point at fraction t of the arc between two vectors.

    They are sin((1 - t) * angle) / sin(angle) and sin(t * angle) / sin(angle). The straight line, 1 - t and t, is taken
    between vectors that are nearly parallel, where it is the arc, or nearly opposite (|cosine| above 0.9995), where no
    arc is the shortest and what one model learnt cancels what the other unlearnt.

    Args:
        cosine: Cosine of the angle, in [-1, 1]; None where there is no direction to compare, which goes straight.
        t: In [0, 1].

    Raises:
        ValueError: t is outside [0, 1].
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t is {t}, expected a number from 0 (the first tensor) to 1 (the second)")
    if cosine is None or abs(cosine) > PARALLEL_COSINE:
        return Arc(1 - t, t, None if cosine is None else math.acos(cosine), True)
    angle = math.acos(cosine)
    return Arc(math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle), angle, False)


def arcs_in_turn(products: Tensor, t: Sequence[float], elements: int) -> tuple[list[float], list[Arc]]:
    """Sequential SLERP of any number of vectors, from their inner products alone.

    What has been merged so far is a sum of the vectors, so that its norm and its angle to the next one follow from the
    products. A tensor that does not fit into memory needs two passes: one for the products, one for the sum.

    Args:
        products: Inner products of n vectors with each other, float64 [n, n].
        t: Fraction of each of the n - 1 arcs, in [0, 1].
        elements: Length of the vectors; fewer than two leave no room for an arc.

    Returns:
        Weight of each vector in the result, and the arcs from what was merged so far to the next vector.

    Raises:
        ValueError: A value is not finite, or a t is outside [0, 1].
    """
    if not bool(products.isfinite().all()):
        raise ValueError("a value is not finite, so the checkpoint it is from cannot be used")
    weights = torch.zeros(len(products), dtype=torch.float64)
    weights[0] = 1
    taken: list[Arc] = []
    for number, fraction in enumerate(t, start=1):
        with_all = products @ weights
        norms = math.sqrt(max(0.0, float(weights @ with_all)) * float(products[number, number]))
        cosine = max(-1.0, min(1.0, float(with_all[number]) / norms)) if norms > 0 and elements > 1 else None
        taken.append(arc(cosine, fraction))
        weights *= taken[-1].weight_a
        weights[number] = taken[-1].weight_b
    return weights.tolist(), taken


@torch.no_grad()
def merge_state_dicts(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], t: float, base: Mapping[str, Tensor] | None
) -> tuple[dict[str, Tensor], MergeStatistics]:
    """Interpolate two checkpoints of one architecture tensor by tensor.

    With `base`, each tensor becomes base + slerp(a - base, b - base, t): what each model learnt since the common parent
    is interpolated on the arc. Without, the tensors themselves are.

    Args:
        a: First model, name to tensor of any shape; its dtypes and key order are those of the result.
        b: Second model, same names and shapes.
        t: In [0, 1]; 0 gives a, 1 gives b.
        base: Their common parent, same names and shapes, or None.

    Returns:
        New tensors (nothing shared with the inputs) and the statistics. Tensors that are equal in a and b are copied.

    Raises:
        ValueError: Names the first tensor that is missing, of another shape, an integer tensor that differs, or one
            that `slerp` refuses.
    """
    _check_same_layout(a, b, "second model")
    if base is not None:
        _check_same_layout(a, base, "common parent")
    merged: dict[str, Tensor] = {}
    equal, linear = 0, 0
    angles: dict[str, float] = {}
    for name, tensor in a.items():
        if torch.equal(tensor, b[name]):
            merged[name] = tensor.clone()
            equal += 1
            continue
        result = _merge_tensor(name, tensor, b[name], t, None if base is None else base[name])
        merged[name] = result.tensor
        linear += result.linear
        if result.angle is not None:
            angles[name] = math.degrees(result.angle)
    mean_angle = fmean(angles.values()) if angles else 0.0
    return merged, MergeStatistics(len(merged), equal, linear, mean_angle, mean_by_layer(angles))


def layer_of(name: str) -> int | None:
    """Number of the layer that a tensor belongs to, by the first number in its name; None outside the layers.

    >>> layer_of("model.layers.3.mlp.experts.5.up_proj.weight")
    3
    """
    return next((int(part) for part in name.split(".") if part.isdecimal()), None)


def mean_by_layer(values: Mapping[str, float]) -> dict[int, float]:
    """Mean of the values of each numbered layer's tensors, by layer in ascending order; values are by tensor name."""
    found: dict[int, list[float]] = {}
    for name, value in values.items():
        layer = layer_of(name)
        if layer is not None:
            found.setdefault(layer, []).append(value)
    return {layer: fmean(found[layer]) for layer in sorted(found)}


def _cosine(x: Tensor, y: Tensor) -> float | None:
    """Cosine of two flat vectors in [-1, 1], None where it says nothing about an arc."""
    norm_x, norm_y = float(torch.linalg.vector_norm(x)), float(torch.linalg.vector_norm(y))
    if not math.isfinite(norm_x + norm_y):
        raise ValueError("a value is not finite, so the checkpoint it is from cannot be used")
    # One element can only agree or differ in sign, which is no angle.
    if norm_x == 0 or norm_y == 0 or x.numel() < 2:
        return None
    return max(-1.0, min(1.0, float(torch.dot(x / norm_x, y / norm_y))))


def _merge_tensor(name: str, a: Tensor, b: Tensor, t: float, base: Tensor | None) -> Slerp:
    if not a.is_floating_point():
        raise ValueError(f"tensor '{name}' holds {a.dtype} values that differ, expected equal ones: cannot interpolate")
    work = torch.float64 if a.dtype == torch.float64 else torch.float32
    try:
        if base is None:
            return slerp(a, b, t)
        parent = base.to(work)
        result = slerp(a.to(work) - parent, b.to(work) - parent, t)
        return result._replace(tensor=(parent + result.tensor).to(a.dtype))
    except ValueError as error:
        raise ValueError(f"tensor '{name}': {error}") from error


def _check_same_layout(a: Mapping[str, Tensor], other: Mapping[str, Tensor], role: str) -> None:
    for name in [*a, *other]:
        if name not in other:
            raise ValueError(f"tensor '{name}' is missing in the {role}, expected checkpoints of one architecture")
        if name not in a:
            raise ValueError(f"tensor '{name}' of the {role} is missing in the first, expected one architecture")
        if a[name].shape != other[name].shape:
            shapes = f"{tuple(a[name].shape)} in the first model and {tuple(other[name].shape)} in the {role}"
            raise ValueError(f"tensor '{name}' has shape {shapes}, expected checkpoints of one architecture")
