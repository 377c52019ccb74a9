"""Run a recipe: its stages in their order, each reused where its key is already there."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final, TypeVar

from tamis.artifacts import ItemStore, RunFolder, newest_results, stage_key
from tamis.artifacts.inputs import check_files
from tamis.costs.work import Estimate
from tamis.distributed import this_team
from tamis.errors import InputError, RunError, SettingsError
from tamis.evaluation.judged import check_questions
from tamis.executors.local import LOCAL, Executor
from tamis.formats.documents import document_files
from tamis.models.folders import check_folder
from tamis.own_parts import OwnPart
from tamis.pipeline.estimate import estimate
from tamis.pipeline.kept_recipe import forget_recipe, keep_recipe, kept_recipe
from tamis.pipeline.parts import Parts, Stage, open_parts
from tamis.pipeline.recipe import Recipe
from tamis.process_memory import peak_memory, release_memory
from tamis.records import Facts
from tamis.stages.merge.graded import read_graded
from tamis.stages.merge.weigh import judged_files
from tamis.stages.queries.written import check_query_files

Result = TypeVar("Result")
Announce = Callable[[str, Path, bool], None]
"""Told the name and folder of each finished stage, and whether it was reused."""
Consider = Callable[[Estimate], None]
"""Told what is left to do before it begins; what it raises ends the run there."""

NAMES: Final = ("corpus", "queries", "candidates", "scores", "lists", "train", "merge", "evaluate", "report")
"""The stages, in the order in which they run."""


def run_recipe(
    recipe: Recipe,
    root: Path,
    until: str = "report",
    announce: Announce | None = None,
    consider: Consider | None = None,
    executor: Executor = LOCAL,
    held: bool = False,
) -> dict[str, Path]:
    """Run a recipe, reusing every stage whose key is already there.

    Args:
        recipe: What to do.
        root: The run folder; made if it is not there.
        until: Last stage to run.
        announce: Called after each stage with its name, its folder, and whether it was reused.
        consider: Called once, when the corpus is read and before anything else is done; None spares the estimate.
        executor: Where models embed, score and write, and where is searched; the results are the same.
        held: Whether the caller holds the run folder, in whose files the inputs lie.

    Returns:
        Folder of each stage by name.

    Raises:
        TamisError: whatever the user can mend; finished stages and items are kept.
    """
    if until not in NAMES:
        raise SettingsError(f"no stage {until!r}; the stages are {', '.join(NAMES)}")
    _check_files(recipe, NAMES[: NAMES.index(until) + 1])
    for part in own_parts_of(recipe):
        part.check()
    import torch

    torch.set_num_threads(recipe.machine.threads)
    team = this_team()
    if not team.leads:
        team.wait()  # until the leader has made the folder and holds it
        run = RunFolder(root, recipe.name)
        with open_parts(recipe, ItemStore(root / "items.sqlite"), team) as parts:
            return _run_stages(parts, until, run, None, None)
    run = RunFolder(root, recipe.name)
    holding = nullcontext() if held else run.held()
    with holding, open_parts(recipe, ItemStore(root / "items.sqlite"), team, executor) as parts:
        team.wait()
        if own_parts_of(recipe):
            forget_recipe(root)
        else:
            keep_recipe(recipe, root)
        return _run_stages(parts, until, run, announce, consider)


def with_finished(root: Path, do: Callable[[Parts], Result]) -> Result:
    """Do something with what is finished of a run, up to the stage merge; nothing is run.

    Args:
        root: The run folder; held meanwhile.
        do: Given the parts of the run, which are closed afterwards; `context.folders` names the finished stages.

    Returns:
        What it returned.

    Raises:
        RunError: the folder holds no run, its recipe is not kept, or not even its corpus is finished.
        TamisError: a file or model that the recipe names is not there any more.
    """
    recipe = kept_recipe(root)
    import torch

    torch.set_num_threads(recipe.machine.threads)
    run = RunFolder(root, recipe.name)
    with run.held(), open_parts(recipe, ItemStore(root / "items.sqlite")) as parts:
        stages = [stage for stage in parts.stages if NAMES.index(stage.name) <= NAMES.index("merge")]
        if "corpus" in _unfinished(stages, parts, run, _Keys(parts)):
            raise RunError(f"{root}: the stage corpus of its recipe is not finished; run the recipe again")
        return do(parts)


def with_corpus(recipe: Recipe, root: Path, do: Callable[[Parts], Result], announce: Announce | None = None) -> Result:
    """Do something with the run folder of a recipe once its documents are read, and nothing of later stages.

    Args:
        recipe: As for `run_recipe`, as `root` and `announce`.
        root: The run folder; made if it is not there, and held meanwhile.
        do: Given the parts of the run, which are closed afterwards.
        announce: Told of the stage corpus.

    Returns:
        What it returned.

    Raises:
        TamisError: whatever the user can mend.
    """
    _check_files(recipe, ("corpus", "queries"))
    run = RunFolder(root, recipe.name)
    with run.held(), open_parts(recipe, ItemStore(root / "items.sqlite")) as parts:
        _run_stages(parts, "corpus", run, announce, None)
        return do(parts)


def stage_keys(recipe: Recipe) -> dict[str, str]:
    """Key of every stage of a recipe, without running it: hashes of settings, data and versions.

    Raises:
        TamisError: a file or model that the recipe names is not there.
    """
    with tempfile.TemporaryDirectory() as folder, open_parts(recipe, ItemStore(Path(folder) / "items.sqlite")) as parts:
        keys, folders = _Keys(parts), parts.context.folders
        for stage in parts.stages:
            _, key = keys.of(stage)
            folders[stage.name] = Path(key)  # a stage's folder is called by its key
        return {name: path.name for name, path in folders.items()}


def own_parts_of(recipe: Recipe) -> list[OwnPart]:
    """The functions of the user's own that a recipe names."""
    teachers = [teacher for teacher in recipe.scores.teachers if isinstance(teacher, OwnPart)]
    return [part for part in (recipe.queries.writer, recipe.candidates.retriever, *teachers) if part]


def _run_stages(
    parts: Parts, until: str, run: RunFolder, announce: Announce | None, consider: Consider | None
) -> dict[str, Path]:
    wanted = NAMES[: NAMES.index(until) + 1]
    stages = [stage for stage in parts.stages if stage.name in wanted]
    keys = _Keys(parts)
    for stage in stages:
        _run_stage(stage, parts, run, announce, *keys.of(stage))
        if "lists" in wanted:
            _check_before_it_costs(stage.name, parts)
        if stage.name == "corpus" and consider:
            consider(estimate(parts, _unfinished(stages, parts, run, keys)))
    return parts.context.folders


def _check_before_it_costs(finished: str, parts: Parts) -> None:
    """What would end the stage lists, found before the hours or the money that the stages between would take."""
    if finished == "corpus":
        parts.lists.check_languages()
    elif finished == "queries":
        parts.queries.check(parts.recipe.name)


class _Keys:
    """The keys of stages, each made once: it hashes the files of models."""

    def __init__(self, parts: Parts) -> None:
        self._folders = parts.context.folders
        self._known: dict[str, tuple[Facts, str]] = {}

    def of(self, stage: Stage) -> tuple[Facts, str]:
        """What a stage depends on, and the key that is made of it; the stages that it reads are finished."""
        if stage.name not in self._known:
            reads = {name: self._folders[name].name for name in stage.reads if name in self._folders}
            settings = stage.key()
            facts = {"version": stage.version, "settings": settings, "reads": reads}
            self._known[stage.name] = facts, stage_key(stage.name, stage.version, settings, reads)
        return self._known[stage.name]


def _unfinished(stages: Sequence[Stage], parts: Parts, run: RunFolder, keys: _Keys) -> list[str]:
    """Names of the first stage that is not finished and of all after it; the context gets the folders of the others.

    The key of what follows is not looked at: that of the evaluation would open its questions.
    """
    for number, stage in enumerate(stages):
        _, key = keys.of(stage)
        if not run.finished(stage.name, key):
            return [other.name for other in stages[number:]]
        parts.context.folders[stage.name] = run.folder(stage.name, key)
    return []


def _check_files(recipe: Recipe, stages: Sequence[str]) -> None:
    """Name what late stages would miss before hours of work, not after; of data only what the merge is judged by."""
    if "queries" in stages:
        check_query_files(recipe.queries)
    if "candidates" in stages:
        check_folder(recipe.candidates.dense.path)
        check_files(list(recipe.candidates.runs.values()), "candidates")
    if "merge" in stages:
        for run in recipe.merge.keep:
            newest_results(run, "train")
        for folder in filter(None, (recipe.merge.judged, recipe.merge.weigh_on)):
            check_files([*document_files(folder), *judged_files(folder)], "merge")
            check_questions(*judged_files(folder))
        if recipe.merge.judged:
            read_graded(recipe.merge.judged, recipe.corpus.max_chars)
    if "evaluate" in stages and recipe.evaluate:
        for path in (recipe.evaluate.queries, recipe.evaluate.qrels, *recipe.evaluate.runs.values()):
            if not path.is_file():
                raise InputError(
                    f"{path}: not found; the recipe's evaluate section names it, use --until merge without it"
                )


def _run_stage(stage: Stage, parts: Parts, run: RunFolder, announce: Announce | None, facts: Facts, key: str) -> None:
    team, folders = parts.context.team, parts.context.folders
    reused = team.agree(run.finished(stage.name, key))
    if not reused and team.leads:

        def fill(folder: Path) -> Facts:
            return {**stage.run(folder), "peak_memory_bytes": peak_memory()}

        run.build(stage.name, key, facts, fill)
        release_memory()  # what one stage leaves in pieces the next would not fill
    elif not reused and stage.name == "train":
        # Every process trains; what the others write is the leader's over again.
        with tempfile.TemporaryDirectory() as folder:
            stage.run(Path(folder))
    team.wait()
    folders[stage.name] = run.folder(stage.name, key)
    if announce:
        announce(stage.name, folders[stage.name], reused)
