import copy
import itertools
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from tamis.errors import ModelError
from tamis.formulas.ranking import agreement
from tamis.models.encoder import Encoder
from tamis.models.prepared import Prepared
from tamis.models.sequence_student import SequenceStudent
from tamis.models.serializer import Apart, Joined
from tamis.models.warm import WarmCrossEncoder
from tamis.records import TrainingList
from tamis.stages.train import train as train_stage
from tamis.stages.train.agreement import TrainingTexts, grades_of, mean_agreement
from tamis.stages.train.losses import LOSSES
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.stage import nothing_kept
from tamis.stages.train.train import NOISE, Curve, Execution, train_student
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


MARGIN_MSE = TrainSettings(loss="margin-mse")
MACHINE = Execution(8192, 8192)
LISTS, HELD_OUT = toy_lists(), toy_lists(("de",), "held-out")


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return Encoder.load(tiny_encoder)


@pytest.fixture
def student(encoder):
    return WarmCrossEncoder(encoder, Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()


def texts_for(student):
    texts = TrainingTexts(Prepared(student), QUERIES, DOCUMENTS)
    texts.pairs(LISTS)  # all at once, as the pipeline does: the last bit depends on what else is in a batch
    return texts


def batches(lists=LISTS, per_step=5, seed=0):
    rng = np.random.default_rng(seed)
    order = itertools.chain.from_iterable(rng.permutation(len(lists)).tolist() for _ in itertools.count())
    while True:
        yield [lists[next(order)] for _ in range(per_step)]


def train(
    student,
    steps=24,
    lists=LISTS,
    held_out=HELD_OUT,
    seed=0,
    progress=lambda _: None,
    keeper=None,
    machine=MACHINE,
    **changes,
):
    chosen = TrainSettings(
        **{"loss": "margin-mse", "learning_rate": 2e-3, "lists_per_step": 5, "checkpoints": 4, **changes}
    )
    fed = batches(lists, chosen.lists_per_step, seed)
    return train_student(student, fed, held_out, texts_for(student), chosen, steps, machine, progress, keeper)


class Memory:
    """Keeps every saved state, as a file would: copied."""

    def __init__(self, state=None):
        self.states, self.broken = [], None
        if state:
            self.states.append(state)

    def load(self):
        return copy.deepcopy(self.states[-1]) if self.states else None

    def save(self, tensors, facts):
        self.states.append(copy.deepcopy((dict(tensors), dict(facts))))

    def failed(self, facts):
        self.broken = facts
        return " (kept)"


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
    student = SequenceStudent.from_encoder(encoder, Joined(max_tokens=80), seed=0).eval()
    curve = train(student, steps=30)
    assert max(value for _, value in curve.agreement) > curve.agreement[0][1] + 0.05
    assert curve.loss[-1][1] < curve.loss[0][1]


@pytest.mark.parametrize("learning_rate", [2e-3, 0.3])
def test_the_student_ends_with_the_last_checkpoint_that_no_other_one_beats_beyond_chance(student, learning_rate):
    curve = train(student, learning_rate=learning_rate)
    seen = dict(curve.agreement)
    assert list(seen) == [0, 6, 12, 18, 24]
    as_good = [step for step, value in seen.items() if value > seen[0] and value > max(seen.values()) - NOISE]
    assert curve.chosen == max(as_good, default=0)
    assert mean_agreement(student, HELD_OUT, texts_for(student), MARGIN_MSE, 8192) == pytest.approx(
        seen[curve.chosen], abs=1e-6
    )


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


def test_it_is_told_that_nothing_which_was_learnt_is_kept():
    curves = {
        "worse": Curve(loss=[(1, 1.0)], agreement=[(0, 0.5), (1, 0.4)]),
        "better": Curve(loss=[(1, 1.0)], agreement=[(0, 0.5), (1, 0.6)], chosen=1),
        "unchanged": Curve(agreement=[(0, 0.5)]),
    }
    (told,) = nothing_kept(curves)
    assert told.startswith(
        "no checkpoint of worse agrees more with the teacher than its start did (0.5000; the best 0.4000): what it"
    )


def test_among_checkpoints_that_agree_as_the_start_does_the_start_is_kept(student):
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
    assert curve.loss == curve_again.loss
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_only_what_is_trained_changes(student):
    before = {name: tensor.clone() for name, tensor in student.encoder.body.state_dict().items()}
    start = student.trained()
    train(student)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.encoder.body.state_dict().items())
    assert not any(torch.equal(t, start[n]) for n, t in student.trained().items() if n.endswith("dense.weight"))


def test_without_steps_the_student_stays_as_it_is(student):
    before = student.trained()
    curve = train(student, steps=0)
    assert curve.loss == []
    assert curve.chosen == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.trained().items())


def test_every_step_is_told(student):
    told = []
    train(student, steps=7, progress=told.append)
    assert told == [0] + [1] * 7


@pytest.mark.parametrize("killed_after", [1, 11, 17])
def test_a_killed_and_resumed_training_ends_with_the_same_bits(encoder, monkeypatch, killed_after):
    monkeypatch.setattr(train_stage, "SAVE_SECONDS", 0.0)

    def fresh():
        return WarmCrossEncoder(encoder, Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()

    whole, memory = fresh(), Memory()
    curve = train(whole, keeper=memory)
    told = []
    resumed, kept = fresh(), Memory(memory.states[killed_after - 1])
    curve_resumed = train(resumed, keeper=kept, progress=told.append)
    assert told[0] == killed_after
    assert len(told) == 1 + 24 - killed_after
    assert all(torch.equal(tensor, whole.trained()[name]) for name, tensor in resumed.trained().items())
    assert (curve_resumed.loss, curve_resumed.agreement) == (curve.loss, curve.agreement)
    assert curve_resumed.tokens == curve.tokens


@pytest.mark.parametrize("part", [64, 8192])
def test_less_memory_gives_the_same_training(encoder, part):
    def losses(machine):
        student = WarmCrossEncoder(encoder, Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()
        return [loss for _, loss in train(student, steps=10, machine=machine).loss]

    expected = losses(MACHINE)
    np.testing.assert_allclose(losses(Execution(part, 8192, recompute=True)), expected, rtol=1e-4)
    np.testing.assert_allclose(losses(Execution(part, 8192)), expected, rtol=1e-4)


def test_training_stops_when_so_many_checkpoints_were_no_better(student):
    curve = train(student, steps=24, learning_rate=1e-12, checkpoints=8, patience=3)
    assert [step for step, _ in curve.agreement] == [0, 3, 6, 9]
    assert len(curve.loss) == 9


def test_a_loss_that_is_not_finite_stops_names_the_queries_and_keeps_the_batch(student):
    lists, memory = [replace(LISTS[3], labels=(float("nan"),) * 5)], Memory()
    with pytest.raises(ModelError, match=r"stopped at step 1: the loss is nan, .* batch: q/en/3 \(kept\)$"):
        train(student, lists=lists, lists_per_step=1, keeper=memory)
    assert [one["query"] for one in memory.broken["lists"]] == ["q/en/3"]
    assert memory.broken["lists"][0]["documents"] == lists[0].doc_ids


def test_a_loss_that_explodes_stops(student):
    odd = replace(LISTS[0], labels=tuple(1e4 * label for label in LISTS[0].labels))
    fed = iter([LISTS[:4]] * 12 + [[odd]])
    chosen = TrainSettings(loss="margin-mse", learning_rate=1e-4, checkpoints=1)
    with pytest.raises(ModelError, match=r"stopped at step 13: the loss is \d\S+, .* batch: q/en/0$"):
        train_student(student, fed, [], texts_for(student), chosen, 20, MACHINE, lambda _: None)


def test_weights_that_explode_are_never_taken_for_a_checkpoint(student):
    with pytest.raises(ModelError, match=r"scores of query q/de/0 are not finite; .* lower train\.learning_rate"):
        train(student, steps=1, learning_rate=1e38, checkpoints=1)


def test_mean_agreement_is_the_mean_ndcg_of_the_lists_with_the_labels_as_gains(student):
    from sklearn.metrics import ndcg_score  # slow, and the processes of test_team.py import this module too

    expected = []
    for one in LISTS:
        queries = student.prepare_queries([QUERIES[one.query_id]] * len(one.doc_ids))
        with torch.no_grad():
            scores = student(queries, student.prepare_documents([DOCUMENTS[d] for d in one.doc_ids])).numpy()
        gains = (np.array(one.labels) - min(one.labels)) / np.ptp(one.labels)
        expected.append(ndcg_score([gains], [scores], k=10))
    texts = texts_for(student)
    for budget, lists in itertools.product((1, 8192), (LISTS, LISTS[::-1])):
        assert mean_agreement(student, lists, texts, MARGIN_MSE, budget) == pytest.approx(np.mean(expected), abs=1e-6)
    assert mean_agreement(student, [], texts, MARGIN_MSE, 8192) == 0.0


def test_a_listwise_student_is_judged_by_the_shares_of_its_target():
    labels = [8.0, 2.0, -1.0]
    shares = torch.softmax(torch.tensor(labels) / 2.0, 0).numpy()
    graded = grades_of(labels, TrainSettings(loss="listwise", temperature=2.0))
    np.testing.assert_allclose(graded / graded.sum(), shares, rtol=1e-6)
    np.testing.assert_array_equal(grades_of(labels, TrainSettings(loss="margin-mse")), labels)
    # The best document first and the others in the wrong order is nearly all that is asked for.
    found = np.array([3.0, 1.0, 2.0])
    assert agreement(found, graded) > 0.98 > agreement(found, np.array(labels))


def test_the_operations_of_a_step_are_counted(student):
    seen = []
    texts = texts_for(student)
    settings = TrainSettings(checkpoints=1)
    train_student(
        student,
        batches(),
        [],
        texts,
        settings,
        2,
        MACHINE,
        lambda _: None,
        watch=lambda step, figures: seen.append(figures),
    )
    per_token = [
        figures["operations_per_second"] / figures["tokens_per_second"] for figures in seen if "loss" in figures
    ]
    linear = sum(p.numel() for p in student.joint.parameters() if p.ndim == 2)
    # Forward, gradients of weights and of inputs: three products of two operations a weight, and attention on top.
    assert per_token[0] == pytest.approx(per_token[1])
    assert 4 * linear < per_token[0] < 20 * linear
