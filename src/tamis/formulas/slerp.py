"""Merging two checkpoints: spherical interpolation of one tensor, and of a whole state dict.

Siblings trained from one parent are nearly parallel as whole vectors, and interpolating those is averaging in all but
name. What they learnt apart is in their *differences from the parent*: give the parent as `base` to interpolate those.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

PARALLEL_COSINE = 0.9995  # beyond it sin(angle) is too small to divide by, and the arc is a straight line anyway


class Slerp(NamedTuple):
    """An interpolated tensor and how it came about.

    Attributes:
        tensor: The result, shape and dtype of the first input.
        angle: Between the two inputs as flat vectors, radians in [0, pi]; None where there is no direction to compare
            (a zero vector or fewer than two elements).
        linear: Whether the straight line was taken instead of the arc.
    """

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
    """

    tensors: int
    equal: int
    linear: int
    mean_angle: float


@torch.no_grad()
def slerp(a: Tensor, b: Tensor, t: float) -> Slerp:
    """Point at fraction t of the arc from a to b, both taken as one flat vector.

    The angle is that of the normalised vectors, the weights sin((1 - t) * angle) / sin(angle) and
    sin(t * angle) / sin(angle) are applied to the vectors as they are. Two vectors of equal norm keep that norm.

    Args:
        a: Any shape, floating point.
        b: Same shape. Computed in float64 where either is float64, otherwise in float32; returned in a.dtype.
        t: In [0, 1]; 0 gives a, 1 gives b.

    Returns:
        The tensor, the angle, and whether the straight line was taken: nearly parallel vectors (cosine above 0.9995),
        a zero vector, or fewer than two elements, which leave no room for an arc.

    Raises:
        ValueError: Shapes differ, t is outside [0, 1], a value is not finite, or the vectors are antiparallel (cosine
            below -0.9995): no arc between them is the shortest.

    Source: Shoemake 1985; for weights, as mergekit does it (but for antiparallel vectors, which it averages).
    """
    if a.shape != b.shape:
        raise ValueError(f"cannot interpolate shapes {tuple(a.shape)} and {tuple(b.shape)}, expected equal shapes")
    if not 0 <= t <= 1:
        raise ValueError(f"t is {t}, expected a number from 0 (the first tensor) to 1 (the second)")
    work = torch.float64 if torch.float64 in (a.dtype, b.dtype) else torch.float32
    x, y = a.to(work), b.to(work)
    cosine = _cosine(x.flatten(), y.flatten())
    if cosine is not None and cosine < -PARALLEL_COSINE:
        raise ValueError(f"the two point in opposite directions (cosine {cosine:.5f}), so no arc between is shortest")
    if cosine is None or cosine > PARALLEL_COSINE:
        angle = None if cosine is None else math.acos(cosine)
        return Slerp(((1 - t) * x + t * y).to(a.dtype), angle, True)
    angle = math.acos(cosine)
    weight_a, weight_b = math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
    return Slerp((weight_a * x + weight_b * y).to(a.dtype), angle, False)


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
    equal, linear, angles = 0, 0, []
    for name, tensor in a.items():
        if torch.equal(tensor, b[name]):
            merged[name] = tensor.clone()
            equal += 1
            continue
        result = _merge_tensor(name, tensor, b[name], t, None if base is None else base[name])
        merged[name] = result.tensor
        linear += result.linear
        if result.angle is not None:
            angles.append(math.degrees(result.angle))
    mean_angle = sum(angles) / len(angles) if angles else 0.0
    return merged, MergeStatistics(tensors=len(merged), equal=equal, linear=linear, mean_angle=mean_angle)


def _cosine(x: Tensor, y: Tensor) -> float | None:
    """Cosine of two flat vectors in [-1, 1], None where it says nothing about an arc."""
    norm_x, norm_y = float(torch.linalg.vector_norm(x)), float(torch.linalg.vector_norm(y))
    if not math.isfinite(norm_x + norm_y):
        raise ValueError("a value is not finite, so the checkpoint it is from cannot be used")
    # One element can only agree or differ in sign: a bias that moved up in one model and down in the other is no error.
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
