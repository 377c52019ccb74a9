"""The stage train: a general student, then one specialist for each domain."""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tamis.artifacts import item_key, write_json
from tamis.context import RunContext, texts_of
from tamis.distributed import whole
from tamis.file_modes import write_tensors
from tamis.models.precision import product_rate
from tamis.models.sequence_student import SequenceStudent
from tamis.models.student import Student
from tamis.progress import track
from tamis.records import Facts, Query, TrainingList
from tamis.stages.lists.draw import by_hash
from tamis.stages.lists.held_out import domains_of, given_and_written, judging_lists
from tamis.stages.lists.settings import GENERAL
from tamis.stages.student.factory import StudentFactory
from tamis.stages.student.scores import digest
from tamis.stages.train.agreement import TrainingTexts
from tamis.stages.train.batches import endless_batches, language_weights
from tamis.stages.train.checkpoint import StateFile
from tamis.stages.train.monitor import watching
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.train import Curve, Execution, train_student

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class TrainStage:
    """Trains the general student on given and written queries alike, then one specialist per domain from it.

    Attributes:
        settings: How is learnt.
        held_out: Most held-out lists of each domain by which checkpoints are chosen.
        seed: Of the order of the lists.
        warnings: What is to be said of what the recipe learns from.
        students: Makes the student and prepares its texts.
        context: The run.
    """

    settings: TrainSettings
    held_out: int
    seed: int
    warnings: Sequence[str]
    students: StudentFactory
    context: RunContext
    name: ClassVar = "train"
    reads: ClassVar = ("corpus", "queries", "lists")
    version: ClassVar = 8

    def key(self) -> object:
        """Settings of student and training."""
        student = self.students.settings
        start = self.context.identity_of(student.start) if student.start else None
        facts = [student.model_dump(mode="json", exclude={"start"}), start, self.settings.model_dump(mode="json")]
        return [*facts, self.held_out, self.seed, self.context.machine.precision]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        context, settings = self.context, self.settings
        if not context.team.leads:
            context.team.wait()  # until the leader has prepared the texts, which are then read from its files
        self.students.release_encoders()  # there are vectors of all texts by now
        lists, texts = training_texts(self.students)
        if context.team.leads:
            context.team.wait()
        student = self.students.untrained()
        start = student.trained()
        write_tensors(folder / "untrained.safetensors", start)
        if self.students.shards and isinstance(student, SequenceStudent):
            student.shard(context.machine.device)
        curves: dict[str, Curve] = {}
        identity = self._identity()
        judging = judging_lists(lists, context.queries, self.held_out)

        def unit(name: str, parent: Tensors, held_out: Sequence[TrainingList]) -> Tensors:
            plan = self._plan(name, lists)
            file = context.folders["lists"] / "lists.parquet"
            batches = endless_batches(file, plan.weight, settings.lists_per_step, self.seed)
            job = _Job(name, unit_keys([*identity, name], parent), plan.steps, held_out, texts)
            tensors, curves[name] = self._train(job, student, parent, batches)
            write_tensors(folder / f"{name}.safetensors", tensors)
            return tensors

        general = unit(GENERAL, start, [one for held_out in judging.values() for one in held_out])
        for domain in domains_of(lists):
            unit(domain, general, judging[domain])
        write_json(folder / "curves.json", {name: asdict(curve) for name, curve in curves.items()})
        facts: Facts = {"counts": {"in": len(lists), "kept": len(lists), "dropped": {}}}
        warnings = [*self.warnings, *nothing_kept(curves)]
        return facts | ({"warnings": warnings} if warnings else {})

    def steps_done(self, start: Tensors) -> dict[str, int]:
        """Steps that earlier runs have done of each student, from the lists that there are.

        Args:
            start: What the untrained student starts with.
        """
        identity = self._identity()
        lists = self.context.read("lists", TrainingList)
        done: dict[str, int] = {}

        def trained(name: str, parent: Tensors) -> Tensors:
            keys = unit_keys([*identity, name], parent)
            known = self.context.items.get(keys)
            if len(known) == len(keys):
                done[name] = self._plan(name, lists).steps
                tensors: Tensors = load_tensors(known[keys[0]])
                return tensors
            state = self._state_file(keys).load()
            done[name] = int(state[1]["step"]) if state else 0
            return {}

        general = trained(GENERAL, start)
        for domain in domains_of(lists) if general else ():
            trained(domain, general)
        return done

    def _identity(self) -> list[object]:
        """Names everything that a training depends on but the student's name and parent; hashes its start once."""
        return [self.context.folders["lists"].name, self.key()]

    def _plan(self, name: str, lists: Sequence[TrainingList]) -> "_Plan":
        """What the general student, or a domain's specialist, learns from, and in how many steps."""
        domains, settings = domains_of(lists), self.settings
        wanted = {GENERAL, *domains} if name == GENERAL else {name}
        most = settings.general_steps if name == GENERAL else settings.specialist_steps
        weight = list_weights((one for one in lists if one.domain in wanted), self.context.queries, settings)
        return _Plan(weight, steps_of(settings, most, sum(1 for one in lists if weight(one) > 0)))

    def _state_file(self, keys: Sequence[str]) -> StateFile:
        return StateFile(self.context.beside("unfinished") / f"{keys[0]}.safetensors")

    def _train(
        self, job: "_Job", student: Student, parent: Tensors, batches: Iterator[Sequence[TrainingList]]
    ) -> tuple[Tensors, Curve]:
        """Train one student, or take it from the item store if a killed run had finished it, or go on where it was."""
        context, keys = self.context, job.keys
        known, kept = context.items.get(keys), self._state_file(keys)
        if not context.team.agree(len(known) == len(keys)):
            student.load_trained(parent)
            if context.machine.settings.checkpointing and isinstance(student, SequenceStudent):
                student.save_memory()
            curve = self._learn(job, student, batches, kept)
            learnt = {name: whole(tensor) for name, tensor in student.trained().items()}
            known = dict(zip(keys, (save_tensors(learnt), json.dumps(asdict(curve)).encode()), strict=True))
            if context.team.leads:
                context.items.put(known.items())
        if context.team.leads:
            kept.forget()  # a run that was ended before it could do so left it
        return load_tensors(known[keys[0]]), Curve(**json.loads(known[keys[1]]))

    def _learn(
        self, job: "_Job", student: Student, batches: Iterator[Sequence[TrainingList]], kept: StateFile
    ) -> Curve:
        """Let a student learn, with its figures on the terminal and for TensorBoard."""
        context, machine = self.context, self.context.machine
        how = Execution(machine.token_budget, machine.token_budget, machine.settings.recompute, context.team)
        board = context.beside("tensorboard") / f"{job.name}-{job.keys[0]}" if context.team.leads else None
        rate = product_rate(student.device, machine.precision)
        with (
            track(f"training {job.name}", job.steps if board else 0) as advance,
            watching(board, advance, rate) as watch,
        ):
            return train_student(
                student, batches, job.held_out, job.texts, self.settings, job.steps, how, advance, kept, watch
            )


class _Plan(NamedTuple):
    """What a student learns from.

    Attributes:
        weight: Probability of each list to be learnt from in a pass.
        steps: Optimiser steps.
    """

    weight: Callable[[TrainingList], float]
    steps: int


class _Job(NamedTuple):
    """The training of one student.

    Attributes:
        name: Its domain, or `general`.
        keys: Where it and its curve lie in the item store when it is trained.
        steps: Optimiser steps.
        held_out: Lists that choose its checkpoint.
        texts: Of all lists.
    """

    name: str
    keys: Sequence[str]
    steps: int
    held_out: Sequence[TrainingList]
    texts: TrainingTexts


def training_texts(students: StudentFactory) -> tuple[list[TrainingList], TrainingTexts]:
    """All lists of the run, and the texts they speak of, prepared."""
    context = students.context
    lists = context.read("lists", TrainingList)
    queries = {one.query_id: context.queries[one.query_id].text for one in lists}
    students.prepare(queries, texts_of(context.target))
    general = {doc_id: document for doc_id, document in context.documents.items() if document.origin == "general"}
    students.prepare({}, texts_of(general))
    return lists, TrainingTexts(students.prepared, queries, texts_of(context.documents))


def unit_keys(identity: Sequence[object], parent: Tensors) -> list[str]:
    """Where a student and its curve lie in the item store when it is trained.

    Args:
        identity: Names everything that its training depends on but the stage's version and the parent, its own name
            last.
        parent: What it starts with.
    """
    facts = [TrainStage.version, *identity, digest(parent)]
    return [item_key("trained", *facts), item_key("curve", *facts)]


def extracts_as_answers(generators: Collection[str], seed_bonus: float, loss: str) -> list[str]:
    """A warning where extracts are learnt from as if people had asked them; none otherwise."""
    surely = seed_bonus > 1 and loss == "listwise" and "extractive" in generators
    return [
        "extracts ask as nobody does: learnt like this they were measured to lose two points (docs/log.md); set "
        "scores.seed_bonus=0.5 and train.loss=margin-mse, which lost nothing, or let somebody write queries"
    ][:surely]


def nothing_kept(curves: Mapping[str, Curve]) -> list[str]:
    """A warning for each student that learnt and of which the weights that it came with are kept.

    Args:
        curves: How each learnt, by name.
    """
    return [
        f"no checkpoint of {name} agrees more with the teacher than its start did ({curve.agreement[0][1]:.4f}; the "
        f"best {max(value for _, value in curve.agreement[1:]):.4f}): what it learnt is not kept, its file holds the "
        "start"
        for name, curve in curves.items()
        if curve.loss and not curve.chosen and len(curve.agreement) > 1
    ]


def steps_of(settings: TrainSettings, most: int, lists: int) -> int:
    """Optimiser steps of a student: `most`, or fewer where its lists are gone through often enough before."""
    passes = math.ceil(settings.passes * lists / settings.lists_per_step)
    return min(most, passes) if settings.passes else most


def list_weights(
    lists: Iterable[TrainingList], queries: Mapping[str, Query], settings: TrainSettings
) -> Callable[[TrainingList], float]:
    """Probability of each list to be learnt from in a pass; 0 for all but the given ones.

    Where queries are given with their documents, only so many written ones are learnt from, drawn by hash. Those of
    logs come on top: a log takes nothing away.
    """
    given, written = given_and_written((one for one in lists if one.split == "train"), queries)
    answered = sum(1 for one in given if queries[one.query_id].document_id)
    limited = settings.written_per_given is not None and answered
    chosen = given + by_hash(written)[: round(answered * (settings.written_per_given or 0)) if limited else None]
    language_of = {one.query_id: queries[one.query_id].language for one in chosen}
    by_language = language_weights(Counter(language_of.values()), settings.language_balance)
    return lambda one: by_language[language_of[one.query_id]] if one.query_id in language_of else 0.0
