"""The stage train: a general student, then one specialist for each domain."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tamis.artifacts import item_key, write_json
from tamis.context import Workshop, texts_of
from tamis.distributed import whole
from tamis.file_modes import write_tensors
from tamis.machine import resolve_precision
from tamis.models.checkpoint import model_identity
from tamis.models.precision import product_rate
from tamis.models.sequence_student import SequenceStudent
from tamis.models.student import Student
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import Facts, Query, TrainingList
from tamis.stages.lists.draw import by_hash
from tamis.stages.lists.held_out import domains_of, given_and_written, judging_lists
from tamis.stages.lists.settings import GENERAL
from tamis.stages.train.agreement import Texts
from tamis.stages.train.batches import endless_batches, language_weights
from tamis.stages.train.checkpoint import StateFile
from tamis.stages.train.monitor import watching
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.student_scores import digest
from tamis.stages.train.train import Curve, Machine, train_student

Tensors = Mapping[str, Tensor]


def training_texts(shop: Workshop) -> tuple[list[TrainingList], Texts]:
    """All lists, and the texts they speak of, prepared."""
    lists = shop.read("lists", TrainingList)
    queries = {one.query_id: shop.queries[one.query_id].text for one in lists}
    documents = texts_of(shop.documents)
    origins = {doc_id: document.origin for doc_id, document in shop.documents.items()}
    shop.prepare(queries, {doc_id: text for doc_id, text in documents.items() if origins[doc_id] == "target"})
    shop.prepare({}, {doc_id: text for doc_id, text in documents.items() if origins[doc_id] == "general"})
    return lists, Texts(shop.prepared, queries, documents)


def train_settings(recipe: Recipe) -> object:
    """Settings of the training."""
    student = recipe.student
    start = model_identity(student.start) if student.start else None
    facts = [student.model_dump(mode="json", exclude={"start"}), start, recipe.train.model_dump(mode="json")]
    return [*facts, recipe.merge.held_out, recipe.seed, resolve_precision(recipe.precision)]


def build_train(shop: Workshop, folder: Path) -> Facts:
    """Train the general student on given and written queries alike, then one specialist per domain from it."""
    recipe = shop.recipe
    if not shop.team.leads:
        shop.team.wait()  # until the leader has prepared the texts, which are then read from its files
    lists, texts = training_texts(shop)
    if shop.team.leads:
        shop.team.wait()
    domains = domains_of(lists)
    student = shop.untrained_student()
    start = student.trained()
    write_tensors(folder / "untrained.safetensors", start)
    if shop.shards and isinstance(student, SequenceStudent):
        student.shard(shop.device)
    curves: dict[str, Curve] = {}
    # Once: it hashes the files of the model that the student starts from.
    identity = [shop.folders["lists"].name, train_settings(recipe)]

    def unit(name: str, parent: Tensors, held_out: Sequence[TrainingList], most: int, wanted: set[str]) -> Tensors:
        weight = list_weights((one for one in lists if one.domain in wanted), shop.queries, recipe.train)
        steps = steps_of(recipe.train, most, sum(1 for one in lists if weight(one) > 0))
        file = shop.folders["lists"] / "lists.parquet"
        batches = endless_batches(file, weight, recipe.train.lists_per_step, recipe.seed)
        tensors, curves[name] = _train_unit(shop, [*identity, name], student, parent, batches, held_out, texts, steps)
        write_tensors(folder / f"{name}.safetensors", tensors)
        return tensors

    judging = judging_lists(recipe, lists, shop.queries)
    judged = [one for held_out in judging.values() for one in held_out]
    general = unit(GENERAL, start, judged, recipe.train.general_steps, {GENERAL, *domains})
    for domain in domains:
        unit(domain, general, judging[domain], recipe.train.specialist_steps, {domain})
    write_json(folder / "curves.json", {name: asdict(curve) for name, curve in curves.items()})
    facts: Facts = {"counts": {"in": len(lists), "kept": len(lists), "dropped": {}}}
    return facts | ({"warnings": warnings} if (warnings := extracts_as_answers(recipe)) else {})


def extracts_as_answers(recipe: Recipe) -> list[str]:
    """A warning where extracts are learnt from as if people had asked them; none otherwise."""
    surely = recipe.scores.seed_bonus > 1 and recipe.train.loss == "listwise"
    return [
        "extracts ask as nobody does: learnt like this they were measured to lose two points (docs/log.md); set "
        "scores.seed_bonus=0.5 and train.loss=margin-mse, which lost nothing, or let somebody write queries"
    ][: surely and "extractive" in recipe.queries.generator]


def steps_done(shop: Workshop, start: Tensors) -> dict[str, int]:
    """Steps that earlier runs have done of each student, from the lists that there are.

    Args:
        shop: The tools of the run; the stage lists is finished.
        start: What the untrained student starts with.
    """
    identity = [shop.folders["lists"].name, train_settings(shop.recipe)]
    lists = shop.read("lists", TrainingList)
    done: dict[str, int] = {}

    def trained(name: str, parent: Tensors, most: int, wanted: set[str]) -> Tensors:
        keys = _unit_keys([*identity, name], parent)
        known = shop.items.get(keys)
        if len(known) == len(keys):
            weight = list_weights((one for one in lists if one.domain in wanted), shop.queries, shop.recipe.train)
            done[name] = steps_of(shop.recipe.train, most, sum(1 for one in lists if weight(one) > 0))
            tensors: Tensors = load_tensors(known[keys[0]])
            return tensors
        state = _state_file(shop, keys).load()
        done[name] = int(state[1]["step"]) if state else 0
        return {}

    domains = domains_of(lists)
    general = trained(GENERAL, start, shop.recipe.train.general_steps, {GENERAL, *domains})
    for domain in domains if general else ():
        trained(domain, general, shop.recipe.train.specialist_steps, {domain})
    return done


def _unit_keys(identity: Sequence[object], parent: Tensors) -> list[str]:
    """Where a student and its curve lie in the item store when it is trained."""
    facts = [*identity, digest(parent)]
    return [item_key("trained", *facts), item_key("curve", *facts)]


def _state_file(shop: Workshop, keys: Sequence[str]) -> StateFile:
    return StateFile(shop.unfinished / f"{keys[0]}.safetensors")


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


def _train_unit(
    shop: Workshop,
    identity: Sequence[object],
    student: Student,
    parent: Tensors,
    batches: Iterator[Sequence[TrainingList]],
    held_out: Sequence[TrainingList],
    texts: Texts,
    steps: int,
) -> tuple[Tensors, Curve]:
    """Train one student, or take it from the item store if a killed run had finished it, or go on where it was.

    `identity` names everything that its training depends on but the parent; its last part is the student's name.
    """
    name = identity[-1]
    settings, machine = shop.recipe.train, shop.recipe.machine
    keys = _unit_keys(identity, parent)
    known = shop.items.get(keys)
    if not shop.team.agree(len(known) == len(keys)):
        student.load_trained(parent)
        if machine.checkpointing and isinstance(student, SequenceStudent):
            student.save_memory()
        kept = _state_file(shop, keys)
        how = Machine(shop.toolbox.token_budget, shop.toolbox.token_budget, machine.recompute, shop.team)
        board = shop.unfinished.with_name("tensorboard") / f"{name}-{keys[0]}" if shop.team.leads else None
        rate = product_rate(student.device, shop.precision)
        with track(f"training {name}", steps if board else 0) as advance, watching(board, advance, rate) as watch:
            curve = train_student(student, batches, held_out, texts, settings, steps, how, advance, kept, watch)
        learnt = {name: whole(tensor) for name, tensor in student.trained().items()}
        known = dict(zip(keys, (save_tensors(learnt), json.dumps(asdict(curve)).encode()), strict=True))
        if shop.team.leads:
            shop.items.put(known.items())
            kept.forget()
    return load_tensors(known[keys[0]]), Curve(**json.loads(known[keys[1]]))
