"""Merging any number of models of one parent at once, tensor by tensor: mean, task arithmetic, TIES and DARE.

For comparison with SLERP (`slerp.py`), which joins two at a time. All but the mean work on the *differences from the
common parent* d_i = x_i - base. Everything is computed in float64 where any tensor is float64, otherwise in float32.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

_DIGIT = 16  # bits told apart in one pass over a tensor: 65,536 counters


@torch.no_grad()
def linear(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted mean, sum_i w_i x_i / sum_i w_i.

    Args:
        tensors: At least one, all of one shape, [...], floating point.
        weights: One for each; only their proportions count. Their sum must not be 0.

    Returns:
        Shape and dtype of the first.

    Raises:
        ValueError: Shapes or numbers do not fit, or the weights sum to 0.

    Source: model soups, Wortsman et al. 2022 (arXiv 2203.05482).
    """
    _check(tensors, weights)
    total = sum(weights)
    if total == 0:
        raise ValueError(f"the weights {list(weights)} sum to 0, expected a sum to divide by")
    work = work_dtype(tensors)
    return (weighted_sum([x.to(work) for x in tensors], weights) / total).to(tensors[0].dtype)


@torch.no_grad()
def task_arithmetic(tensors: Sequence[Tensor], base: Tensor, weights: Sequence[float]) -> Tensor:
    """What all models learnt, added to their parent: base + sum_i w_i d_i.

    Args:
        tensors: At least one, all of one shape, floating point.
        base: Their common parent, same shape.
        weights: One for each. Weights that sum to 1 give `linear`; without data to choose by, 0.4 each is usual.

    Returns:
        Shape and dtype of the first.

    Raises:
        ValueError: Shapes or numbers do not fit.

    Source: Ilharco et al. 2023 (arXiv 2212.04089), with a weight for each task as mergekit has it.
    """
    differences, parent = _differences(tensors, base, weights)
    return (parent + weighted_sum(differences, weights)).to(tensors[0].dtype)


@torch.no_grad()
def ties(
    tensors: Sequence[Tensor], base: Tensor, weights: Sequence[float], density: float, scale: float = 1.0
) -> Tensor:
    """Trim, elect a sign, and take the mean of what agrees with it: base + scale * mean.

    Of each difference only the largest magnitudes are kept (`magnitude_threshold`). At each place the sign of the
    weighted sum is elected, plus where it is 0, and the weighted mean runs over the kept differences of that sign; it
    is 0 where none has it.

    Args:
        tensors: At least one, all of one shape, floating point.
        base: Their common parent, same shape.
        weights: One for each; only their proportions count.
        density: Share of each difference that is kept, in (0, 1].
        scale: The paper's lambda.

    Returns:
        Shape and dtype of the first.

    Raises:
        ValueError: Shapes or numbers do not fit.

    Source: Yadav et al. 2023 (arXiv 2306.01708), which keeps 0.2 with lambda 1 where there is no data to choose by.
    """
    differences, parent = _differences(tensors, base, weights)
    trimmed = [_trimmed(d, density) for d in differences]
    return (parent + scale * agreeing_mean(trimmed, weights)).to(tensors[0].dtype)


@torch.no_grad()
def dare(
    tensors: Sequence[Tensor], base: Tensor, weights: Sequence[float], density: float, generator: torch.Generator
) -> Tensor:
    """Drop at random and rescale, then task arithmetic: base + sum_i w_i m_i d_i / density, m_i Bernoulli(density).

    The expectation over the masks is `task_arithmetic`.

    Args:
        tensors: At least one, all of one shape, floating point.
        base: Their common parent, same shape.
        weights: One for each.
        density: Share of each difference that is kept, in (0, 1]; the paper's 1 - p.
        generator: Draws one mask per tensor, in their order.

    Returns:
        Shape and dtype of the first.

    Raises:
        ValueError: Shapes or numbers do not fit.

    Source: Yu et al. 2024 (arXiv 2311.03099), the "DARE + task arithmetic" of its merging experiments. mergekit draws
    the same masks but rescales to the norm that the difference had, not by 1 / density.
    """
    differences, parent = _differences(tensors, base, weights)
    _check_density(density)
    thinned = [d * torch.bernoulli(torch.full_like(d, density), generator=generator) / density for d in differences]
    return (parent + weighted_sum(thinned, weights)).to(tensors[0].dtype)


def trim(difference: Tensor, threshold: float) -> Tensor:
    """The difference with everything below `threshold` in magnitude set to 0; any shape, same shape and dtype."""
    return torch.where(difference.abs() >= threshold, difference, 0)


def _trimmed(difference: Tensor, density: float) -> Tensor:
    return trim(difference, magnitude_threshold(lambda: [difference], difference.numel(), density))


def magnitude_threshold(blocks: Callable[[], Iterable[Tensor]], elements: int, density: float) -> float:
    """The k-th largest magnitude of a tensor that is given in blocks, k = max(1, floor(density * elements)).

    Found by the bits of the numbers, which order as magnitudes do: each pass counts one digit of 16 bits, from the
    highest on, among the numbers that share the digits found so far. It needs 65,536 counters and no sorting, so a
    tensor need not fit into memory; the result is exact.

    Args:
        blocks: Gives the tensor's parts, each of any shape, [...], all float32 or all float64; called once a pass.
        elements: Number of elements of all parts together.
        density: In (0, 1].

    Returns:
        The magnitude; 0 for a tensor without elements. Keeping whatever reaches it keeps at least k elements: more
        where several are as large as the last, which mergekit tells apart by the order of its sort.

    Raises:
        ValueError: density is out of range.
    """
    _check_density(density)
    if elements == 0:
        return 0.0
    wide = next(iter(blocks())).dtype == torch.float64
    left, found = max(1, int(density * elements)), 0
    for shift in range((64 if wide else 32) - _DIGIT, -1, -_DIGIT):
        counters = torch.zeros(1 << _DIGIT, dtype=torch.int64)
        for block in blocks():
            bits = block.abs().flatten().view(torch.int64 if wide else torch.int32)
            digits = bits[(bits >> shift) >> _DIGIT == found] >> shift & ((1 << _DIGIT) - 1)
            counters += torch.bincount(digits, minlength=1 << _DIGIT)
        as_large = counters.flip(0).cumsum(0)  # how many have this digit or a higher one, from the highest down
        place = int(torch.searchsorted(as_large, left))
        left -= int(as_large[place - 1]) if place else 0
        found = found << _DIGIT | (1 << _DIGIT) - 1 - place
    bits = torch.tensor([found], dtype=torch.int64 if wide else torch.int32)
    return bits.view(torch.float64 if wide else torch.float32).item()


def agreeing_mean(differences: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """At each place the weighted mean of the differences that have the sign of their weighted sum.

    Args:
        differences: At least one, all of one shape and dtype.
        weights: One for each.

    Returns:
        The same shape; 0 where nothing agrees. A sum of 0 counts as plus; a difference of 0 has no sign.
    """
    weighted = [weight * d for d, weight in zip(differences, weights, strict=True)]
    elected = torch.where(torch.stack(weighted).sum(0) >= 0, 1, -1)
    total, divisor = torch.zeros_like(differences[0]), torch.zeros_like(differences[0])
    for d, weight in zip(weighted, weights, strict=True):
        agrees = d.sign() == elected
        total += torch.where(agrees, d, 0)
        divisor += agrees * weight
    return total / torch.where(divisor == 0, 1, divisor)


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """sum_i w_i x_i; all of one shape, [...], and dtype, which are those of the result."""
    total = torch.zeros_like(tensors[0])
    for x, weight in zip(tensors, weights, strict=True):
        total.add_(x, alpha=weight)
    return total


def work_dtype(tensors: Iterable[Tensor]) -> torch.dtype:
    """float64 where any tensor, [...], is, otherwise float32."""
    return torch.float64 if any(x.dtype == torch.float64 for x in tensors) else torch.float32


def _differences(tensors: Sequence[Tensor], base: Tensor, weights: Sequence[float]) -> tuple[list[Tensor], Tensor]:
    _check(tensors, weights)
    if base.shape != tensors[0].shape:
        shapes = f"{tuple(tensors[0].shape)} with a parent of shape {tuple(base.shape)}"
        raise ValueError(f"cannot merge tensors of shape {shapes}, expected equal shapes")
    work = work_dtype([*tensors, base])
    parent = base.to(work)
    return [x.to(work) - parent for x in tensors], parent


def _check(tensors: Sequence[Tensor], weights: Sequence[float]) -> None:
    if not tensors or len(tensors) != len(weights):
        raise ValueError(f"{len(tensors)} tensors with {len(weights)} weights, expected one weight for each of them")
    for x in tensors:
        if x.shape != tensors[0].shape:
            shapes = f"{tuple(tensors[0].shape)} and {tuple(x.shape)}"
            raise ValueError(f"cannot merge tensors of shapes {shapes}, expected equal shapes")


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"density is {density}, expected a share above 0 (drop all but one) up to 1 (keep all)")
