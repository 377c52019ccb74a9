"""Train and merge: from lists to one model."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from tamis.artifacts import (
    item_key,
    versions,
    write_json,
)
from tamis.building.card import model_card
from tamis.building.feed import endless_batches, language_weights
from tamis.building.identities import model_identity, resolve_precision
from tamis.building.inputs import documents_hash, input_hashes
from tamis.building.old_domains import old_domains, old_domains_identity
from tamis.building.origin import target_facts, teacher_of
from tamis.building.scoring import digest
from tamis.building.state import StateFile
from tamis.building.watching import watching
from tamis.building.weighing import (
    WEIGHING,
    held_out_heads,
    judged_files,
    judged_heads,
    level_of,
    rerank_depth,
)
from tamis.building.weights import at_least, choose_weights
from tamis.building.workshop import Workshop, texts_of
from tamis.file_modes import write_tensors
from tamis.models.checkpoint import Deployment, find_checkpoint, read_facts
from tamis.models.precision import product_rate
from tamis.models.saving import save_student
from tamis.models.sequence_student import SequenceStudent
from tamis.models.student import Student
from tamis.models.warm import WarmCrossEncoder
from tamis.progress import track
from tamis.records import GIVEN, Query, TrainingList
from tamis.settings import GENERAL, Recipe, TrainSettings
from tamis.stages.lists import by_hash
from tamis.stages.merge import Curve as MergeCurve
from tamis.stages.merge import Judge, judgements, merge_specialists
from tamis.stages.train import Curve, Machine, Texts, mean_agreement, train_student
from tamis.team import whole

Facts = dict[str, Any]
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


def _domains(lists: Sequence[TrainingList]) -> list[str]:
    return sorted({one.domain for one in lists} - {GENERAL})


def held_out_lists(
    lists: Sequence[TrainingList], queries: Mapping[str, Query], domain: str, most: int
) -> list[TrainingList]:
    """At most `most` held-out lists of a domain, drawn by hash: of given and of written queries in turn.

    Agreement on extracts alone rewards lexical matching (docs/log.md); agreement on given queries alone says nothing
    about the corpus.
    """
    own = by_hash(one for one in lists if one.domain == domain and one.split == "held-out")
    given, written = given_and_written(own, queries)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(written, given))
    return [one for one in in_turn if one is not None][:most]


def _judging_lists(
    recipe: Recipe, lists: Sequence[TrainingList], queries: Mapping[str, Query]
) -> dict[str, list[TrainingList]]:
    """The held-out lists that judge students, by domain; without specialists the general student's own."""
    most = recipe.merge.held_out
    return {name: held_out_lists(lists, queries, name, most) for name in _domains(lists) or [GENERAL]}


def given_and_written(
    lists: Iterable[TrainingList], queries: Mapping[str, Query]
) -> tuple[list[TrainingList], list[TrainingList]]:
    """Lists of given queries, those of general documents and of logs, and of written ones; order is kept."""
    given: list[TrainingList] = []
    written: list[TrainingList] = []
    for one in lists:
        (given if queries[one.query_id].generator == GIVEN else written).append(one)
    return given, written


def weighing_queries(lists: Sequence[TrainingList], queries: Mapping[str, Query]) -> list[Query]:
    """The held-out queries that weigh the first stages, at most `WEIGHING` drawn by hash.

    The given ones, or the written ones where none are given. Those of logs cannot: of them no document is known.
    """
    held_out = (one for one in lists if one.split == "held-out" and queries[one.query_id].document_id)
    given, written = given_and_written(held_out, queries)
    chosen = given or written
    if len(chosen) > WEIGHING:
        chosen = by_hash(chosen)[:WEIGHING]
    return [queries[one.query_id] for one in chosen]


def train_settings(recipe: Recipe) -> object:
    """Settings of the training."""
    student = recipe.student
    start = model_identity(student.start) if student.start else None
    facts = [student.model_dump(mode="json", exclude={"start"}), start, recipe.train.model_dump(mode="json")]
    return [*facts, recipe.merge.held_out, recipe.seed, resolve_precision(recipe)]


def build_train(shop: Workshop, folder: Path) -> Facts:
    """Train the general student on given and written queries alike, then one specialist per domain from it."""
    recipe = shop.recipe
    if not shop.team.leads:
        shop.team.wait()  # until the leader has prepared the texts, which are then read from its files
    lists, texts = training_texts(shop)
    if shop.team.leads:
        shop.team.wait()
    domains = _domains(lists)
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

    judging = _judging_lists(recipe, lists, shop.queries)
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

    domains = _domains(lists)
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


def merge_settings(recipe: Recipe) -> object:
    """Settings of the merge, and the depth for which it weighs the first stages."""
    settings = recipe.merge.model_dump(mode="json", exclude={"keep", "weigh_on"})
    facts = [settings, old_domains_identity(recipe.merge.keep), rerank_depth(recipe), recipe.seed]
    if folder := recipe.merge.weigh_on:
        facts += [documents_hash(folder), input_hashes(judged_files(folder), "merge")]
    return facts


def build_merge(shop: Workshop, folder: Path) -> Facts:
    """Merge the specialists, choose the first-stage weights, write the model."""
    recipe = shop.recipe
    lists, texts = training_texts(shop)
    domains = _domains(lists)
    student = shop.untrained_student()
    judge = judge_without_labels(shop, student, lists, texts)
    trained = {path.stem: load_file(path) for path in shop.folders["train"].glob("*.safetensors")}
    specialists = {domain: trained[domain] for domain in domains}
    if recipe.merge.keep:
        # Between a model and its own child there is no common parent but the model: SLERP turns the weights then.
        specialists["start"] = trained["untrained"]
    with track("judging merges", judgements(len(specialists), len(recipe.merge.t), recipe.merge.refine)) as advance:
        model, path = merge_specialists(
            specialists, trained[GENERAL], trained["untrained"], judge, recipe.merge, advance
        )
    student.load_trained(model)
    if recipe.merge.weigh_on:
        heads = judged_heads(shop, student, recipe.merge.weigh_on)
    else:
        heads = held_out_heads(shop, student, weighing_queries(lists, shop.queries))
    weights = choose_weights(heads, recipe.merge.first_stage_weights)
    if recipe.student.start and not recipe.merge.weigh_on:
        known = read_facts(find_checkpoint(recipe.student.start)).deployment
        weights = at_least(weights, known.first_stage_weights)
    if isinstance(student, WarmCrossEncoder):
        with torch.no_grad():
            student.bias.sub_(level_of(heads["hybrid"]))
    model = student.trained()
    steps = [_step_facts(asdict(step)) for step in path.steps]
    facts = {
        "domains": list(path.agreement["merged"]),
        "agreement": path.agreement,
        "steps": steps,
        "t_curves": [_curve_facts(curve) for curve in path.curves()],
        "order": path.order,
        "first_stage_weights": weights.general,
        "weights_by_language": weights.by_language,
        "weight_curves": weights.curves,
    }
    write_json(folder / "path.json", facts)
    write_tensors(folder / "merged.safetensors", model)
    lineage = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "start": str(recipe.student.start or recipe.candidates.dense.path),
        "encoder": str(recipe.candidates.dense.path),
        "teacher": teacher_of(recipe),
        "target": target_facts(recipe, shop.documents.values()),
        "parents": path.order,
        "stages": {name: shop.folders[name].name for name in ("corpus", "queries", "scores", "lists", "train")},
        "agreement": path.agreement["merged"],
        "weighed_on": str(recipe.merge.weigh_on or "held-out queries"),
        "versions": versions(),
    }
    deployment = Deployment(weights.general, lineage, weights.by_language)
    save_student(student, folder / "model", deployment)
    (folder / "model" / "README.md").write_text(model_card(shop, deployment, lists), encoding="utf-8")
    tried = len(path.steps)
    refused = Counter("a domain falls" if step.reason else "another step was better" for step in path.steps)
    refused.pop("another step was better", None)
    return {"counts": {"in": tried, "kept": tried - sum(refused.values()), "dropped": dict(refused)}}


def judge_without_labels(shop: Workshop, student: Student, lists: Sequence[TrainingList], texts: Texts) -> Judge:
    """What judges a set of tensors: agreement with the teacher on the held-out lists of every domain, old ones too.

    Args:
        shop: The tools of the run.
        student: Whose tensors are judged; left with the last ones.
        lists: All lists of the run.
        texts: Their texts.
    """
    recipe = shop.recipe
    held_out = _judging_lists(recipe, lists, shop.queries)
    for run in recipe.merge.keep:
        old = old_domains(run)
        found = _judging_lists(recipe, old.lists, old.queries)
        held_out |= {f"{run.name}/{domain}": own for domain, own in found.items()}
        queries, documents = texts_of(old.queries), texts_of(old.documents)
        texts = Texts(texts.prepared, {**texts.queries, **queries}, {**texts.documents, **documents})

    def judge(tensors: Tensors) -> dict[str, float]:
        student.load_trained(tensors)
        budget = shop.toolbox.token_budget
        return {domain: mean_agreement(student, own, texts, recipe.train, budget) for domain, own in held_out.items()}

    return judge


def _step_facts(step: Facts) -> Facts:
    statistics = step.pop("statistics")
    return {
        "merged": list(step["merged"]),
        "with": step["other"],
        "t": step["t"],
        "agreement": step["agreement"],
        "accepted": step["accepted"],
        "reason": step["reason"],
        "linear": statistics["linear"],
        "tensors": statistics["tensors"],
        "mean_angle": statistics["mean_angle"],
        "layer_angles": statistics["layer_angles"],
    }


def _curve_facts(curve: MergeCurve) -> Facts:
    points = [point._asdict() for point in curve.points]
    return {"merged": list(curve.merged), "with": curve.other, "points": points}
