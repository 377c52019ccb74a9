"""Run a recipe, or adapt a model, from Python."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tamis.adaptation import recipe_content
from tamis.api.inputs import documents_at, queries_at
from tamis.api.recipe import Recipe
from tamis.api.results import RunResult
from tamis.artifacts import RunFolder, read_json
from tamis.distributed import this_team
from tamis.errors import SettingsError, reaching
from tamis.own_parts import Retriever, Teacher, Writer
from tamis.pipeline.idle import idle_settings
from tamis.pipeline.recipe import Recipe as Settings
from tamis.pipeline.run import NAMES, run_recipe
from tamis.progress import listening

logger = logging.getLogger(__name__)

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: The stage at work, or the one that just ended.
        what: What it does, a few words; `finished` or `reused` where it just ended.
        done: Items that are finished; records that were kept where the stage just ended.
        total: Items in all; records that came in where the stage just ended.
    """

    stage: str
    what: str
    done: int
    total: int


OnProgress = Callable[[Progress], object]


@reaching()
def run(
    recipe: Settings | str | Path,
    out: str | Path | None = None,
    until: str = "report",
    on_progress: OnProgress | None = None,
    teachers: Iterable[Teacher] | None = (),
    retriever: Retriever | None = None,
    writer: Writer | None = None,
    engine: EngineName = "local",
) -> RunResult:
    """Run a recipe from documents to report; stages that are finished in the folder are used again.

    Args:
        recipe: A recipe, or the path of a YAML file.
        out: The run folder; None for `runs/NAME`.
        until: Last stage to run: corpus, queries, candidates, scores, lists, train, merge, evaluate or report.
        on_progress: Called with a `Progress` now and then instead of what would be printed; None prints bars or lines
            to standard error.
        teachers: Functions of your own that score documents, beside the recipe's teachers. One of a name that the
            recipe holds takes its place.
        retriever: A function of your own that finds the candidates of queries about the target documents, in place of
            the recipe's search. (Its evaluation still searches; see `evaluate` for measuring a retriever.)
        writer: A function of your own that writes queries, beside the recipe's writers.
        engine: Where models and functions run: `local` for this process, `ray` for a cluster. A function that cannot be
            sent there runs in this process, which the log says.

    Raises:
        SettingsError: the recipe is not understood, there is no such stage, or a function has no name and version.
        TamisError: whatever else can be mended; finished stages and items are kept, so that the same call goes on.
    """
    settings = Recipe.from_yaml(recipe) if isinstance(recipe, str | Path) else recipe
    if not isinstance(settings, Settings):
        got = type(recipe).__name__
        raise SettingsError(
            f"tamis.run: expected a recipe or the path of one, got {got}; make one with tamis.Recipe(...)"
        )
    settings = with_own_parts(settings, teachers, retriever, writer)
    return _run(settings, Path(out) if out is not None else Path("runs") / settings.name, until, on_progress, engine)


@reaching()
def adapt(
    model: str | Path,
    documents: Any,
    out: str | Path,
    queries: Any = None,
    keep: str | Path | Iterable[str | Path] | None = (),
    encoder: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    teachers: Iterable[Teacher] | None = (),
    retriever: Retriever | None = None,
    writer: Writer | None = None,
    engine: EngineName = "local",
) -> RunResult:
    """Adapt a model to documents: a specialist is trained and merged into it, unless a domain loses by it.

    Args:
        model: Reranker to adapt: `tamis-base`, `tamis-small`, or a folder.
        documents: A path (BEIR folder, file of rows, folder of texts); a list of texts; a list of mappings, a
            DataFrame, an Arrow table or a `datasets.Dataset` with `text` and perhaps `id`, `title` and `lang`. A
            document without an id is called by its number from 0.
        out: The run folder.
        queries: Queries about these documents: paths of files; or (id of the document, query) pairs, or mappings, a
            DataFrame or a Dataset with `document_id` and `query`. Somebody has to ask: here, by `writer`, or by
            `settings`, for instance `{"queries": {"generator": "endpoint", ...}}`.
        keep: Folders of earlier runs whose domains must not suffer, one or several.
        encoder: Bi-encoder that retrieves and teaches; None for the one that the model came from.
        settings: Keys of the recipe to replace, as nested mappings: `{"train": {"specialist_steps": 100}}`.
        on_progress: As for `run`, and so are all below.
        teachers: Functions of your own that score documents.
        retriever: A function of your own that finds candidates.
        writer: A function of your own that writes queries.
        engine: Where models and functions run.

    Raises:
        SettingsError: nobody asks anything, no bi-encoder is known, or a setting is not understood.
        InputError: documents or queries that cannot be read.
        ModelError: the model is none.
        TamisError: as `run`.
    """
    inputs = Path(out) / "inputs"
    corpus, asked = documents_at(documents, inputs), queries_at(queries, inputs)
    if asked.paths and "written" in (settings or {}).get("queries", {}):
        raise SettingsError("tamis.adapt: queries and settings both name written queries; give all by queries=")
    known = Path(encoder) if encoder else None
    kept = [keep] if isinstance(keep, str | Path) else keep or ()
    content = merged(
        recipe_content(str(model), corpus.paths[0], list(map(Path, kept)), known, asked.paths), settings or {}
    )
    if writer is not None:
        content = merged(content, {"queries": {"writer": Writer.among(writer, "writer")}})
    if not any(content.get("queries", {}).get(key) for key in ("generator", "written", "logs", "writer")):
        raise SettingsError(
            "tamis.adapt: nothing asks about the documents; give queries=, pairs of a document's id and a query that "
            'a person or a language model wrote, or writer=, or settings={"queries": {"generator": ...}}; see '
            "docs/queries.md"
        )
    recipe = with_own_parts(Recipe(**content), teachers, retriever, None)
    folder, team = RunFolder(Path(out), recipe.name), this_team()  # makes it, or says that it is another's
    with folder.held() if team.leads else nullcontext():  # until the end: another call would put its documents there
        if team.leads:
            corpus.write()
            asked.write()
        team.wait()
        return _run(recipe, Path(out), "report", on_progress, engine, held=True)


def with_own_parts(
    recipe: Settings, teachers: Iterable[Teacher] | None, retriever: Retriever | None, writer: Writer | None
) -> Settings:
    """A recipe that names these functions, too.

    Raises:
        SettingsError: one of them has no name and version, or a name that is taken.
    """
    changes: dict[str, dict[str, Any]] = {}
    if own := [Teacher.among(one, f"teachers[{place}]") for place, one in enumerate(teachers or ())]:
        changes["scores"] = {"teachers": _replaced(recipe.scores.teachers, own)}
    if retriever is not None:
        changes["candidates"] = {"retriever": Retriever.among(retriever, "retriever")}
    if writer is not None:
        changes["queries"] = {"writer": Writer.among(writer, "writer")}
    if not changes:
        return recipe
    # Made again of what was set, so that all is checked as if the recipe had named them from the beginning.
    content = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    for name, change in changes.items():
        section = getattr(recipe, name)
        content[name] = {**{key: getattr(section, key) for key in section.model_fields_set}, **change}
    return Recipe(**content)


def _replaced(teachers: Iterable[Any], own: Iterable[Teacher]) -> tuple[Any, ...]:
    """The teachers of a recipe, and those that are given, each name of a function once.

    Raises:
        SettingsError: two that are given have one name.
    """
    given: dict[str, Teacher] = {}
    for teacher in own:
        if teacher.name in given:
            raise SettingsError(f"teachers: name {teacher.name!r} stands for two functions; give one of them another")
        given[teacher.name] = teacher
    kept = [given.pop(one.name, one) if isinstance(one, Teacher) else one for one in teachers]
    return (*kept, *given.values())


def merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings with some keys replaced, however deep."""
    found = dict(content)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def _run(
    recipe: Settings, out: Path, until: str, on_progress: OnProgress | None, engine: str, held: bool = False
) -> RunResult:
    from tamis.executors.ray import named_engine

    for idle in idle_settings(recipe):
        logger.warning("%s", idle)
    teller = _Teller(recipe, on_progress) if on_progress else None
    place = named_engine(engine, recipe.machine.threads, recipe.machine.device)
    with place as where, listening(teller.work if teller else None):
        folders = run_recipe(recipe, out, until, teller.stage if teller else _say, None, where, held)
    return RunResult(recipe.name, dict(folders))


class _Teller:
    """Turns what a run announces into `Progress`."""

    def __init__(self, recipe: Settings, tell: OnProgress) -> None:
        self._tell = tell
        self._left = [name for name in NAMES if name != "evaluate" or recipe.evaluate]

    def stage(self, name: str, folder: Path, reused: bool) -> None:
        """A stage ended."""
        counts = read_json(folder / "manifest.json")["counts"]
        self._left.remove(name)
        self._tell(Progress(name, "reused" if reused else "finished", counts["kept"], counts["in"]))

    def work(self, what: str, done: int, total: int) -> None:
        """Items of the stage at work were finished."""
        self._tell(Progress(self._left[0], what, done, total))


def _say(name: str, folder: Path, reused: bool) -> None:
    """Log the warnings of a stage; counts stand in the result."""
    for warning in read_json(folder / "manifest.json").get("warnings", ()):
        logger.warning("%s: %s", name, warning)
