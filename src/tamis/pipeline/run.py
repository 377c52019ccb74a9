"""The stages, in their order: what each reads, which settings are its own, and what fills its folder."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from tamis.artifacts import (
    ItemStore,
    RunFolder,
    newest_results,
    stage_key,
)
from tamis.artifacts.inputs import check_files
from tamis.context import Workshop
from tamis.costs.work import Estimate
from tamis.distributed import this_team
from tamis.errors import InputError, SettingsError
from tamis.executors.local import LOCAL, Engine
from tamis.formats.documents import document_files
from tamis.pipeline.estimate import estimate
from tamis.pipeline.provenance import shown_recipe
from tamis.pipeline.recipe import Recipe
from tamis.process_memory import peak_memory
from tamis.records import Facts
from tamis.stages.candidates.stage import build_candidates, encoder_settings
from tamis.stages.corpus.stage import build_corpus, corpus_settings
from tamis.stages.evaluate.stage import build_evaluate, evaluate_settings
from tamis.stages.lists.stage import build_lists, check_languages, lists_settings
from tamis.stages.merge.stage import build_merge, merge_settings
from tamis.stages.merge.weigh import judged_files
from tamis.stages.queries.stage import build_queries, check_queries, queries_settings
from tamis.stages.queries.written import check_query_files
from tamis.stages.report.stage import build_report
from tamis.stages.scores.stage import build_scores, scores_settings
from tamis.stages.train.stage import build_train, train_settings

Result = TypeVar("Result")
Announce = Callable[[str, Path, bool], None]
"""Told the name and folder of each finished stage, and whether it was reused."""
Consider = Callable[[Estimate], None]
"""Told what is left to do before it begins; what it raises ends the run there."""


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


STAGES = (
    Stage("corpus", (), 1, corpus_settings, build_corpus),
    Stage("queries", ("corpus",), 4, queries_settings, build_queries),
    Stage("candidates", ("corpus", "queries"), 2, encoder_settings, build_candidates),
    Stage("scores", ("corpus", "queries", "candidates"), 1, scores_settings, build_scores),
    Stage("lists", ("corpus", "queries", "scores"), 3, lists_settings, build_lists),
    Stage("train", ("corpus", "queries", "lists"), 7, train_settings, build_train),
    Stage("merge", ("corpus", "queries", "lists", "train"), 13, merge_settings, build_merge),
    Stage("evaluate", ("corpus", "train", "merge"), 7, evaluate_settings, build_evaluate),
    Stage(
        "report",
        ("corpus", "queries", "lists", "train", "merge", "evaluate"),
        5,
        shown_recipe,
        build_report,
    ),
)
"""The whole pipeline, in the order in which it runs."""

NAMES = tuple(stage.name for stage in STAGES)


def run_recipe(
    recipe: Recipe,
    root: Path,
    until: str = "report",
    announce: Announce | None = None,
    consider: Consider | None = None,
    engine: Engine = LOCAL,
) -> dict[str, Path]:
    """Run a recipe, reusing every stage whose key is already there.

    Args:
        recipe: What to do.
        root: The run folder; made if it is not there.
        until: Last stage to run.
        announce: Called after each stage with its name, its folder, and whether it was reused.
        consider: Called once, when the corpus is read and before anything else is done; None spares the estimate.
        engine: Where models embed, score and write, and where is searched; the results are the same.

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
        return _run_stages(stages, Workshop(recipe, ItemStore(root / "items.sqlite"), team), run, None, None)
    run = RunFolder(root, recipe.name)
    with run.held():
        shop = Workshop(recipe, ItemStore(root / "items.sqlite"), team, engine)
        team.wait()
        return _run_stages(stages, shop, run, announce, consider)


def with_corpus(
    recipe: Recipe, root: Path, do: Callable[[Workshop], Result], announce: Announce | None = None
) -> Result:
    """Do something with the run folder of a recipe once its documents are read, and nothing of later stages.

    Args:
        recipe: As for `run_recipe`, as `root` and `announce`.
        root: The run folder; made if it is not there, and held meanwhile.
        do: Given the workshop, which is closed afterwards.
        announce: Told of the stage corpus.

    Returns:
        What it returned.

    Raises:
        TamisError: whatever the user can mend.
    """
    _check_files(recipe, ("corpus", "queries"))
    run = RunFolder(root, recipe.name)
    with run.held(), closing(Workshop(recipe, ItemStore(root / "items.sqlite"))) as shop:
        corpus = STAGES[0]
        _run_stage(corpus, shop, run, announce, *_key(corpus, shop))
        return do(shop)


def _run_stages(
    stages: Sequence[Stage], shop: Workshop, run: RunFolder, announce: Announce | None, consider: Consider | None
) -> dict[str, Path]:
    key_of = cache(lambda stage: _key(stage, shop))  # it hashes the files of models
    learns = any(stage.name == "lists" for stage in stages)
    # Before the hours or the money that the stages between would take.
    checks = {"corpus": check_languages, "queries": check_queries} if learns else {}
    try:
        for stage in stages:
            _run_stage(stage, shop, run, announce, *key_of(stage))
            if check := checks.get(stage.name):
                check(shop)
            if stage.name == "corpus" and consider:
                consider(estimate(shop, _unfinished(stages, shop, run, key_of)))
    finally:
        shop.close()
    return shop.folders


def _unfinished(
    stages: Sequence[Stage], shop: Workshop, run: RunFolder, key_of: Callable[[Stage], tuple[Facts, str]]
) -> list[str]:
    """Names of the first stage that is not finished and of all after it; the shop gets the folders of the others.

    The key of what follows is not looked at: that of the evaluation would open its questions.
    """
    for number, stage in enumerate(stages):
        _, key = key_of(stage)
        if not run.finished(stage.name, key):
            return [other.name for other in stages[number:]]
        shop.folders[stage.name] = run.folder(stage.name, key)
    return []


def _check_files(recipe: Recipe, stages: Sequence[str]) -> None:
    """Name what late stages would miss before hours of work, not after; no data is opened but examples of style."""
    from tamis.models.encoder import check_folder

    if "queries" in stages:
        check_query_files(recipe)
    if "candidates" in stages:
        check_folder(recipe.candidates.dense.path)
        check_files(list(recipe.candidates.runs.values()), "candidates")
    if "merge" in stages:
        for run in recipe.merge.keep:
            newest_results(run, "train")
        if folder := recipe.merge.weigh_on:
            check_files([*document_files(folder), *judged_files(folder)], "merge")
    if "evaluate" in stages and recipe.evaluate:
        for path in (recipe.evaluate.queries, recipe.evaluate.qrels, *recipe.evaluate.runs.values()):
            if not path.is_file():
                raise InputError(
                    f"{path}: not found; the recipe's evaluate section names it, use --until merge without it"
                )


def _key(stage: Stage, shop: Workshop) -> tuple[Facts, str]:
    """What a stage depends on, and the key that is made of it."""
    reads = {name: shop.folders[name].name for name in stage.reads if name in shop.folders}
    settings = stage.settings(shop.recipe)
    facts = {"version": stage.version, "settings": settings, "reads": reads}
    return facts, stage_key(stage.name, stage.version, settings, reads)


def _run_stage(stage: Stage, shop: Workshop, run: RunFolder, announce: Announce | None, facts: Facts, key: str) -> None:
    reused = shop.team.agree(run.finished(stage.name, key))
    if not reused and shop.team.leads:

        def fill(folder: Path) -> Facts:
            return {**stage.run(shop, folder), "peak_memory_bytes": peak_memory()}

        run.build(stage.name, key, facts, fill)
    elif not reused and stage.name == "train":
        # Every process trains; what the others write is the leader's over again.
        with tempfile.TemporaryDirectory() as folder:
            stage.run(shop, Path(folder))
    shop.team.wait()
    shop.folders[stage.name] = run.folder(stage.name, key)
    if announce:
        announce(stage.name, shop.folders[stage.name], reused)
