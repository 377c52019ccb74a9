import itertools
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from tamis.errors import ModelError
from tamis.models.encoder import Encoder
from tamis.models.prepared import Prepared
from tamis.models.serializer import Apart, Joined
from tamis.models.stock import StockCrossEncoder
from tamis.models.warm import WarmCrossEncoder
from tamis.records import TrainingList
from tamis.settings import TrainSettings
from tamis.stages.train import LOSSES, Texts, mean_agreement, train_student
from tests.conftest import TOPICS

QUERIES = {f"q/{lang}/{n}": question for lang, topics in TOPICS.items() for n, (question, _) in enumerate(topics)}
DOCUMENTS = {f"{lang}/{n}": answer for lang, topics in TOPICS.items() for n, (_, answer) in enumerate(topics)}


def toy_lists(languages=("en", "de"), split="train"):
    """The longer a document, the more relevant: a thing that a student can learn."""
    lists = []
    for language in languages:
        ids = [doc_id for doc_id in DOCUMENTS if doc_id.startswith(language)]
        for number in range(len(ids)):
            some = [ids[(number + step) % len(ids)] for step in (0, 2, 3, 5, 7)]
            lengths = np.array([len(DOCUMENTS[doc_id]) for doc_id in some], float)
            labels = (2 * (lengths - lengths.min()) / np.ptp(lengths) - 1).tolist()
            name = f"q/{language}/{number}"
            lists.append(TrainingList(name, "all", split, tuple(some), tuple(labels), (0,) * 5, (0.0,) * 5))
    return lists


LISTS, HELD_OUT = toy_lists(), toy_lists(("de",), "held-out")


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return Encoder.load(tiny_encoder)


@pytest.fixture
def student(encoder):
    return WarmCrossEncoder(encoder, Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()


def texts_for(student):
    return Texts(Prepared(student), QUERIES, DOCUMENTS)


def train(student, steps=24, lists=LISTS, held_out=HELD_OUT, seed=0, progress=lambda _: None, **changes):
    chosen = TrainSettings(**{"learning_rate": 2e-3, "lists_per_step": 5, "checkpoints": 4, **changes})
    return train_student(student, lists, held_out, texts_for(student), chosen, steps, seed, 8192, progress)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"loss": "margin-mse"}, 40),
        ({"loss": "gap-hinge"}, 40),
        ({"loss": "gap-hinge", "double_hard_margins": True}, 40),
        ({"loss": "listwise"}, 40),
        ({"loss": "ranknet"}, 40),
        ({"loss": "lambda"}, 40),
        # These have to learn the level of the labels first.
        ({"loss": "pointwise-mse"}, 120),
        ({"loss": "pointwise-bce"}, 120),
    ],
)
def test_every_loss_falls_on_a_task_that_can_be_learnt_and_the_agreement_rises(student, changes, steps):
    curve = train(student, steps=steps, **changes)
    losses = [loss for _, loss in curve.loss]
    assert [step for step, _ in curve.loss] == list(range(1, steps + 1))
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert max(value for _, value in curve.agreement) > curve.agreement[0][1] + 0.05


def test_every_loss_that_a_recipe_may_name_is_known():
    assert list(LOSSES) == list(get_args(TrainSettings.model_fields["loss"].annotation))


def test_a_stock_student_learns_too(encoder):
    student = StockCrossEncoder.start(encoder, Joined(max_tokens=80), seed=0).eval()
    curve = train(student, steps=30)
    assert max(value for _, value in curve.agreement) > curve.agreement[0][1] + 0.05
    assert curve.loss[-1][1] < curve.loss[0][1]


@pytest.mark.parametrize("learning_rate", [2e-3, 0.3])
def test_the_student_ends_with_the_checkpoint_that_agreed_best(student, learning_rate):
    curve = train(student, learning_rate=learning_rate)
    seen = dict(curve.agreement)
    assert list(seen) == [0, 6, 12, 18, 24]
    assert seen[curve.chosen] == max(seen.values())
    assert curve.chosen == min(step for step, value in seen.items() if value == max(seen.values()))
    assert mean_agreement(student, HELD_OUT, texts_for(student), 8192) == pytest.approx(seen[curve.chosen], abs=1e-6)


def test_a_student_that_only_gets_worse_keeps_the_weights_it_came_with(student):
    before = student.trained()
    upside_down = [replace(one, labels=tuple(-label for label in one.labels)) for one in LISTS]
    train(student)
    learnt = student.trained()
    curve = train(student, lists=upside_down, checkpoints=1)
    assert curve.agreement[-1][1] < curve.agreement[0][1]
    assert curve.chosen == 0
    assert all(torch.equal(tensor, learnt[name]) for name, tensor in student.trained().items())
    assert not all(torch.equal(tensor, before[name]) for name, tensor in learnt.items())


def test_among_checkpoints_that_agree_alike_the_earliest_is_kept(student):
    curve = train(student, learning_rate=1e-12)
    assert len({value for _, value in curve.agreement}) == 1
    assert curve.chosen == 0


def test_the_losses_are_those_of_a_loop_written_out(student, encoder):
    steps, rate = 30, 2e-3
    curve = train(student, steps=steps, learning_rate=rate, lists_per_step=len(LISTS), weight_decay=0.1)
    twin = WarmCrossEncoder(encoder, Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()
    queries = twin.prepare_queries([QUERIES[one.query_id] for one in LISTS for _ in one.doc_ids])
    documents = twin.prepare_documents([DOCUMENTS[doc_id] for one in LISTS for doc_id in one.doc_ids])
    labels = torch.tensor([one.labels for one in LISTS])
    optimiser = torch.optim.AdamW(twin.parameters(), lr=1.0, weight_decay=0.1)
    for step, found in curve.loss:
        # Up over 20 steps, down in a straight line to a tenth.
        optimiser.param_groups[0]["lr"] = rate * min(1, step / 20) * (1 - 0.9 * step / steps)
        optimiser.zero_grad()
        logits = twin(queries, documents).reshape(labels.shape)
        margins = (logits[:, :, None] - logits[:, None, :]) - (labels[:, :, None] - labels[:, None, :])
        loss = (margins**2).mean() / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimiser.step()
        assert found == pytest.approx(loss.item(), rel=1e-2)


def test_without_held_out_lists_the_last_weights_are_kept(student):
    before = student.trained()
    curve = train(student, steps=6, held_out=[])
    assert curve.chosen == 6
    assert curve.agreement[-1] == (6, 0.0)
    assert not any(torch.equal(t, before[n]) for n, t in student.trained().items() if n.endswith("dense.weight"))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(encoder):
    def trained(seed):
        torch.manual_seed(seed + 100)  # the global state must not matter
        student = WarmCrossEncoder(encoder, Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()
        curve = train(student, steps=6, held_out=[], seed=seed)
        return student.trained(), curve

    (first, curve), (again, curve_again), (other, _) = trained(1), trained(1), trained(2)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert curve == curve_again
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_only_what_is_trained_changes(student):
    before = {name: tensor.clone() for name, tensor in student.encoder.body.state_dict().items()}
    start = student.trained()
    train(student)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.encoder.body.state_dict().items())
    assert not any(torch.equal(t, start[n]) for n, t in student.trained().items() if n.endswith("dense.weight"))


@pytest.mark.parametrize(("lists", "steps"), [([], 10), (LISTS, 0)])
def test_without_lists_or_steps_the_student_stays_as_it_is(student, lists, steps):
    before = student.trained()
    curve = train(student, steps=steps, lists=lists)
    assert curve.loss == []
    assert curve.chosen == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.trained().items())


def test_every_step_is_told(student):
    told = []
    train(student, steps=7, progress=told.append)
    assert told == [1] * 7


def test_every_list_is_used_once_before_any_comes_again(student):
    asked = []

    class Watched(Texts):
        def pairs(self, lists):
            asked.extend(one.query_id for one in lists)
            return super().pairs(lists)

    chosen = TrainSettings(lists_per_step=5, checkpoints=1)
    train_student(
        student, LISTS, [], Watched(Prepared(student), QUERIES, DOCUMENTS), chosen, 8, 0, 8192, lambda _: None
    )
    first, second = asked[:20], asked[20:]
    assert sorted(first) == sorted(second) == sorted(QUERIES)
    assert first != second


def test_a_loss_that_is_not_finite_stops_and_names_the_queries(student):
    lists = [replace(LISTS[3], labels=(float("nan"),) * 5)]
    with pytest.raises(ModelError, match=r"stopped at step 1: the loss is nan; queries of the batch: q/en/3$"):
        train(student, lists=lists)


def test_weights_that_explode_are_never_taken_for_a_checkpoint(student):
    with pytest.raises(ModelError, match=r"scores of query q/de/0 are not finite; .* lower train\.learning_rate"):
        train(student, steps=1, learning_rate=1e38, checkpoints=1)


def test_mean_agreement_is_the_mean_ndcg_of_the_lists_with_the_labels_as_gains(student):
    expected = []
    for one in LISTS:
        queries = student.prepare_queries([QUERIES[one.query_id]] * len(one.doc_ids))
        with torch.no_grad():
            scores = student(queries, student.prepare_documents([DOCUMENTS[d] for d in one.doc_ids])).numpy()
        gains = (np.array(one.labels) - min(one.labels)) / np.ptp(one.labels)
        expected.append(ndcg_score([gains], [scores], k=10))
    texts = texts_for(student)
    for budget, lists in itertools.product((1, 8192), (LISTS, LISTS[::-1])):
        assert mean_agreement(student, lists, texts, budget) == pytest.approx(np.mean(expected), abs=1e-6)
    assert mean_agreement(student, [], texts, 8192) == 0.0
