import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, logsigmoid

from tamis.formulas.losses.listwise import lambda_loss, listwise_cross_entropy
from tamis.formulas.losses.pairwise import gap_hinge, margin_mse, ranknet
from tamis.formulas.losses.pointwise import pointwise_bce, pointwise_mse
from tamis.formulas.ranking import agreement

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

no_deadline = settings(deadline=None)  # the first call of a torch operation can take half a second

LOSSES: dict[str, Loss] = {
    "gap_hinge": gap_hinge,
    "gap_hinge, doubled": partial(gap_hinge, double_hard_margins=True),
    "margin_mse": margin_mse,
    "ranknet": ranknet,
    "listwise_cross_entropy": partial(listwise_cross_entropy, temperature=0.5),
    "lambda_loss": lambda_loss,
    "pointwise_mse": pointwise_mse,
    "pointwise_bce": pointwise_bce,
}
POINTWISE = {"pointwise_mse", "pointwise_bce"}
HINGE = {"gap_hinge", "gap_hinge, doubled"}
every_loss = pytest.mark.parametrize("name", LOSSES)


def value_and_gradient(loss: Loss, logits: Tensor, labels: Tensor, list_index: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels, list_index)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def one_list(*values: float) -> tuple[Tensor, Tensor]:
    """A vector and the index that puts all of it into one list."""
    return torch.tensor(values), torch.zeros(len(values), dtype=torch.long)


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


# RankNet, LambdaLoss: written out


def pair_loss_by_hand(logits: Tensor, labels: Tensor, weight: Callable[[int, int], float]) -> Tensor:
    """Weighted mean of one list over preferred pairs, in float64 and with a gradient."""
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if float(labels[i] - labels[j]) > 1e-6]
    terms = [-weight(i, j) * logsigmoid(logits[i] - logits[j]) for i, j in pairs]
    return torch.stack(terms).mean() if terms else logits.sum() * 0


def lambda_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    """NDCG-Loss2++ of one list: the mean over all orders in which its logits can stand."""
    n, z = len(logits), logits.tolist()
    span = float(labels.max() - labels.min()) or 1.0
    gains = [float(label - labels.min()) / span for label in labels]
    ideal = sum(gain / math.log2(2 + place) for place, gain in enumerate(sorted(gains, reverse=True))) or 1.0
    inverse = [math.inf] + [1 / math.log2(1 + place) for place in range(1, n + 1)]

    def weight(rank: list[int], i: int, j: int) -> float:
        d = abs(rank[i] - rank[j])
        bound, swap = inverse[d] - inverse[d + 1], abs(inverse[rank[i]] - inverse[rank[j]])
        return (gains[i] - gains[j]) / ideal * (10 * bound + swap)

    orders = [o for o in itertools.permutations(range(n)) if all(z[a] >= z[b] for a, b in itertools.pairwise(o))]
    ranks = [[order.index(i) + 1 for i in range(n)] for order in orders]
    return torch.stack([pair_loss_by_hand(logits, labels, partial(weight, rank)) for rank in ranks]).mean()


def list_by_list(of_one_list: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    def loss(logits: Tensor, labels: Tensor, list_index: Tensor) -> Tensor:
        own = [list_index == k for k in list_index.unique()]
        return torch.stack([of_one_list(logits[one].double(), labels[one].double()) for one in own]).mean()

    return loss


@pytest.mark.parametrize(
    ("loss", "written_out"),
    [
        (ranknet, lambda logits, labels: pair_loss_by_hand(logits, labels, lambda i, j: 1)),
        (lambda_loss, lambda_by_hand),
        (pointwise_mse, lambda logits, labels: ((logits - labels) ** 2).mean()),
        (pointwise_bce, lambda logits, labels: binary_cross_entropy(logits.sigmoid(), labels.sigmoid())),
    ],
    ids=["ranknet", "lambda_loss", "pointwise_mse", "pointwise_bce"],
)
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_value_and_gradient_are_those_of_the_formula_written_out(
    loss: Loss, written_out: Callable[[Tensor, Tensor], Tensor], seed: int
):
    batch = random_batch(seed, lists=3, longest=5)
    value, gradient = value_and_gradient(loss, *batch)
    expected, expected_gradient = value_and_gradient(list_by_list(written_out), *batch)
    torch.testing.assert_close(value, expected.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-5, rtol=1e-5)


@every_loss
def test_the_gradient_is_the_slope_of_the_loss(name: str):
    logits, labels, lists = random_batch(7)
    logits = logits + torch.linspace(0, 0.3, len(logits))  # no ties, where ranks would jump
    _, gradient = value_and_gradient(LOSSES[name], logits, labels, lists)
    for position in range(len(logits)):
        step = torch.zeros_like(logits)
        step[position] = 5e-3
        slope = (LOSSES[name](logits + step, labels, lists) - LOSSES[name](logits - step, labels, lists)) / 1e-2
        assert float(slope) == pytest.approx(float(gradient[position]), abs=2e-3)


def test_two_documents_in_the_wrong_order_cost_what_the_papers_say():
    labels, lists = one_list(3.0, 1.0)
    logits = torch.tensor([0.0, 1.0])
    assert float(ranknet(logits, labels, lists)) == pytest.approx(math.log(1 + math.e))
    # Gains 1 and 0, ideal DCG 1; ranks 2 and 1, so that both differences of 1 / D are 1 - 1 / log2(3).
    assert float(lambda_loss(logits, labels, lists)) == pytest.approx(
        11 * (1 - 1 / math.log2(3)) * math.log(1 + math.e), rel=1e-5
    )


def test_ranknet_takes_labels_a_hair_apart_for_equal():
    logits, lists = one_list(0.0, 1.0)
    assert ranknet(logits, torch.tensor([5e-7, 0.0]), lists).item() == 0
    assert ranknet(logits, torch.tensor([5e-6, 0.0]), lists).item() > 1


def test_a_student_that_scores_all_alike_learns_from_lambda_loss_in_any_order_of_the_batch():
    labels, lists = one_list(1.0, 0.25, 0.25, -1.0)
    logits = torch.zeros(4)
    _, gradient = value_and_gradient(lambda_loss, logits, labels, lists)
    assert gradient[0] < gradient[1] < 0 < gradient[3]
    assert gradient[1] == pytest.approx(float(gradient[2]))
    for order in map(list, itertools.permutations(range(4))):
        _, shuffled = value_and_gradient(lambda_loss, logits, labels[order], lists)
        torch.testing.assert_close(shuffled, gradient[order])


def test_lambda_loss_minds_the_top_of_the_ranking_most():
    # Two neighbours with equal gap of labels and of logits in the wrong order, once at the top and once at the bottom.
    labels, lists = one_list(5.0, 4.0, 3.0, 2.0, 1.0, 0.0)
    at_top, at_bottom = torch.tensor([4.0, 5, 3, 2, 1, 0]), torch.tensor([5.0, 4, 3, 2, 0, 1])
    assert (
        lambda_loss(at_top, labels, lists) > lambda_loss(at_bottom, labels, lists) > lambda_loss(labels, labels, lists)
    )


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_descending_lambda_loss_leads_to_the_order_of_the_teacher(seed: int):
    generator = torch.Generator().manual_seed(seed)
    labels, lists = one_list(*torch.randperm(6, generator=generator).tolist())
    logits = torch.randn(6, generator=generator)
    for _ in range(60):
        logits = logits - 2 * value_and_gradient(lambda_loss, logits, labels.float(), lists)[1]
    assert agreement(logits.double().numpy(), labels.double().numpy()) > 0.999


def test_pointwise_bce_takes_a_label_for_a_logit():
    labels, lists = one_list(-3.0, 0.0, 1.5)
    value, gradient = value_and_gradient(pointwise_bce, labels, labels, lists)
    chances = labels.sigmoid()
    assert gradient.abs().max() < 1e-7
    torch.testing.assert_close(value, torch.distributions.Bernoulli(chances).entropy().mean())


def test_a_document_far_off_pulls_no_more_than_one_in_pointwise_bce():
    logits, lists = one_list(50.0)
    assert value_and_gradient(pointwise_bce, logits, torch.tensor([-50.0]), lists)[1].item() == pytest.approx(1)
    assert value_and_gradient(pointwise_mse, logits, torch.tensor([-50.0]), lists)[1].item() == pytest.approx(200)


# What holds for all


@every_loss
def test_an_empty_batch_has_no_loss_and_can_still_be_stepped(name: str):
    empty, lists = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    value, gradient = value_and_gradient(LOSSES[name], empty, empty, lists)
    assert value.item() == 0
    assert gradient.shape == (0,)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - POINTWISE))
def test_lists_of_one_document_have_nothing_to_compare(name: str):
    logits, labels, lists = torch.tensor([2.0, -30.0]), torch.tensor([-1.0, 1.0]), torch.tensor([4, 9])
    value, gradient = value_and_gradient(LOSSES[name], logits, labels, lists)
    assert value.item() == 0
    assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - POINTWISE - HINGE))
def test_a_list_of_one_document_counts_as_zero(name: str):
    logits, labels = torch.tensor([0.0, 1.0, 7.0]), torch.tensor([1.0, -1.0, 3.0])
    alone = LOSSES[name](logits[:2], labels[:2], torch.tensor([0, 0]))
    torch.testing.assert_close(LOSSES[name](logits, labels, torch.tensor([0, 0, 1])), alone / 2)


@every_loss
@no_deadline
@given(seed=st.integers(0, 10_000), shuffle=st.integers(0, 100))
def test_the_order_of_the_batch_does_not_matter(name: str, seed: int, shuffle: int):
    logits, labels, lists = random_batch(seed)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(shuffle))
    value, gradient = value_and_gradient(LOSSES[name], logits, labels, lists)
    shuffled, shuffled_gradient = value_and_gradient(LOSSES[name], logits[order], labels[order], lists[order])
    torch.testing.assert_close(shuffled, value)
    torch.testing.assert_close(shuffled_gradient, gradient[order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - POINTWISE))
@no_deadline
@given(seed=st.integers(0, 10_000))
def test_what_is_added_to_all_labels_of_a_list_changes_nothing(name: str, seed: int):
    logits, labels, lists = random_batch(seed)
    torch.testing.assert_close(
        LOSSES[name](logits, labels + 2 * lists, lists), LOSSES[name](logits, labels, lists), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - POINTWISE - HINGE))
@no_deadline
@given(seed=st.integers(0, 10_000))
def test_what_is_added_to_all_logits_of_a_list_changes_nothing(name: str, seed: int):
    logits, labels, lists = random_batch(seed)
    torch.testing.assert_close(
        LOSSES[name](logits - 2 * lists, labels, lists), LOSSES[name](logits, labels, lists), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["ranknet", "lambda_loss"])
@no_deadline
@given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 100))
def test_the_scale_of_the_labels_does_not_matter(name: str, seed: int, factor: float):
    logits, labels, lists = random_batch(seed)
    torch.testing.assert_close(LOSSES[name](logits, factor * labels, lists), LOSSES[name](logits, labels, lists))


@every_loss
@no_deadline
@given(seed=st.integers(0, 10_000))
def test_where_the_student_tells_nothing_apart_the_best_document_is_pulled_up_and_the_worst_down(name: str, seed: int):
    _, labels, lists = random_batch(seed)
    _, gradient = value_and_gradient(LOSSES[name], torch.zeros_like(labels), labels, lists)
    for k in lists.unique():
        own = gradient[lists == k]
        best, worst = labels[lists == k].argmax(), labels[lists == k].argmin()
        assert own[best] <= own[worst]
        if labels[lists == k].unique().numel() > 1:
            assert own[best] < own[worst]


@pytest.mark.parametrize("name", ["ranknet", "lambda_loss"])
@no_deadline
@given(seed=st.integers(0, 10_000))
def test_a_preferred_document_is_never_pushed_down(name: str, seed: int):
    logits, labels, lists = random_batch(seed)
    _, gradient = value_and_gradient(LOSSES[name], logits, labels, lists)
    for k in lists.unique():
        own, given_labels = gradient[lists == k], labels[lists == k]
        assert bool((own[given_labels == given_labels.max()] <= 0).all())
        assert bool((own[given_labels == given_labels.min()] >= 0).all())


@every_loss
@pytest.mark.parametrize("size", [500.0, 1e6, 1e15])
def test_huge_logits_give_finite_values_and_gradients(name: str, size: float):
    logits, lists = one_list(size, -size, 0.0)
    for labels in (torch.tensor([-1.0, 1.0, 0.5]), torch.tensor([1.0, -1.0, 0.5])):
        value, gradient = value_and_gradient(LOSSES[name], logits, labels, lists)
        assert math.isfinite(value.item())
        assert bool(gradient.isfinite().all())


@every_loss
def test_losses_are_computed_in_float32_whatever_comes_in(name: str):
    logits, labels, lists = random_batch(1)
    half = LOSSES[name](logits.bfloat16(), labels.double(), lists)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, LOSSES[name](logits, labels, lists))


@every_loss
def test_a_column_of_labels_is_refused(name: str):
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(2, 1\), \(2,\), expected three vectors of one length"):
        LOSSES[name](torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))


# Against sentence-transformers


@pytest.fixture(scope="module")
def cross_encoder_losses():
    """Its losses, and a model for them: a document is the number of its logit."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import losses

    class GivenLogits(CrossEncoder):
        num_labels, device = 1, torch.device("cpu")

        def __init__(self, logits: Tensor):
            torch.nn.Module.__init__(self)
            self.logits = logits

        def preprocess(self, pairs: list[tuple[str, str]], **_: object) -> dict[str, Tensor]:
            return {"numbers": torch.tensor([int(document) for _, document in pairs])}

        def forward(self, inputs: dict[str, Tensor], **_: object) -> dict[str, Tensor]:
            return {"scores": self.logits[inputs["numbers"]][:, None]}

    return losses, GivenLogits


def distinct_list(seed: int, size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(2, size, generator=generator)
    return logits, labels, torch.zeros(size, dtype=torch.long)


@pytest.mark.parametrize("seed", range(5))
def test_ranknet_and_lambda_loss_are_those_of_sentence_transformers(cross_encoder_losses, seed: int):
    losses, given_logits = cross_encoder_losses
    logits, labels, lists = distinct_list(seed)
    gains = (labels - labels.min()) / (labels.max() - labels.min())
    grades = torch.log2(1 + gains)  # it makes gains of grades by 2 ** grade - 1

    def theirs(loss: type, **options: object) -> Loss:
        def of(z: Tensor, grades: Tensor, _: Tensor) -> Tensor:
            function = loss(given_logits(z), reduction_log="natural", **options)
            return function([["query"], [[str(i) for i in range(len(z))]]], [grades])

        return of

    for own, their, given_labels in (
        (ranknet, theirs(losses.RankNetLoss), labels),
        (lambda_loss, theirs(losses.LambdaLoss, weighting_scheme=losses.NDCGLoss2PPScheme(mu=10.0)), grades),
    ):
        value, gradient = value_and_gradient(own, logits, labels, lists)
        expected, expected_gradient = value_and_gradient(their, logits, given_labels, lists)
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=1e-5)


def test_listwise_cross_entropy_is_listnet_of_sentence_transformers(cross_encoder_losses):
    losses, given_logits = cross_encoder_losses
    logits, labels, _ = distinct_list(3, 9)
    sizes = (4, 2, 3)
    lists = torch.arange(3).repeat_interleave(torch.tensor(sizes))
    numbers = [[str(i) for i in part.tolist()] for part in torch.arange(9).split(sizes)]
    theirs = losses.ListNetLoss(given_logits(logits))([["a", "b", "c"], numbers], list(labels.split(sizes)))
    torch.testing.assert_close(listwise_cross_entropy(logits, labels, lists, 1.0), theirs)


def test_margin_mse_is_the_one_of_sentence_transformers_with_every_document_as_the_positive(cross_encoder_losses):
    losses, given_logits = cross_encoder_losses
    n = 6
    logits, labels, lists = distinct_list(4, n)
    function = losses.MarginMSELoss(given_logits(logits))
    turned = [[i, *(j for j in range(n) if j != i)] for i in range(n)]
    theirs = [function([["query"], *([str(i)] for i in order)], [labels[order]]) for order in turned]
    # Half the mean over all n * n pairs; the n pairs (i, i) are zeros that theirs does not count.
    torch.testing.assert_close(margin_mse(logits, labels, lists), torch.stack(theirs).mean() / 2 * (n - 1) / n)


def test_the_pointwise_losses_are_those_of_sentence_transformers(cross_encoder_losses):
    losses, given_logits = cross_encoder_losses
    logits, labels, lists = distinct_list(5)
    columns = [["query"] * 6, [str(i) for i in range(6)]]
    model = given_logits(logits)
    torch.testing.assert_close(pointwise_mse(logits, labels, lists), losses.MSELoss(model)(columns, labels))
    torch.testing.assert_close(
        pointwise_bce(logits, labels, lists), losses.BinaryCrossEntropyLoss(model)(columns, labels.sigmoid())
    )
