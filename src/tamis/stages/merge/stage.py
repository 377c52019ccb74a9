"""The stage merge: from specialists to one model that knows its first stages."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from tamis.artifacts import versions, write_json
from tamis.artifacts.inputs import input_hashes
from tamis.context import Workshop
from tamis.file_modes import write_tensors
from tamis.models.checkpoint import Deployment, find_checkpoint, read_facts
from tamis.models.saving import save_student
from tamis.models.warm import WarmCrossEncoder
from tamis.pipeline.recipe import Recipe
from tamis.progress import track
from tamis.records import Facts
from tamis.stages.corpus.clean import documents_hash
from tamis.stages.lists.held_out import domains_of
from tamis.stages.lists.settings import GENERAL
from tamis.stages.merge.judge import judge_without_labels
from tamis.stages.merge.merge import Curve as MergeCurve
from tamis.stages.merge.merge import judgements, merge_specialists
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
from tamis.stages.merge.weights import at_least, choose_weights
from tamis.stages.scores.teachers.identity import teacher_of
from tamis.stages.train.stage import training_texts


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
    domains = domains_of(lists)
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
