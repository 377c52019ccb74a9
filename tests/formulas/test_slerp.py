import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tamis.formulas.slerp import MergeStatistics, arc, arcs_in_turn, layer_of, merge_state_dicts, slerp

no_deadline = settings(deadline=None)  # the first call of a torch operation can take half a second
SEEDS = st.integers(0, 10_000)
FRACTIONS = st.floats(0, 1)


def two_tensors(
    seed: int, shape: tuple[int, ...] = (3, 5), dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype), torch.randn(shape, generator=generator, dtype=dtype)


@no_deadline
@given(seed=SEEDS)
def test_the_ends_of_the_arc_are_the_inputs(seed: int):
    a, b = two_tensors(seed)
    assert torch.equal(slerp(a, b, 0).tensor, a)
    assert torch.equal(slerp(a, b, 1).tensor, b)


@no_deadline
@given(seed=SEEDS, t=FRACTIONS)
def test_the_arc_is_the_same_from_both_ends(seed: int, t: float):
    a, b = two_tensors(seed)
    torch.testing.assert_close(slerp(a, b, t).tensor, slerp(b, a, 1 - t).tensor)


@no_deadline
@given(seed=SEEDS, t=FRACTIONS)
def test_vectors_of_one_norm_keep_it(seed: int, t: float):
    a, b = (x / x.norm() * 7 for x in two_tensors(seed))
    assert float(slerp(a, b, t).tensor.norm()) == pytest.approx(7)


@no_deadline
@given(seed=SEEDS, t=FRACTIONS)
def test_the_angle_is_divided_in_proportion_to_t(seed: int, t: float):
    a, b = (x.flatten() / x.norm() for x in two_tensors(seed))
    point, angle, linear = slerp(a, b, t)
    assert not linear
    assert angle == pytest.approx(math.acos(float(a @ b)))
    assert float(point @ a) == pytest.approx(math.cos(t * angle))


def test_halfway_between_two_axes_lies_the_diagonal():
    point, angle, linear = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
    torch.testing.assert_close(point, torch.full((2,), math.sqrt(0.5)))
    assert angle == pytest.approx(math.pi / 2)
    assert not linear


@no_deadline
@given(seed=SEEDS, t=FRACTIONS, scale=st.floats(0.1, 10))
def test_parallel_vectors_go_straight_and_say_so(seed: int, t: float, scale: float):
    a, _ = two_tensors(seed)
    point, angle, linear = slerp(a, scale * a, t)
    assert linear
    assert angle == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(point, a * ((1 - t) + t * scale))


@no_deadline
@given(seed=SEEDS, t=FRACTIONS)
def test_a_zero_vector_goes_straight_and_has_no_angle(seed: int, t: float):
    a, _ = two_tensors(seed)
    point, angle, linear = slerp(a, torch.zeros_like(a), t)
    assert linear
    assert angle is None
    torch.testing.assert_close(point, (1 - t) * a)


def test_a_single_number_goes_straight_even_to_its_opposite():
    assert slerp(torch.tensor([2.0]), torch.tensor([-1.0]), 0.5) == (torch.tensor([0.5]), None, True)
    assert slerp(torch.zeros(0), torch.zeros(0), 0.5).linear


@no_deadline
@given(seed=SEEDS, t=FRACTIONS)
def test_opposite_vectors_go_straight_and_their_angle_says_so(seed: int, t: float):
    a, _ = two_tensors(seed)
    point, angle, linear = slerp(a, -2 * a, t)
    assert linear
    assert angle == pytest.approx(math.pi)
    torch.testing.assert_close(point, (1 - 3 * t) * a)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("kind", ["apart", "siblings", "one element", "with a zero vector", "opposite"])
def test_arcs_from_inner_products_are_slerp_after_slerp(seed: int, count: int, kind: str):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, 1 if kind == "one element" else 50, generator=generator, dtype=torch.float64)
    if kind == "siblings":
        vectors = vectors[:1] + 0.01 * vectors
    elif kind == "with a zero vector":
        vectors[-1] = 0
    elif kind == "opposite":
        vectors[1] = -vectors[0]
    t = [0.2 + 0.1 * number for number in range(count - 1)]
    weights, arcs = arcs_in_turn(vectors @ vectors.T, t, vectors.shape[1])
    merged = vectors[0]
    for vector, fraction, taken in zip(vectors[1:], t, arcs, strict=True):
        merged, angle, linear = slerp(merged, vector, fraction)
        assert taken.linear == linear
        assert taken.angle == (None if angle is None else pytest.approx(angle, abs=1e-6))
    torch.testing.assert_close(torch.tensor(weights, dtype=torch.float64) @ vectors, merged)


def test_products_that_are_not_finite_and_a_t_outside_are_refused():
    with pytest.raises(ValueError, match="a value is not finite"):
        arcs_in_turn(torch.tensor([[1.0, math.nan], [math.nan, 1.0]]).double(), [0.5], 9)
    for t in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"t is {t}, expected a number from 0"):
            arc(0.5, t)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_is_computed_in_float32_and_handed_back_as_it_came(dtype: torch.dtype):
    a, b = two_tensors(3, (40, 30), dtype)
    result = slerp(a, b, 0.3).tensor
    assert result.dtype == dtype
    assert torch.equal(result, slerp(a.float(), b.float(), 0.3).tensor.to(dtype))


@pytest.mark.filterwarnings("ignore")  # for what importing mergekit and its dependencies warn of
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_slerp_equals_the_one_of_mergekit(seed: int, t: float):
    from mergekit.merge_methods.slerp import slerp as reference

    a, b = two_tensors(seed, (6, 4), torch.float32)
    for second in (b, a + 0.01 * b, a + 0.1 * b, -2 * a):  # far apart, on the straight line, close, opposite
        expected = reference(torch.tensor([t]), a[None], second[None])[0]
        torch.testing.assert_close(slerp(a, second, t).tensor, expected)


@pytest.mark.parametrize(
    ("b", "t", "message"),
    [
        (torch.ones(3), 0.5, r"cannot interpolate shapes \(2,\) and \(3,\), expected equal shapes"),
        (torch.ones(2), 1.5, "t is 1.5, expected a number from 0"),
        (torch.tensor([1.0, math.nan]), 0.5, "a value is not finite"),
        (torch.tensor([1.0, math.inf]), 0.5, "a value is not finite"),
    ],
)
def test_inputs_that_cannot_be_interpolated_are_refused(b: Tensor, t: float, message: str):
    with pytest.raises(ValueError, match=message):
        slerp(torch.ones(2), b, t)


def siblings(noise: float = 0.01) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Two models a small step away from their parent, as fine-tuning leaves them, and the parent."""
    generator = torch.Generator().manual_seed(0)

    def step(tensor: Tensor) -> Tensor:
        return tensor + noise * torch.randn(tensor.shape, generator=generator)

    parent = {"body": torch.randn(20, 10, generator=generator), "head": torch.randn(10, generator=generator)}
    a, b = ({name: step(tensor) for name, tensor in parent.items()} for _ in range(2))
    for model in (a, b, parent):
        model["positions"] = torch.arange(4)
    return a, b, parent


def test_siblings_are_averaged_without_their_parent_and_merged_on_the_arc_with_it():
    a, b, parent = siblings()
    averaged, without = merge_state_dicts(a, b, 0.5, None)
    merged, with_parent = merge_state_dicts(a, b, 0.5, parent)
    assert (without.tensors, without.equal, without.linear) == (3, 1, 2)
    assert without.mean_angle < 2
    assert (with_parent.tensors, with_parent.equal, with_parent.linear) == (3, 1, 0)
    assert 60 < with_parent.mean_angle < 120
    torch.testing.assert_close(averaged["body"], (a["body"] + b["body"]) / 2)
    for name in ("body", "head"):
        steps = [float((model[name] - parent[name]).norm()) for model in (a, b, merged)]
        assert steps[2] == pytest.approx((steps[0] + steps[1]) / 2, rel=0.2)  # averaging would give 0.7 of it


@pytest.mark.parametrize("with_parent", [False, True])
def test_the_ends_of_a_merge_are_the_two_models(with_parent: bool):
    a, b, parent = siblings()
    for t, end in ((0.0, a), (1.0, b)):
        merged, _ = merge_state_dicts(a, b, t, parent if with_parent else None)
        assert list(merged) == list(end)
        for name, tensor in end.items():
            torch.testing.assert_close(merged[name], tensor)


def test_tensors_equal_in_both_models_are_copied_and_not_counted_as_merged():
    a, _, parent = siblings()
    merged, statistics = merge_state_dicts(a, a, 0.5, parent)
    assert statistics == MergeStatistics(tensors=3, equal=3, linear=0, mean_angle=0.0, layer_angles={})
    merged["body"] += 1
    assert not torch.equal(merged["body"], a["body"])


def test_a_tensor_that_only_one_model_moved_goes_straight_and_leaves_the_mean_angle_alone():
    a, b, parent = siblings()
    a["head"] = parent["head"].clone()
    _, statistics = merge_state_dicts(a, b, 0.5, parent)
    assert statistics.linear == 1
    assert statistics.mean_angle == pytest.approx(
        math.degrees(slerp(*(x["body"] - parent["body"] for x in (a, b)), 0.5)[1])
    )


def test_half_precision_models_keep_their_dtype():
    a, b, parent = ({k: v.bfloat16() if v.is_floating_point() else v for k, v in m.items()} for m in siblings(0.5))
    merged, _ = merge_state_dicts(a, b, 0.0, parent)
    assert merged["body"].dtype == torch.bfloat16
    assert torch.equal(merged["body"], a["body"])


def test_a_merge_needs_no_gradients():
    a, b, _ = siblings()
    merged, _ = merge_state_dicts({"body": a["body"].requires_grad_()}, {"body": b["body"]}, 0.5, None)
    assert not merged["body"].requires_grad


def test_the_first_difference_between_two_models_is_named():
    a, b, parent = siblings()
    with pytest.raises(ValueError, match=r"^tensor 'head' is missing in the second model, expected .*$"):
        merge_state_dicts(a, {k: v for k, v in b.items() if k != "head"}, 0.5, parent)
    with pytest.raises(ValueError, match=r"^tensor 'extra' of the second model is missing in the first"):
        merge_state_dicts(a, b | {"extra": torch.ones(1)}, 0.5, parent)
    with pytest.raises(
        ValueError, match=r"^tensor 'head' has shape \(10,\) in the first model and \(4,\) in the common"
    ):
        merge_state_dicts(a, b, 0.5, parent | {"head": torch.ones(4)})


def test_integer_tensors_that_differ_are_refused():
    a, b, _ = siblings()
    with pytest.raises(ValueError, match=r"^tensor 'positions' holds torch\.int64 values that differ, expected equal"):
        merge_state_dicts(a, b | {"positions": torch.arange(4) + 1}, 0.5, None)


@pytest.mark.parametrize("with_parent", [True, False])
def test_a_tensor_that_cannot_be_merged_is_named(with_parent: bool):
    a, b, parent = siblings()
    b["head"] = b["head"] * math.inf
    with pytest.raises(ValueError, match=r"^tensor 'head': a value is not finite"):
        merge_state_dicts(a, b, 0.5, parent if with_parent else None)


def test_a_tensor_that_the_models_moved_in_opposite_directions_meets_at_the_parent():
    a, _, parent = siblings()
    b = {name: 2 * parent[name] - a[name] for name in a}
    merged, statistics = merge_state_dicts(a, b, 0.5, parent)
    assert statistics.linear == 2
    assert statistics.mean_angle == pytest.approx(180, abs=0.1)
    torch.testing.assert_close(merged["body"], parent["body"])


def test_angles_are_told_by_layer():
    generator = torch.Generator().manual_seed(1)
    names = ["embeddings.weight", "layer.3.a", "layer.10.a", "layer.3.b"]
    a, b = ({name: torch.randn(20, generator=generator) for name in names} for _ in range(2))
    _, statistics = merge_state_dicts(a, b, 0.5, None)
    angles = {name: math.degrees(slerp(a[name], b[name], 0.5)[1]) for name in names}
    assert list(statistics.layer_angles) == [3, 10]
    assert statistics.layer_angles[3] == pytest.approx((angles["layer.3.a"] + angles["layer.3.b"]) / 2)
    assert statistics.mean_angle == pytest.approx(sum(angles.values()) / 4)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.experts.5.up_proj.weight", 3),
        ("bert.encoder.layer.11.attention.self.query.weight", 11),
        ("layers.0.attn.Wqkv.weight", 0),
        ("embeddings.word_embeddings.weight", None),
        ("head2.weight", None),
    ],
)
def test_the_layer_of_a_tensor_is_the_first_number_in_its_name(name: str, layer: int | None):
    assert layer_of(name) == layer
