"""Train and merge: from lists to one model."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from tamis.artifacts import (
    item_key,
    versions,
    write_json,
)
from tamis.building.card import model_card
from tamis.building.feed import endless_batches, language_weights
from tamis.building.old_domains import old_domains, old_domains_identity
from tamis.building.state import StateFile
from tamis.building.watching import watching
from tamis.building.workshop import Workshop, model_identity, resolve_precision, texts_of
from tamis.formulas.ranking import agreement, steady_weight, z_scores
from tamis.models.checkpoint import Deployment
from tamis.models.precision import product_rate
from tamis.models.saving import save_student
from tamis.models.sequence_student import SequenceStudent
from tamis.models.student import Student, score_prepared
from tamis.progress import track
from tamis.records import Query, TrainingList
from tamis.settings import Recipe, TrainSettings
from tamis.stages.candidates import search_shelves
from tamis.stages.evaluate import (
    RERANKED,
)
from tamis.stages.lists import GENERAL, by_hash
from tamis.stages.merge import Curve as MergeCurve
from tamis.stages.merge import Judge, judgements, merge_specialists
from tamis.stages.train import Curve, Machine, Texts, mean_agreement, train_student
from tamis.team import whole

Facts = dict[str, Any]
Tensors = Mapping[str, Tensor]

WEIGHING = 600
"""Most held-out queries that weigh the first stages: their standard error is then about a point."""

SCORED_BLOCK = 512
"""Pairs scored between two writes: what a kill can lose."""


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
    given, written = _given_and_written(own, queries)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(written, given))
    return [one for one in in_turn if one is not None][:most]


def _judging_lists(
    recipe: Recipe, lists: Sequence[TrainingList], queries: Mapping[str, Query]
) -> dict[str, list[TrainingList]]:
    """The held-out lists that judge students, by domain; without specialists the general student's own."""
    most = recipe.merge.held_out
    return {name: held_out_lists(lists, queries, name, most) for name in _domains(lists) or [GENERAL]}


def _given_and_written(
    lists: Iterable[TrainingList], queries: Mapping[str, Query]
) -> tuple[list[TrainingList], list[TrainingList]]:
    """Lists of given queries, which belong to general documents, and of written ones; order is kept."""
    given: list[TrainingList] = []
    written: list[TrainingList] = []
    for one in lists:
        (given if queries[one.query_id].origin == "general" else written).append(one)
    return given, written


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
    save_file(dict(start), folder / "untrained.safetensors")
    if shop.shards and isinstance(student, SequenceStudent):
        student.shard(shop.device)
    curves: dict[str, Curve] = {}
    # Once: it hashes the files of the model that the student starts from.
    identity = [shop.folders["lists"].name, train_settings(recipe)]

    def unit(name: str, parent: Tensors, held_out: Sequence[TrainingList], steps: int, wanted: set[str]) -> Tensors:
        weight = _weights((one for one in lists if one.domain in wanted), shop.queries, recipe.train)
        file = shop.folders["lists"] / "lists.parquet"
        batches = endless_batches(file, weight, recipe.train.lists_per_step, recipe.seed)
        tensors, curves[name] = _train_unit(shop, [*identity, name], student, parent, batches, held_out, texts, steps)
        save_file(dict(tensors), folder / f"{name}.safetensors")
        return tensors

    judging = _judging_lists(recipe, lists, shop.queries)
    judged = [one for held_out in judging.values() for one in held_out]
    general = unit(GENERAL, start, judged, recipe.train.general_steps, {GENERAL, *domains})
    for domain in domains:
        unit(domain, general, judging[domain], recipe.train.specialist_steps, {domain})
    write_json(folder / "curves.json", {name: asdict(curve) for name, curve in curves.items()})
    return {"counts": {"in": len(lists), "kept": len(lists), "dropped": {}}}


def _weights(
    lists: Iterable[TrainingList], queries: Mapping[str, Query], settings: TrainSettings
) -> Callable[[TrainingList], float]:
    """Probability of each list to be learnt from in a pass; 0 for all but the given ones.

    Where queries are given, only so many written ones are learnt from, drawn by hash.
    """
    given, written = _given_and_written((one for one in lists if one.split == "train"), queries)
    chosen = given + by_hash(written)[: round(len(given) * settings.written_per_given) if given else None]
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
    facts = [*identity, _digest(parent)]
    keys = [item_key("trained", *facts), item_key("curve", *facts)]
    known = shop.items.get(keys)
    if not shop.team.agree(len(known) == len(keys)):
        student.load_trained(parent)
        if machine.checkpointing and isinstance(student, SequenceStudent):
            student.save_memory()
        kept = StateFile(shop.unfinished / f"{keys[0]}.safetensors")
        how = Machine(machine.token_budget, machine.token_budget, machine.recompute, shop.team)
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


def _digest(tensors: Tensors) -> str:
    return hashlib.sha256(save_tensors(dict(tensors))).hexdigest()


def _tensor_digest(tensor: Tensor) -> str:
    return hashlib.blake2b(tensor.contiguous().view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()


def merge_settings(recipe: Recipe) -> object:
    """Settings of the merge, and the depth for which it weighs the first stages."""
    settings = recipe.merge.model_dump(mode="json", exclude={"keep"})
    return [settings, old_domains_identity(recipe.merge.keep), rerank_depth(recipe), recipe.seed]


def rerank_depth(recipe: Recipe) -> int:
    """How many candidates the model will rerank; of the evaluation's settings no other is looked at before it."""
    return recipe.evaluate.depth if recipe.evaluate else 20


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
    weights, curves = _first_stage_weights(shop, student, lists)
    steps = [_step_facts(asdict(step)) for step in path.steps]
    facts = {
        "domains": list(path.agreement["merged"]),
        "agreement": path.agreement,
        "steps": steps,
        "t_curves": [_curve_facts(curve) for curve in path.curves()],
        "order": path.order,
        "first_stage_weights": weights,
        "weight_curves": curves,
    }
    write_json(folder / "path.json", facts)
    save_file(dict(model), folder / "merged.safetensors")
    lineage = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "start": str(recipe.student.start or recipe.candidates.dense.path),
        "encoder": str(recipe.candidates.dense.path),
        "parents": path.order,
        "stages": {name: shop.folders[name].name for name in ("corpus", "queries", "scores", "lists", "train")},
        "agreement": path.agreement["merged"],
        "versions": versions(),
    }
    save_student(student, folder / "model", Deployment(weights, lineage))
    (folder / "model" / "README.md").write_text(model_card(shop, lineage, lists), encoding="utf-8")
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
        budget = recipe.machine.token_budget
        return {domain: mean_agreement(student, own, texts, budget) for domain, own in held_out.items()}

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


def _first_stage_weights(
    shop: Workshop, student: Student, lists: Sequence[TrainingList]
) -> tuple[dict[str, float], dict[str, list[list[float]]]]:
    """For each reranked first stage, the weight of its score beside the student's, and how well each weight does.

    Judged by nDCG@10 of the document that each held-out query belongs to, among the candidates down to the depth at
    which the model will be used; a weight other than 1 needs evidence (`steady_weight`). Not by agreement with the
    teacher: it holds the first stage's own scorers and flatters them (docs/log.md).
    """
    recipe = shop.recipe
    queries = weighing_queries(lists, shop.queries)
    vectors = shop.vectors("query", "dense", texts_of(shop.queries))
    found = dict(
        (query.query_id, ranked)
        for query, ranked in search_shelves(queries, vectors, shop.shelves, rerank_depth(recipe), RERANKED)
    )
    weights: dict[str, float] = {}
    curves: dict[str, list[list[float]]] = {}
    for first_stage in RERANKED:
        heads = [found[query.query_id][first_stage] for query in queries]
        pairs = [(head.query_id, doc_id) for head in heads for doc_id in head.doc_ids]
        logits = score_pairs(shop, student, pairs, f"weighing {first_stage}")
        # Per query: the student's and the first stage's z-scores, and which document is the query's own.
        parts = [
            (
                z_scores(np.array([logits[query.query_id, doc_id] for doc_id in head.doc_ids])),
                z_scores(np.array(head.scores)),
                np.array([float(doc_id == query.document_id) for doc_id in head.doc_ids]),
            )
            for query, head in zip(queries, heads, strict=True)
        ]
        choices = sorted(recipe.merge.first_stage_weights)
        values = np.array(
            [[agreement(s + weight * f, own) if own.any() else 0.0 for s, f, own in parts] for weight in choices]
        )
        curves[first_stage] = [[w, float(value)] for w, value in zip(choices, values.mean(axis=1), strict=True)]
        weights[first_stage] = steady_weight(choices, values)
    return weights, curves


def weighing_queries(lists: Sequence[TrainingList], queries: Mapping[str, Query]) -> list[Query]:
    """The held-out queries that weigh the first stages, at most `WEIGHING` drawn by hash.

    The given ones, or the written ones where none are given.
    """
    given, written = _given_and_written((one for one in lists if one.split == "held-out"), queries)
    chosen = given or written
    if len(chosen) > WEIGHING:
        chosen = by_hash(chosen)[:WEIGHING]
    return [queries[one.query_id] for one in chosen]


def score_pairs(
    shop: Workshop, student: Student, pairs: Sequence[tuple[str, str]], label: str
) -> dict[tuple[str, str], float]:
    """Logits of (query id, document id) pairs whose texts are prepared, from the item store where they are known.

    Pairs are scored in fixed blocks of similar length, each computed whole or not at all, so that a killed and resumed
    run ends with the same bits.
    """
    query_ids, doc_ids = sorted({query_id for query_id, _ in pairs}), sorted({doc_id for _, doc_id in pairs})
    query_of = dict(zip(query_ids, shop.prepared.queries(query_ids, {}), strict=True))
    document_of = dict(zip(doc_ids, shop.prepared.documents(doc_ids, {}), strict=True))
    ordered = sorted(pairs, key=lambda pair: (len(query_of[pair[0]]) + len(document_of[pair[1]]), pair))
    blocks = [ordered[start : start + SCORED_BLOCK] for start in range(0, len(ordered), SCORED_BLOCK)]
    identity = (_digest(student.trained()), shop.student_identity)
    query_hash = {query_id: _tensor_digest(tensor) for query_id, tensor in query_of.items()}
    document_hash = {doc_id: _tensor_digest(tensor) for doc_id, tensor in document_of.items()}
    contents = [[f"{query_hash[q]} {document_hash[d]}" for q, d in block] for block in blocks]
    keys = [item_key("logits", *identity, *content) for content in contents]
    known = shop.items.get(keys)
    logits: dict[tuple[str, str], float] = {}
    with track(label, sum(len(block) for block, key in zip(blocks, keys, strict=True) if key not in known)) as advance:
        for block, key in zip(blocks, keys, strict=True):
            if key not in known:
                values = np.empty(len(block), np.float32)
                queries, documents = [query_of[q] for q, _ in block], [document_of[d] for _, d in block]
                for batch, scores in score_prepared(student, queries, documents, shop.recipe.machine.token_budget):
                    values[batch] = scores
                    advance(len(batch))
                known[key] = values.tobytes()
                shop.items.put([(key, known[key])])
            logits.update(zip(block, np.frombuffer(known[key], np.float32).tolist(), strict=True))
    return logits
