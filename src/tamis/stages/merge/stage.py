"""The stage merge: from specialists to one model that knows its first stages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from tamis.artifacts import versions, write_json
from tamis.artifacts.inputs import input_hashes
from tamis.context import Workshop
from tamis.file_modes import write_tensors
from tamis.models.checkpoint import Deployment, deployed_weights, find_checkpoint, read_facts
from tamis.models.saving import save_student
from tamis.models.student import Student
from tamis.models.warm import WarmCrossEncoder
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import Facts, TrainingList
from tamis.stages.corpus.clean import documents_hash
from tamis.stages.lists.held_out import domains_of
from tamis.stages.lists.settings import GENERAL
from tamis.stages.merge.judge import judge_without_labels
from tamis.stages.merge.merge import Curve as MergeCurve
from tamis.stages.merge.merge import MergePath, judgements, merge_specialists
from tamis.stages.merge.model_card import model_card, target_facts
from tamis.stages.merge.previous_runs import old_domains_identity
from tamis.stages.merge.weigh import (
    held_out_heads,
    judged_files,
    judged_heads,
    level_of,
    rerank_depth,
    weighing_queries,
)
from tamis.stages.merge.weights import Head, Weights, at_least, choose_weights
from tamis.stages.scores.teachers.identity import teacher_of
from tamis.stages.train.agreement import Texts
from tamis.stages.train.stage import training_texts


def merge_settings(recipe: Recipe) -> object:
    """Settings of the merge, and the depth for which it weighs the first stages."""
    settings = recipe.merge.model_dump(mode="json", exclude={"keep", "weigh_on"})
    facts = [settings, old_domains_identity(recipe.merge.keep), rerank_depth(recipe), recipe.seed]
    if folder := recipe.merge.weigh_on:
        return [*facts, documents_hash(folder), input_hashes(judged_files(folder), "merge")]
    known = deployed_weights(recipe.student.start)  # written queries never lower them
    return [*facts, known["general"]] if known else facts


def build_merge(shop: Workshop, folder: Path) -> Facts:
    """Merge the specialists, weigh the first stages beside the result, calibrate it, write it with its card."""
    lists, texts = training_texts(shop)
    student = shop.untrained_student()
    path = _merge(shop, student, lists, texts)
    weights, heads = _weigh(shop, student, lists)
    _calibrate(student, heads["hybrid"])
    _save(shop, folder, student, path, weights, lists)
    tried = len(path.steps)
    refused = Counter("a domain falls" if step.reason else "another step was better" for step in path.steps)
    refused.pop("another step was better", None)
    return {"counts": {"in": tried, "kept": tried - sum(refused.values()), "dropped": dict(refused)}}


def _merge(shop: Workshop, student: Student, lists: Sequence[TrainingList], texts: Texts) -> MergePath:
    """Merge the specialists; the student is left with the result."""
    settings = shop.recipe.merge
    judge = judge_without_labels(shop, student, lists, texts)
    trained = {path.stem: load_file(path) for path in shop.folders["train"].glob("*.safetensors")}
    specialists = {domain: trained[domain] for domain in domains_of(lists)}
    if settings.keep:
        # Between a model and its own child there is no common parent but the model: SLERP turns the weights then.
        specialists["start"] = trained["untrained"]
    with track("judging merges", judgements(len(specialists), len(settings.t), settings.refine)) as advance:
        model, path = merge_specialists(specialists, trained[GENERAL], trained["untrained"], judge, settings, advance)
    student.load_trained(model)
    return path


def _weigh(
    shop: Workshop, student: Student, lists: Sequence[TrainingList]
) -> tuple[Weights, Mapping[str, Sequence[Head]]]:
    """Weights of the first stages beside the merged student, and the heads, by first stage, that they follow from."""
    recipe = shop.recipe
    if recipe.merge.weigh_on:
        heads = judged_heads(shop, student, recipe.merge.weigh_on)
        return choose_weights(heads, recipe.merge.first_stage_weights), heads
    heads = held_out_heads(shop, student, weighing_queries(lists, shop.queries))
    weights = choose_weights(heads, recipe.merge.first_stage_weights)
    if recipe.student.start:
        known = read_facts(find_checkpoint(recipe.student.start)).deployment
        weights = at_least(weights, known.first_stage_weights)
    return weights, heads


def _calibrate(student: Student, heads: Sequence[Head]) -> None:
    """Move a warm student's logits so that its published score is one half between own documents and others."""
    if isinstance(student, WarmCrossEncoder):
        with torch.no_grad():
            student.bias.sub_(level_of(heads))


def _save(
    shop: Workshop,
    folder: Path,
    student: Student,
    path: MergePath,
    weights: Weights,
    lists: Sequence[TrainingList],
) -> None:
    """Write how the student was merged, its trained tensors, and the model's folder with its card."""
    write_json(folder / "path.json", _path_facts(path, weights))
    write_tensors(folder / "merged.safetensors", student.trained())
    deployment = Deployment(weights.general, _lineage(shop, path), weights.by_language)
    save_student(student, folder / "model", deployment)
    (folder / "model" / "README.md").write_text(model_card(shop, deployment, lists), encoding="utf-8")


def _path_facts(path: MergePath, weights: Weights) -> Facts:
    return {
        "domains": list(path.agreement["merged"]),
        "agreement": path.agreement,
        "steps": [_step_facts(asdict(step)) for step in path.steps],
        "t_curves": [_curve_facts(curve) for curve in path.curves()],
        "order": path.order,
        "first_stage_weights": weights.general,
        "weights_by_language": weights.by_language,
        "weight_curves": weights.curves,
    }


def _lineage(shop: Workshop, path: MergePath) -> Facts:
    recipe = shop.recipe
    return {
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
