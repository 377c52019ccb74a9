import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tamis.formulas.losses import gap_hinge, listwise_cross_entropy, margin_mse

no_deadline = settings(deadline=None)  # the first call of a torch operation can take half a second


def random_batch(seed: int, lists: int = 4, longest: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Lists of uneven length, shuffled among each other, with ties among the labels and among the logits."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, longest + 1, (lists,), generator=generator)
    list_index = torch.arange(lists).repeat_interleave(sizes) * 3 + 5
    n = len(list_index)
    list_index = list_index[torch.randperm(n, generator=generator)]
    logits = torch.randint(-6, 7, (n,), generator=generator) / 2
    labels = torch.randint(-4, 5, (n,), generator=generator) / 4
    return logits, labels, list_index


def gap_hinge_by_hand(logits: Tensor, labels: Tensor, list_index: Tensor, double: bool) -> float:
    z, t, lists = logits.tolist(), labels.tolist(), list_index.tolist()
    scores = [math.tanh(value / 2) for value in z]
    hinges = []
    for i in range(len(z)):
        for j in range(len(z)):
            if lists[i] != lists[j] or t[i] - t[j] <= 1e-6:
                continue
            own = [z[m] for m in range(len(z)) if lists[m] == lists[j]]
            hard = sum(other > z[j] for other in own) < math.ceil(len(own) * 3 / 10)
            margin = 0.8 * (t[i] - t[j]) * (2 if double and hard else 1)
            hinges.append(max(0.0, margin - (scores[i] - scores[j])))
    return sum(hinges) / len(hinges) if hinges else 0.0


@no_deadline
@given(seed=st.integers(0, 10_000), double=st.booleans())
def test_gap_hinge_is_the_mean_over_all_pairs_of_the_batch(seed: int, double: bool):
    batch = random_batch(seed)
    assert float(gap_hinge(*batch, double_hard_margins=double)) == pytest.approx(
        gap_hinge_by_hand(*batch, double), abs=1e-6
    )


def test_gap_hinge_of_two_documents_is_the_formula_of_the_paper():
    logits, labels = torch.tensor([0.0, 0.0]), torch.tensor([1.0, -1.0])
    assert float(gap_hinge(logits, labels, torch.zeros(2, dtype=torch.long))) == pytest.approx(1.6)


def test_a_query_with_more_pairs_weighs_more():
    # One query has a single pair with hinge 0.8, the other three pairs without loss: 0.8 / 4, not 0.4.
    logits = torch.tensor([0.0, 0.0, 20.0, 0.0, -20.0])
    labels = torch.tensor([1.0, 0.0, 0.5, 0.25, 0.0])
    assert float(gap_hinge(logits, labels, torch.tensor([0, 0, 1, 1, 1]))) == pytest.approx(0.2)


def test_the_hard_margin_is_doubled_only_for_documents_the_student_ranks_high():
    # Ten documents, so three are hard; labels rise while the student's scores fall.
    logits = torch.linspace(1, -1, 10)
    labels = torch.linspace(-1, 1, 10)
    lists = torch.zeros(10, dtype=torch.long)
    assert float(gap_hinge(logits, labels, lists, True)) == pytest.approx(
        gap_hinge_by_hand(logits, labels, lists, True), abs=1e-6
    )
    added = sum(0.8 * (i - j) * 2 / 9 for j in range(3) for i in range(j + 1, 10)) / 45
    doubled = float(gap_hinge(logits, labels, lists, True) - gap_hinge(logits, labels, lists))
    assert doubled == pytest.approx(added, abs=1e-6)


@pytest.mark.parametrize("labels", [[0.5, 0.5], [0.5, 0.5 + 5e-7]])
def test_without_a_preferred_document_the_loss_is_zero_and_can_still_be_stepped(labels: list[float]):
    logits = torch.tensor([1.0, -1.0], requires_grad=True)
    loss = gap_hinge(logits, torch.tensor(labels), torch.zeros(2, dtype=torch.long), True)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.tolist() == [0, 0]


def test_the_gradient_of_gap_hinge_pulls_the_better_document_up():
    logits = torch.zeros(3, requires_grad=True)
    gap_hinge(logits, torch.tensor([1.0, 0.0, -1.0]), torch.zeros(3, dtype=torch.long)).backward()
    assert logits.grad is not None
    assert logits.grad[0] < 0 < logits.grad[2]


def test_an_empty_batch_has_no_loss():
    empty, lists = torch.zeros(0, requires_grad=True), torch.zeros(0, dtype=torch.long)
    assert gap_hinge(empty, empty, lists, True).item() == 0
    assert listwise_cross_entropy(empty, empty, lists, 1.0).item() == 0


@no_deadline
@given(seed=st.integers(0, 10_000), shuffle=st.integers(0, 100))
def test_the_order_of_the_batch_does_not_matter(seed: int, shuffle: int):
    logits, labels, lists = random_batch(seed)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(shuffle))
    for loss in (
        lambda *batch: gap_hinge(*batch, double_hard_margins=True),
        lambda *batch: listwise_cross_entropy(*batch, temperature=0.5),
    ):
        torch.testing.assert_close(loss(logits, labels, lists), loss(logits[order], labels[order], lists[order]))


@no_deadline
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.05, 10))
def test_listwise_cross_entropy_equals_the_one_of_torch_list_by_list(seed: int, temperature: float):
    logits, labels, lists = random_batch(seed)
    expected = [
        torch.nn.functional.cross_entropy(logits[lists == k], torch.softmax(labels[lists == k] / temperature, 0))
        for k in lists.unique()
    ]
    torch.testing.assert_close(
        listwise_cross_entropy(logits, labels, lists, temperature), torch.stack(expected).mean(), atol=1e-5, rtol=1e-5
    )


def test_listwise_cross_entropy_has_the_softmax_gradient():
    logits = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    labels = torch.tensor([0.2, 0.9, -0.3])
    listwise_cross_entropy(logits, labels, torch.zeros(3, dtype=torch.long), 0.5).backward()
    torch.testing.assert_close(logits.grad, torch.softmax(logits.detach(), 0) - torch.softmax(labels / 0.5, 0))


def test_listwise_cross_entropy_stays_finite_with_large_logits():
    logits = torch.tensor([500.0, -500.0], requires_grad=True)
    loss = listwise_cross_entropy(logits, torch.tensor([-1.0, 1.0]), torch.zeros(2, dtype=torch.long), 0.01)
    loss.backward()
    assert loss.item() == pytest.approx(1000)
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_losses_are_computed_in_float32_whatever_comes_in():
    logits, labels, lists = random_batch(1)
    half = logits.bfloat16()
    torch.testing.assert_close(gap_hinge(half, labels.bfloat16(), lists), gap_hinge(half.float(), labels, lists))
    assert listwise_cross_entropy(half, labels.double(), lists, 1.0).dtype == torch.float32


def test_a_column_of_labels_is_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(2, 1\), \(2,\), expected three vectors of one length"):
        gap_hinge(torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: float):
    with pytest.raises(ValueError, match="expected a number above 0"):
        listwise_cross_entropy(torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.long), temperature)


@given(seed=st.integers(0, 1000))
def test_margin_mse_is_half_the_mean_squared_margin_error_over_all_pairs(seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(9, generator=generator), torch.randn(9, generator=generator)
    index = torch.tensor([0, 1, 0, 2, 1, 0, 2, 2, 2])
    per_list = []
    for one in index.unique():
        s, t = logits[index == one], labels[index == one]
        errors = (s[:, None] - s[None, :]) - (t[:, None] - t[None, :])
        per_list.append((errors**2).mean() / 2)
    assert torch.allclose(margin_mse(logits, labels, index), torch.stack(per_list).mean(), atol=1e-5)


def test_margin_mse_does_not_mind_what_is_added_to_all_labels_of_a_list():
    logits, labels, index = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 1.5, 3.0]), torch.tensor([0, 0, 0])
    assert torch.allclose(margin_mse(logits, labels, index), margin_mse(logits, labels + 7, index), atol=1e-5)
