import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tamis.formulas.merging import agreeing_mean, dare, linear, magnitude_threshold, task_arithmetic, ties, trim

SEEDS = st.integers(0, 10_000)
COUNTS = st.integers(1, 4)
DENSITIES = st.floats(0.01, 1)
SHAPE = (6, 5)


def models(seed: int, count: int, shape: tuple[int, ...] = SHAPE, step: float = 0.3) -> tuple[list[Tensor], Tensor]:
    """So many models a small step away from their parent, and the parent; float64."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator, dtype=torch.float64)
    return [base + step * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)], base


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_methods(tensors: list[Tensor], base: Tensor, weights: list[float]) -> dict[str, Tensor]:
    return {
        "linear": linear(tensors, weights),
        "task arithmetic": task_arithmetic(tensors, base, weights),
        "ties": ties(tensors, base, weights, 0.4),
        "dare": dare(tensors, base, weights, 0.4, drawn()),
    }


# One model, equal models, the order of the models


@given(seed=SEEDS)
def test_one_model_alone_is_itself_where_nothing_is_dropped(seed: int):
    (x,), base = models(seed, 1)
    torch.testing.assert_close(linear([x], [3.0]), x)
    torch.testing.assert_close(task_arithmetic([x], base, [1.0]), x)
    torch.testing.assert_close(ties([x], base, [3.0], 1.0), x)
    torch.testing.assert_close(dare([x], base, [1.0], 1.0, drawn()), x)


@given(seed=SEEDS, count=st.integers(2, 4))
def test_a_weight_of_zero_leaves_a_model_out(seed: int, count: int):
    tensors, base = models(seed, count)
    alone = [1.0] + [0.0] * (count - 1)
    torch.testing.assert_close(linear(tensors, alone), tensors[0])
    torch.testing.assert_close(task_arithmetic(tensors, base, alone), tensors[0])
    torch.testing.assert_close(ties(tensors, base, alone, 1.0), tensors[0])


@given(seed=SEEDS, count=COUNTS)
def test_models_that_learnt_nothing_give_their_parent(seed: int, count: int):
    _, base = models(seed, count)
    for name, merged in all_methods([base] * count, base, [0.5] * count).items():
        torch.testing.assert_close(merged, base, msg=name)


@given(seed=SEEDS, order=st.permutations(range(4)), weights=st.lists(st.floats(0.1, 2), min_size=4, max_size=4))
def test_the_order_of_the_models_says_nothing(seed: int, order: list[int], weights: list[float]):
    tensors, base = models(seed, 4)
    turned, of_turned = [tensors[i] for i in order], [weights[i] for i in order]
    torch.testing.assert_close(linear(turned, of_turned), linear(tensors, weights))
    torch.testing.assert_close(task_arithmetic(turned, base, of_turned), task_arithmetic(tensors, base, weights))
    torch.testing.assert_close(ties(turned, base, of_turned, 0.4), ties(tensors, base, weights, 0.4))


@given(seed=SEEDS, count=COUNTS, factor=st.floats(0.1, 10))
def test_only_the_proportions_of_the_weights_count_for_means(seed: int, count: int, factor: float):
    tensors, base = models(seed, count)
    weights = [1.0 + number for number in range(count)]
    scaled = [factor * weight for weight in weights]
    torch.testing.assert_close(linear(tensors, scaled), linear(tensors, weights))
    torch.testing.assert_close(ties(tensors, base, scaled, 0.4), ties(tensors, base, weights, 0.4))


# Norms, parallel and opposite differences


@given(seed=SEEDS, count=COUNTS)
def test_a_mean_is_no_longer_than_its_longest_part(seed: int, count: int):
    tensors, base = models(seed, count)
    longest = max(float((x - base).norm()) for x in tensors)
    assert float((linear(tensors, [1.0] * count) - base).norm()) <= longest + 1e-9


@given(seed=SEEDS, weights=st.lists(st.floats(0.1, 2), min_size=2, max_size=2), stretch=st.floats(0.1, 10))
def test_of_parallel_differences_all_methods_keep_the_direction(seed: int, weights: list[float], stretch: float):
    (x,), base = models(seed, 1)
    tensors = [x, base + stretch * (x - base)]
    mean = (weights[0] + weights[1] * stretch) / sum(weights)
    torch.testing.assert_close(linear(tensors, weights), base + mean * (x - base))
    torch.testing.assert_close(ties(tensors, base, weights, 1.0), base + mean * (x - base))
    torch.testing.assert_close(task_arithmetic(tensors, base, weights), base + mean * sum(weights) * (x - base))


@given(seed=SEEDS)
def test_opposite_differences_cancel_but_for_ties_which_elects_plus(seed: int):
    (x,), _ = models(seed, 1)
    base = torch.zeros_like(x)  # so that opposite means opposite to the last bit
    assert torch.equal(linear([x, -x], [1.0, 1.0]), base)
    assert torch.equal(task_arithmetic([x, -x], base, [1.0, 1.0]), base)
    assert torch.equal(ties([x, -x], base, [1.0, 1.0], 1.0), x.abs())


def test_task_arithmetic_with_weights_that_sum_to_one_is_the_mean():
    tensors, base = models(0, 3)
    weights = [0.5, 0.2, 0.3]
    torch.testing.assert_close(task_arithmetic(tensors, base, weights), linear(tensors, weights))


# TIES in its parts


@given(seed=SEEDS, density=DENSITIES, parts=st.integers(1, 5), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_the_threshold_found_in_blocks_is_the_kth_largest_magnitude(
    seed: int, density: float, parts: int, dtype: torch.dtype
):
    x = torch.randn(257, generator=drawn(seed)).to(dtype)
    x[::7] = 0
    x[1::9] = x[1]  # many of one magnitude
    kept = max(1, int(density * len(x)))
    threshold = magnitude_threshold(lambda: x.chunk(parts), len(x), density)
    assert threshold == float(x.abs().sort(descending=True).values[kept - 1])
    assert int((trim(x, threshold) != 0).sum()) >= min(kept, int((x != 0).sum()))


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [1e-45, -1e-45], [3e38, 1.0], [-2.0]])
def test_the_threshold_of_unusual_tensors(values: list[float]):
    x = torch.tensor(values)
    expected = float(x.abs().max()) if values else 0.0
    assert magnitude_threshold(lambda: [x], len(x), 0.01) == expected


def test_what_disagrees_with_the_elected_sign_is_left_out():
    differences = [torch.tensor([3.0, -1.0, 0.0, 2.0]), torch.tensor([-1.0, -3.0, 0.0, -2.0])]
    assert agreeing_mean(differences, [1.0, 1.0]).tolist() == [3.0, -2.0, 0.0, 2.0]
    assert agreeing_mean(differences, [1.0, 3.0]).tolist() == [3.0, -2.5, 0.0, -2.0]  # 3 - 3 = 0 counts as plus


@given(seed=SEEDS, scale=st.floats(0, 3))
def test_the_scale_stretches_what_ties_adds_to_the_parent(seed: int, scale: float):
    tensors, base = models(seed, 3)
    once = ties(tensors, base, [1.0] * 3, 0.4) - base
    torch.testing.assert_close(ties(tensors, base, [1.0] * 3, 0.4, scale) - base, scale * once)


# DARE in its parts


def test_dare_keeps_the_share_it_should_and_rescales_it():
    (x,), base = models(1, 1, (400, 300))
    thinned = (dare([x], base, [1.0], 0.2, drawn()) - base) / (x - base)
    kept = thinned.abs() > 1e-6
    assert float(kept.double().mean()) == pytest.approx(0.2, abs=0.005)
    torch.testing.assert_close(thinned[kept], torch.full_like(thinned[kept], 5.0))


def test_the_mean_over_many_draws_of_dare_is_task_arithmetic():
    tensors, base = models(2, 2)
    generator = drawn()
    draws = torch.stack([dare(tensors, base, [0.4, 0.3], 0.5, generator) for _ in range(4000)])
    torch.testing.assert_close(draws.mean(0), task_arithmetic(tensors, base, [0.4, 0.3]), atol=0.03, rtol=0)


def test_dare_draws_the_same_with_the_same_seed_and_another_mask_for_each_model():
    (x,), base = models(3, 1)
    once = dare([x, x], base, [1.0, 1.0], 0.5, drawn(5))
    assert torch.equal(once, dare([x, x], base, [1.0, 1.0], 0.5, drawn(5)))
    assert not torch.equal(once, dare([x, x], base, [1.0, 1.0], 0.5, drawn(6)))
    assert {round(float(value)) for value in ((once - base) / (x - base)).flatten()} == {0, 2, 4}


# Number formats and errors


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_is_computed_in_float32_and_handed_back_as_it_came(dtype: torch.dtype):
    tensors, base = models(4, 3)
    low, parent = [x.to(dtype) for x in tensors], base.to(dtype)
    exact = all_methods([x.float() for x in low], parent.float(), [0.5, 0.3, 0.2])
    for name, merged in all_methods(low, parent, [0.5, 0.3, 0.2]).items():
        assert merged.dtype == dtype
        assert torch.equal(merged, exact[name].to(dtype)), name


def test_the_inputs_are_left_as_they_were_and_need_no_gradients():
    tensors, base = models(5, 2)
    before = [x.clone() for x in [*tensors, base]]
    for merged in all_methods([x.requires_grad_() for x in tensors], base, [1.0, 1.0]).values():
        assert not merged.requires_grad
    assert all(torch.equal(x, y) for x, y in zip([*tensors, base], before, strict=True))


@pytest.mark.parametrize(
    ("tensors", "weights", "message"),
    [
        ([], [], "0 tensors with 0 weights, expected one weight for each"),
        ([torch.ones(2)], [1.0, 2.0], "1 tensors with 2 weights, expected one weight for each"),
        ([torch.ones(2), torch.ones(3)], [1.0, 1.0], r"shapes \(2,\) and \(3,\), expected equal shapes"),
    ],
)
def test_what_does_not_fit_is_refused(tensors: list[Tensor], weights: list[float], message: str):
    base = torch.ones(2)
    for merge in (
        lambda: linear(tensors, weights),
        lambda: task_arithmetic(tensors, base, weights),
        lambda: ties(tensors, base, weights, 0.5),
        lambda: dare(tensors, base, weights, 0.5, drawn()),
    ):
        with pytest.raises(ValueError, match=message):
            merge()


def test_weights_without_a_sum_a_parent_of_another_shape_and_a_share_outside_are_refused():
    x = torch.ones(2)
    with pytest.raises(ValueError, match=r"the weights \[1\.0, -1\.0\] sum to 0"):
        linear([x, x], [1.0, -1.0])
    with pytest.raises(ValueError, match=r"shape \(2,\) with a parent of shape \(3,\), expected equal shapes"):
        task_arithmetic([x], torch.ones(3), [1.0])
    for density in (0.0, -0.5, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"density is {density}, expected a share above 0"):
            ties([x], x, [1.0], density)
        with pytest.raises(ValueError, match=f"density is {density}, expected a share above 0"):
            dare([x], x, [1.0], density, drawn())


# mergekit


def mergekit_result(method: str, tensors: list[Tensor], base: Tensor, weights: list[float], **more: object) -> Tensor:
    from mergekit.merge_methods.base import TensorGroup
    from mergekit.merge_methods.registry import get

    found = get(method)
    parameters = {"int8_mask": False, "normalize": method == "ties", "rescale": False, "lambda": 1.0, **more}
    parameters["weight"] = dict(enumerate(weights))
    parameters["density"] = dict.fromkeys(range(len(tensors)), parameters.get("density", 1.0))
    return found.merge_group(TensorGroup.from_tensors([*tensors, base], base_index=len(tensors)), **parameters)


@pytest.mark.filterwarnings("ignore")  # for what importing mergekit and its dependencies warn of
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weights", [[1.0], [0.4, 0.4], [0.7, 0.1, 0.5]])
class TestAgainstMergekit:
    def case(self, seed: int, weights: list[float]) -> tuple[list[Tensor], Tensor]:
        tensors, base = models(seed, len(weights))
        return [x.float() for x in tensors], base.float()

    def test_linear(self, seed: int, weights: list[float]):
        from mergekit.merge_methods.base import TensorBatch
        from mergekit.merge_methods.linear import linear_merge

        tensors, _ = self.case(seed, weights)
        batch = TensorBatch(tuple(x[None] for x in tensors))
        expected = linear_merge.merge_batch(batch, weight=torch.tensor([weights]))[0]
        torch.testing.assert_close(linear(tensors, weights), expected)

    def test_task_arithmetic(self, seed: int, weights: list[float]):
        tensors, base = self.case(seed, weights)
        expected = mergekit_result("task_arithmetic", tensors, base, weights)
        torch.testing.assert_close(task_arithmetic(tensors, base, weights), expected)

    @pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
    def test_ties(self, seed: int, weights: list[float], density: float):
        tensors, base = self.case(seed, weights)
        for scale in (1.0, 0.6):
            expected = mergekit_result("ties", tensors, base, weights, density=density, **{"lambda": scale})
            torch.testing.assert_close(ties(tensors, base, weights, density, scale), expected)

    def test_the_signs_that_ties_elects(self, seed: int, weights: list[float]):
        from mergekit.merge_methods.generalized_task_arithmetic import get_mask

        tensors, base = self.case(seed, weights)
        weighted = torch.stack([weight * (x - base) for x, weight in zip(tensors, weights, strict=True)])
        mask = get_mask(weighted, "sum")
        divisor = (mask * torch.tensor(weights)[:, None, None]).sum(0)
        expected = (weighted * mask).sum(0) / torch.where(divisor == 0, 1, divisor)
        torch.testing.assert_close(agreeing_mean([x - base for x in tensors], weights), expected)

    def test_the_masks_of_dare(self, seed: int, weights: list[float]):
        from mergekit.sparsify import bernoulli

        tensors, base = self.case(seed, weights)
        torch.manual_seed(seed)  # mergekit draws from torch's global generator
        expected = base + sum(
            weight * bernoulli(x - base, 0.3) / 0.3 for x, weight in zip(tensors, weights, strict=True)
        )
        torch.testing.assert_close(dare(tensors, base, weights, 0.3, drawn(seed)), expected)
