"""Train: whole lists per step, the checkpoint chosen by agreement with the teacher on held-out synthetic queries.

The loss compares documents of one list with each other, so it is computed on the logits of the whole step; gradients
then go back through the pairs. That order makes small memory (`recompute`) and several processes exact: neither changes
the loss, only who computes which pairs and when.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tamis.distributed import ALONE, ProcessGroup, whole
from tamis.errors import ModelError
from tamis.models.batching import token_batches
from tamis.models.operations import operation_counter
from tamis.models.precision import autocast
from tamis.models.sharding import as_parts_of
from tamis.models.student import Student
from tamis.records import TrainingList
from tamis.stages.train.agreement import TrainingTexts, mean_agreement
from tamis.stages.train.losses import LOSSES, MEANS_OVER_LISTS
from tamis.stages.train.settings import TrainSettings

WARM_UP = 20
"""Steps over which the learning rate rises; afterwards it falls linearly to a tenth."""

PARTS_IN_MEMORY = 4
"""Forward passes whose activations are kept for the way back, where the loss can be computed list by list."""

EXPLODED = 100.0
"""A loss this many times the mean of the first steps is no noise."""

NOISE = 0.005
"""Agreement by which checkpoints differ by chance: some hundreds of held-out lists do not tell them apart."""


SAVE_SECONDS = 60.0
"""Time between two saved states: the most that a kill can lose."""


@dataclass
class Curve:
    """How one student learnt.

    Attributes:
        loss: (step, loss) of every step.
        agreement: (step, mean agreement with the teacher on held-out lists) of every checkpoint; step 0 is the start.
        chosen: The step whose weights were kept.
        experts: (step, load) of every checkpoint: tokens of the busiest expert in multiples of an even share, of the
            router where that is most; empty for dense bodies.
        tokens: Tokens learnt from, without padding.
        padded: The same with padding.
    """

    loss: list[tuple[int, float]] = field(default_factory=list)
    agreement: list[tuple[int, float]] = field(default_factory=list)
    chosen: int = 0
    experts: list[tuple[int, float]] = field(default_factory=list)
    tokens: int = 0
    padded: int = 0


Watch = Callable[[int, Mapping[str, float]], None]
"""Told a step and named figures of it: loss, gradient_norm, seconds, tokens_per_second, operations_per_second (of this
process); agreement and busiest_expert at checkpoints."""


class Keeper(Protocol):
    """Keeps the state of an unfinished training, so that a killed run goes on where it was."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last saved tensors, [as in the model], and facts; None where there are none."""
        ...

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep tensors, [as in the model], and JSON-like facts, whole or not at all."""
        ...

    def failed(self, facts: Mapping[str, Any]) -> str:
        """Keep what is known of a batch that broke the training; says where."""
        ...


@dataclass(frozen=True)
class Execution:
    """What changes speed and memory but not results.

    Attributes:
        part_tokens: Most tokens per forward pass while learning, padding included.
        score_tokens: The same while scoring.
        recompute: Score without gradients first, then again part by part with them: memory of one part, time of one
            more forward pass. A sharded student is always trained so.
        team: The processes that share each step.
    """

    part_tokens: int = 2048
    score_tokens: int = 2048
    recompute: bool = False
    team: ProcessGroup = ALONE


def train_student(
    student: Student,
    batches: Iterator[Sequence[TrainingList]],
    held_out: Sequence[TrainingList],
    texts: TrainingTexts,
    settings: TrainSettings,
    steps: int,
    machine: Execution,
    progress: Callable[[int], None],
    keeper: Keeper | None = None,
    watch: Watch = lambda *_: None,
) -> Curve:
    """Train in place; the student ends with the weights of a checkpoint, which may be the one it came with.

    That is the last one that is better than the start and, but for `NOISE`, than every other one. Without held-out
    lists there is nothing to choose by, and the last weights are kept.

    Args:
        student: What to train; sharded, all processes of the team call with the same arguments.
        batches: The lists of each step, endless and the same from the start in every run.
        held_out: Lists that choose the checkpoint.
        texts: Texts of the queries and documents.
        settings: Loss, learning rate, number of checkpoints, patience.
        steps: Optimiser steps; 0 only measures.
        machine: See `Execution`.
        progress: Called with the number of steps done, after each and once for those done before.
        keeper: Where an unfinished training is kept; None keeps nothing.
        watch: Told what each step and each checkpoint came to.

    Raises:
        ModelError: the loss is not finite or explodes; names the queries of the batch, which are kept with the keeper.
    """
    run = _Run(student, held_out, texts, settings, steps, machine, watch)
    done = run.resume(keeper)
    progress(done)
    for _ in range(done):
        next(batches)
    saved = time.monotonic()
    for step in range(done + 1, steps + 1):
        try:
            run.step(step, next(batches))
        except _BrokenError as error:
            where = keeper.failed(error.facts) if keeper and machine.team.leads else ""
            raise ModelError(f"{error}{where}") from None
        progress(1)
        if run.out_of_patience():
            break
        if keeper and step < steps and machine.team.agree(time.monotonic() - saved >= SAVE_SECONDS):
            state = run.state(step)
            if machine.team.leads:
                keeper.save(*state)
            saved = time.monotonic()
    student.load_trained(run.best)
    return run.curve


class _BrokenError(Exception):
    """A step that cannot go on."""

    def __init__(self, text: str, facts: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.facts = facts


class _Run:
    """One training under way: the optimiser, the curve, the best weights so far."""

    def __init__(
        self,
        student: Student,
        held_out: Sequence[TrainingList],
        texts: TrainingTexts,
        settings: TrainSettings,
        steps: int,
        machine: Execution,
        watch: Watch,
    ) -> None:
        self.watch = watch
        self.student, self.held_out, self.texts = student, held_out, texts
        self.settings, self.steps, self.machine = settings, steps, machine
        self.names = [name for name, p in student.named_parameters() if p.requires_grad]
        self.parameters = [p for p in student.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        count = settings.checkpoints
        self.marks = {max(1, round(steps * (n + 1) / count)) for n in range(count)}
        self.curve = Curve()
        self.best = student.trained()
        self.operations_per_token: float | None = None

    def resume(self, keeper: Keeper | None) -> int:
        """Take over a saved state, or measure the start; returns the number of steps that are done."""
        saved = keeper.load() if keeper else None
        if saved is None:
            self.curve.agreement.append((0, self._agreement()))
            return 0
        tensors, facts = saved
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(as_parts_of(parameter, tensors[f"now/{name}"]))
                self.optimiser.state[parameter] = {
                    "step": torch.tensor(float(facts["step"]), device=parameter.device),  # where fused AdamW reads it
                    "exp_avg": as_parts_of(parameter, tensors[f"mean/{name}"]),
                    "exp_avg_sq": as_parts_of(parameter, tensors[f"square/{name}"]),
                }
        self.best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
        self.curve = Curve(**facts["curve"])
        return int(facts["step"])

    def state(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the rest of the training depends on; there is no dropout, so no random state besides.

        Tensors are whole, so that any number of processes can go on, and the leader's alone. All have to ask at once.
        """
        tensors = {f"best/{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            of = self.optimiser.state[parameter]
            tensors |= {f"now/{name}": parameter.detach(), f"mean/{name}": of["exp_avg"]}
            tensors[f"square/{name}"] = of["exp_avg_sq"]
        found = ((name, whole(tensor)) for name, tensor in tensors.items())
        facts = {"step": step, "curve": asdict(self.curve)}
        return {name: tensor for name, tensor in found if self.machine.team.leads}, facts

    def step(self, step: int, batch: Sequence[TrainingList]) -> None:
        """One optimiser step, and a checkpoint where one is due."""
        start, before = time.monotonic(), self.curve.tokens
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * _schedule(step, self.steps)
        with operation_counter() if self.operations_per_token is None else nullcontext() as counter:
            loss = self._backward(batch)
        self.machine.team.add_up(self.parameters)
        if counter:
            self.operations_per_token = counter.get_total_flops() / (self.curve.tokens - before)
        norm = float(whole(torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)))
        self._check(step, batch, loss, norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.curve.loss.append((step, loss))
        seconds = max(time.monotonic() - start, 1e-9)
        speed = (self.curve.tokens - before) / seconds
        figures = {"loss": loss, "gradient_norm": norm, "seconds": seconds, "tokens_per_second": speed}
        self.watch(step, figures | {"operations_per_second": speed * (self.operations_per_token or 0.0)})
        if step in self.marks:
            now = self._agreement()
            if not self.held_out or is_kept(now, [value for _, value in self.curve.agreement]):
                self.best, self.curve.chosen = self.student.trained(), step
            self.curve.agreement.append((step, now))
            self.watch(step, {"agreement": now})
            if self.student.experts is not None:
                self.curve.experts.append((step, max(self.student.experts.read().values())))
                self.watch(step, {"busiest_expert": self.curve.experts[-1][1]})

    def out_of_patience(self) -> bool:
        """Whether so many checkpoints in a row were no better than the best before them."""
        since = [step for step, _ in self.curve.agreement if step > self.curve.chosen]
        return bool(self.settings.patience and self.held_out and len(since) >= self.settings.patience)

    def _backward(self, batch: Sequence[TrainingList]) -> float:
        """Leave the gradient of the batch's loss in the parameters; returns the loss."""
        return sum(self._backward_lists(lists, len(lists) / len(batch)) for lists in self._groups(batch))

    def _groups(self, batch: Sequence[TrainingList]) -> list[Sequence[TrainingList]]:
        """The lists whose activations are in memory at once: where each list has a loss of its own, some of them."""
        if self.settings.loss not in MEANS_OVER_LISTS:
            return [batch]
        pairs = (self.texts.pairs([one]) for one in batch)
        tokens = [sum(map(len, queries)) + sum(map(len, documents)) for queries, documents, _ in pairs]
        groups = token_batches(tokens, PARTS_IN_MEMORY * self.machine.part_tokens, padded=False)
        return [[batch[i] for i in group] for group in groups]

    def _backward_lists(self, batch: Sequence[TrainingList], share: float) -> float:
        """Add the gradient of `share` times the mean loss of some lists to that of the parameters; returns that loss.

        The loss needs all logits of its lists; gradients then go back through the pairs, whoever computes them.
        """
        queries, documents, index = self.texts.pairs(batch)
        labels = torch.tensor([label for one in batch for label in one.labels], dtype=torch.float32)  # [pairs]
        lengths = [len(query) + len(document) for query, document in zip(queries, documents, strict=True)]
        own = self.machine.team.share(lengths)
        padded = [self.student.padded_length(length) for length in lengths]
        # Parts of similar length, so that little of the work is padding.
        parts = [[own[i] for i in part] for part in token_batches([padded[i] for i in own], self.machine.part_tokens)]
        self.curve.tokens += sum(lengths)
        self.curve.padded += sum(len(part) * max(padded[i] for i in part) for part in parts)
        # The layers of a sharded student come together for all processes at once: whoever has fewer parts than another
        # runs the shortest pair without weight instead. So does one without any pair.
        count = self.machine.team.most(len(parts)) if self.student.sharded else max(1, len(parts))
        shortest = min(range(len(lengths)), key=lengths.__getitem__)
        run = [*parts, *[[shortest]] * (count - len(parts))]

        def logits_of(part: Sequence[int]) -> Tensor:
            logits: Tensor = self.student([queries[i] for i in part], [documents[i] for i in part])
            return logits

        recompute = self.machine.recompute or self.student.sharded
        # One context for all parts: within it each weight is turned into bfloat16 once.
        one_cast = nullcontext() if self.student.sharded else autocast(self.student.device, self.student.precision)
        with torch.set_grad_enabled(not recompute), one_cast:
            found = [logits_of(part) for part in run]  # [pairs of the part] each
        logits = self.machine.team.gather(own_order(parts), torch.cat(found).detach()[: len(own)], len(lengths))
        logits.requires_grad_()
        loss = share * LOSSES[self.settings.loss](
            logits, labels.to(logits.device), index.to(logits.device), self.settings
        )
        (slope,) = torch.autograd.grad(loss, logits)  # [pairs]
        slopes = [slope[part] * (number < len(parts)) for number, part in enumerate(run)]
        if recompute:
            for part, of_part in zip(run, slopes, strict=True):
                logits_of(part).backward(of_part)  # type: ignore[no-untyped-call]
        else:
            torch.cat(found).backward(torch.cat(slopes))  # type: ignore[no-untyped-call]
        return float(loss.item())

    def _check(self, step: int, batch: Sequence[TrainingList], loss: float, norm: float) -> None:
        first = [value for _, value in self.curve.loss[:10]]
        exploded = len(first) == 10 and loss > EXPLODED * max(float(np.mean(first)), 1e-3)
        if math.isfinite(loss) and math.isfinite(norm) and not exploded:
            return
        names = ", ".join(one.query_id for one in batch)
        facts = {
            "step": step,
            "loss": loss,
            "gradient_norm": norm,
            "lists": [{"query": one.query_id, "documents": one.doc_ids, "labels": one.labels} for one in batch],
        }
        raise _BrokenError(
            f"training stopped at step {step}: the loss is {loss:.4g}, the gradient's norm {norm:.4g}; lower "
            f"train.learning_rate, or look at the queries of the batch: {names}",
            facts,
        )

    def _agreement(self) -> float:
        # The leader's: processes that differed in the last bit would keep the parts of different checkpoints.
        found = mean_agreement(self.student, self.held_out, self.texts, self.settings, self.machine.score_tokens)
        return self.machine.team.agree(found)


def is_kept(now: float, before: Sequence[float]) -> bool:
    """Whether a new checkpoint takes the place of the one that is kept.

    The learning rate falls to the end, so that of checkpoints which the agreement cannot tell apart the last is the
    least shaken one: it ranks real questions better (docs/decisions.md). Against the start there is no such ground.

    Args:
        now: Its held-out agreement, in [0, 1].
        before: Those of the start and of all checkpoints since, in order.
    """
    start, best = before[0], max(before)
    return now > start and now > best - NOISE


def own_order(parts: Sequence[Sequence[int]]) -> list[int]:
    """Indices of the pairs in the order in which their parts are computed."""
    return [i for part in parts for i in part]


def _schedule(step: int, steps: int) -> float:
    return min(1.0, step / WARM_UP) * (1 - 0.9 * step / steps)
