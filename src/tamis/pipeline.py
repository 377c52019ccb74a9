"""The stages, in their order: what each reads, which settings are its own, and what fills its folder."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.artifacts import (
    ItemStore,
    RunFolder,
    stage_key,
)
from tamis.building.judging import build_evaluate, build_report, evaluate_settings
from tamis.building.mining import (
    build_candidates,
    build_corpus,
    build_lists,
    build_queries,
    build_scores,
    check_files,
    corpus_settings,
    encoder_settings,
    queries_settings,
    scores_settings,
)
from tamis.building.training import build_merge, build_train, merge_settings, train_settings
from tamis.building.workshop import Workshop, peak_memory
from tamis.errors import InputError, SettingsError
from tamis.settings import Recipe, Section
from tamis.team import this_team

Facts = dict[str, Any]
Announce = Callable[[str, Path, bool], None]
"""Told the name and folder of each finished stage, and whether it was reused."""


@dataclass(frozen=True)
class Stage:
    """One arrow of the pipeline.

    Attributes:
        name: One word, everywhere the same.
        reads: Stages whose results it reads; their keys are part of its own.
        version: Raised when its code changes its result.
        settings: The part of the recipe that changes its result, JSON-like.
        run: Fills the folder; returns counts and other facts for the manifest.
    """

    name: str
    reads: tuple[str, ...]
    version: int
    settings: Callable[[Recipe], object]
    run: Callable[[Workshop, Path], Facts]


def _section(name: str) -> Callable[[Recipe], object]:
    def settings(recipe: Recipe) -> object:
        section: Section = getattr(recipe, name)
        return [section.model_dump(mode="json"), recipe.seed]

    return settings


STAGES = (
    Stage("corpus", (), 1, corpus_settings, build_corpus),
    Stage("queries", ("corpus",), 4, queries_settings, build_queries),
    Stage("candidates", ("corpus", "queries"), 2, encoder_settings, build_candidates),
    Stage("scores", ("corpus", "queries", "candidates"), 1, scores_settings, build_scores),
    Stage("lists", ("queries", "scores"), 2, _section("lists"), build_lists),
    Stage("train", ("corpus", "queries", "lists"), 7, train_settings, build_train),
    Stage("merge", ("corpus", "queries", "lists", "train"), 10, merge_settings, build_merge),
    Stage("evaluate", ("corpus", "train", "merge"), 4, evaluate_settings, build_evaluate),
    Stage(
        "report",
        ("corpus", "queries", "lists", "train", "merge", "evaluate"),
        2,
        lambda recipe: recipe.name,
        build_report,
    ),
)
"""The whole pipeline, in the order in which it runs."""

NAMES = tuple(stage.name for stage in STAGES)


def run_recipe(recipe: Recipe, root: Path, until: str = "report", announce: Announce | None = None) -> dict[str, Path]:
    """Run a recipe, reusing every stage whose key is already there.

    Args:
        recipe: What to do.
        root: The run folder; made if it is not there.
        until: Last stage to run.
        announce: Called after each stage with its name, its folder, and whether it was reused.

    Returns:
        Folder of each stage by name.

    Raises:
        TamisError: whatever the user can mend; finished stages and items are kept.
    """
    if until not in NAMES:
        raise SettingsError(f"no stage {until!r}; the stages are {', '.join(NAMES)}")
    _check_files(recipe, NAMES[: NAMES.index(until) + 1])
    import torch

    torch.set_num_threads(recipe.machine.threads)
    team = this_team()
    wanted = STAGES[: NAMES.index(until) + 1]
    stages = [stage for stage in wanted if stage.name != "evaluate" or recipe.evaluate]
    if not team.leads:
        team.wait()  # until the leader has made the folder and holds it
        run = RunFolder(root, recipe.name)
        return _run_stages(stages, Workshop(recipe, ItemStore(root / "items.sqlite"), team), run, None)
    run = RunFolder(root, recipe.name)
    with run.held():
        shop = Workshop(recipe, ItemStore(root / "items.sqlite"), team)
        team.wait()
        return _run_stages(stages, shop, run, announce)


def _run_stages(stages: Sequence[Stage], shop: Workshop, run: RunFolder, announce: Announce | None) -> dict[str, Path]:
    try:
        for stage in stages:
            _run_stage(stage, shop, run, announce)
    finally:
        shop.close()
    return shop.folders


def _check_files(recipe: Recipe, stages: Sequence[str]) -> None:
    """Name what late stages would miss before hours of work, not after; nothing is opened."""
    from tamis.models.encoder import check_folder

    if "candidates" in stages:
        check_folder(recipe.candidates.dense.path)
        check_files(list(recipe.candidates.runs.values()), "candidates")
    if "evaluate" in stages and recipe.evaluate:
        for path in (recipe.evaluate.queries, recipe.evaluate.qrels, *recipe.evaluate.runs.values()):
            if not path.is_file():
                raise InputError(
                    f"{path}: not found; the recipe's evaluate section names it, use --until merge without it"
                )


def _run_stage(stage: Stage, shop: Workshop, run: RunFolder, announce: Announce | None) -> None:
    reads = {name: shop.folders[name].name for name in stage.reads if name in shop.folders}
    settings = stage.settings(shop.recipe)
    key = stage_key(stage.name, stage.version, settings, reads)
    reused = shop.team.agree(run.finished(stage.name, key))
    if not reused and shop.team.leads:

        def fill(folder: Path) -> Facts:
            return {**stage.run(shop, folder), "peak_memory_bytes": peak_memory()}

        run.build(stage.name, key, {"version": stage.version, "settings": settings, "reads": reads}, fill)
    elif not reused and stage.name == "train":
        # Every process trains; what the others write is the leader's over again.
        with tempfile.TemporaryDirectory() as folder:
            stage.run(shop, Path(folder))
    shop.team.wait()
    shop.folders[stage.name] = run.folder(stage.name, key)
    if announce:
        announce(stage.name, shop.folders[stage.name], reused)
