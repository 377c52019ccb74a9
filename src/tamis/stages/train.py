"""Train: whole lists per step, the checkpoint chosen by agreement with the teacher on held-out synthetic queries."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from tamis.errors import ModelError
from tamis.formulas.losses.listwise import lambda_loss, listwise_cross_entropy
from tamis.formulas.losses.pairwise import gap_hinge, margin_mse, ranknet
from tamis.formulas.losses.pointwise import pointwise_bce, pointwise_mse
from tamis.formulas.ranking import agreement
from tamis.models.batching import token_batches
from tamis.models.prepared import Prepared
from tamis.models.student import Student, score_prepared
from tamis.records import TrainingList
from tamis.settings import TrainSettings

PART_TOKENS = 2048
"""Tokens per forward pass while learning, padding included."""

WARM_UP = 20
"""Steps over which the learning rate rises; afterwards it falls linearly to a tenth."""

Loss = Callable[[Tensor, Tensor, Tensor, TrainSettings], Tensor]
"""From logits, labels and list index of a batch of whole lists, and the settings, to a scalar."""

LOSSES: Final[Mapping[str, Loss]] = {
    "margin-mse": lambda logits, labels, index, _: margin_mse(logits, labels, index),
    "gap-hinge": lambda logits, labels, index, settings: gap_hinge(logits, labels, index, settings.double_hard_margins),
    "listwise": lambda logits, labels, index, settings: listwise_cross_entropy(
        logits, labels, index, settings.temperature
    ),
    "ranknet": lambda logits, labels, index, _: ranknet(logits, labels, index),
    "lambda": lambda logits, labels, index, _: lambda_loss(logits, labels, index),
    "pointwise-mse": lambda logits, labels, index, _: pointwise_mse(logits, labels, index),
    "pointwise-bce": lambda logits, labels, index, _: pointwise_bce(logits, labels, index),
}
"""What each name in `TrainSettings.loss` stands for."""


@dataclass
class Curve:
    """How one student learnt.

    Attributes:
        loss: (step, loss) of every step.
        agreement: (step, mean agreement with the teacher on held-out lists) of every checkpoint; step 0 is the start.
        chosen: The step whose weights were kept.
    """

    loss: list[tuple[int, float]] = field(default_factory=list)
    agreement: list[tuple[int, float]] = field(default_factory=list)
    chosen: int = 0


@dataclass(frozen=True)
class Texts:
    """Texts by id, and what was already prepared of them."""

    prepared: Prepared
    queries: dict[str, str]
    documents: dict[str, str]

    def pairs(self, lists: Sequence[TrainingList]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Prepared queries and documents of every pair of the lists, and the list each pair belongs to: int64."""
        query_ids = [one.query_id for one in lists for _ in one.doc_ids]
        doc_ids = [doc_id for one in lists for doc_id in one.doc_ids]
        index = torch.tensor([number for number, one in enumerate(lists) for _ in one.doc_ids])
        queries = self.prepared.queries(query_ids, self.queries)
        return queries, self.prepared.documents(doc_ids, self.documents), index


def train_student(
    student: Student,
    lists: Sequence[TrainingList],
    held_out: Sequence[TrainingList],
    texts: Texts,
    settings: TrainSettings,
    steps: int,
    seed: int,
    token_budget: int,
    progress: Callable[[int], None],
) -> Curve:
    """Train in place; the student ends with the weights of its best checkpoint, which may be the one it came with.

    Without held-out lists there is nothing to choose by, and the last weights are kept.

    Args:
        student: What to train.
        lists: Lists to learn from, drawn from anew in shuffled passes.
        held_out: Lists that choose the checkpoint.
        texts: Texts of the queries and documents.
        settings: Loss, learning rate, lists per step, number of checkpoints.
        steps: Optimiser steps.
        seed: Of the order of the lists.
        token_budget: Most tokens per forward pass when scoring the held-out lists.
        progress: Called with 1 after each step.

    Raises:
        ModelError: the loss is not finite; names the queries of the batch.
    """
    curve = Curve()
    best = student.trained()
    curve.agreement.append((0, mean_agreement(student, held_out, texts, token_budget)))
    if not lists or not steps:
        return curve
    parameters = [p for p in student.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    marks = {max(1, round(steps * (n + 1) / settings.checkpoints)) for n in range(settings.checkpoints)}
    order = _endless(len(lists), np.random.default_rng(seed))
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, steps)
        batch = [lists[next(order)] for _ in range(min(settings.lists_per_step, len(lists)))]
        loss = _loss(student, batch, texts, settings)
        if not math.isfinite(loss.item()):
            names = ", ".join(one.query_id for one in batch)
            raise ModelError(
                f"training stopped at step {step}: the loss is {loss.item()}; queries of the batch: {names}"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        curve.loss.append((step, loss.item()))
        if step in marks:
            now = mean_agreement(student, held_out, texts, token_budget)
            if not held_out or now > max(value for _, value in curve.agreement):
                best, curve.chosen = student.trained(), step
            curve.agreement.append((step, now))
        progress(1)
    student.load_trained(best)
    return curve


def _loss(student: Student, batch: Sequence[TrainingList], texts: Texts, settings: TrainSettings) -> Tensor:
    queries, documents, index = texts.pairs(batch)
    labels = torch.tensor([label for one in batch for label in one.labels], dtype=torch.float32)
    # Parts of similar length, so that little of the work is padding; the loss sees the whole lists.
    lengths = [len(query) + len(document) for query, document in zip(queries, documents, strict=True)]
    parts = list(token_batches(lengths, PART_TOKENS))
    logits = torch.cat([student([queries[i] for i in part], [documents[i] for i in part]) for part in parts])
    order = torch.tensor([i for part in parts for i in part])
    return LOSSES[settings.loss](logits, labels[order], index[order], settings)


def _schedule(step: int, steps: int) -> float:
    return min(1.0, step / WARM_UP) * (1 - 0.9 * step / steps)


def _endless(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()


def mean_agreement(student: Student, lists: Sequence[TrainingList], texts: Texts, token_budget: int) -> float:
    """Mean agreement of the student's order with the teacher's labels over lists; in [0, 1], 0 without lists."""
    if not lists:
        return 0.0
    queries, documents, index = texts.pairs(lists)
    logits = np.empty(len(queries))
    for batch, values in score_prepared(student, queries, documents, token_budget):
        logits[batch] = values
    if not np.isfinite(logits).all():
        raise ModelError(
            f"scores of query {lists[int(index[np.argmin(np.isfinite(logits))])].query_id} are not finite; "
            "the weights are broken, lower train.learning_rate"
        )
    ends = np.cumsum([len(one.doc_ids) for one in lists])[:-1]
    parts = np.split(logits, ends)
    return float(np.mean([agreement(part, np.array(one.labels)) for part, one in zip(parts, lists, strict=True)]))
