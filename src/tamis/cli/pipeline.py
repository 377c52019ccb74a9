"""Adapt: from documents to a model of one's own. Each command reads settings, calls the library and prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.options import (
    AsJson,
    Changes,
    CorpusArgument,
    EngineOption,
    EstimateOnly,
    ModelLink,
    OutPath,
    RecipePath,
    ReportCopy,
    Yes,
    fields_of,
    print_json,
    quiet_libraries,
)
from tamis.errors import SettingsError, TamisError
from tamis.extras import require

if TYPE_CHECKING:
    from tamis.costs.work import Estimate
    from tamis.pipeline.recipe import Recipe
    from tamis.pipeline.run import Consider
    from tamis.readaptation import Comparison
    from tamis.stages.report.since import Since

DECLINED = 1
"""Exit status where the user was asked and did not agree."""


def run(
    recipe: RecipePath,
    out: OutPath = None,
    until: Annotated[str, typer.Option(help="Last stage to run, corpus to report")] = "report",
    change: Changes = None,
    results: Annotated[Path | None, typer.Option(help="JSON file for figures, seconds and memory")] = None,
    report: ReportCopy = None,
    link: ModelLink = None,
    yes: Yes = False,
    estimate: EstimateOnly = False,
    engine: EngineOption = "local",
    as_json: AsJson = False,
) -> None:
    """Run a recipe from documents to report; finished stages are reused."""
    require("tamis run", "train")
    from tamis.named_paths import check_recipe

    check_recipe(recipe, change or ())
    from tamis.cli.printing import write_results
    from tamis.pipeline.reading import read_recipe

    settings = read_recipe(recipe, change or ())
    if results and (settings.evaluate is None or until not in ("evaluate", "report")):
        raise SettingsError(f"--results {results}: nothing is measured without the stage evaluate and its section")
    folders = _run_stages(settings, out or Path("runs") / settings.name, until, yes, estimate, engine)
    if results and "evaluate" in folders:
        write_results(folders, results)
    _hand_over(folders, report, link, {} if as_json else None)


def adapt(
    model: Annotated[str, typer.Argument(help="Reranker to adapt: tamis-base, tamis-small, or a folder")],
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option("--out", help="Run folder")],
    keep: Annotated[
        list[Path] | None, typer.Option(help="Folder of an earlier run whose domains must not suffer; repeatable")
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="Bi-encoder that retrieves and teaches; default: the one that the model came from"),
    ] = None,
    queries: Annotated[
        list[Path] | None, typer.Option(help="File of written queries, rows of document-id and query; repeatable")
    ] = None,
    change: Changes = None,
    report: ReportCopy = None,
    link: ModelLink = None,
    yes: Yes = False,
    estimate: EstimateOnly = False,
    engine: EngineOption = "local",
    as_json: AsJson = False,
) -> None:
    """Adapt a model to one more corpus and merge what it learnt into it, if no domain loses by it."""
    require("tamis adapt", "train")
    from tamis.named_paths import check_corpus, check_models

    check_models([model])
    check_corpus(corpus)
    from tamis.adaptation import adapting_recipe, graded_beside, graded_gain, outcome_of
    from tamis.cli.printing import print_adapted, print_graded, print_since, print_warnings

    settings = adapting_recipe(model, corpus, keep or (), encoder, queries or (), change or ())
    folders = _run_stages(settings, out, "report", yes, estimate, engine)
    outcome = outcome_of(folders)
    if not as_json:
        print_adapted(outcome)
    judged = graded_beside(corpus, out)
    graded = None
    if judged:
        try:
            graded = graded_gain(model, folders["merge"] / "model", judged, out)
        except TamisError as error:  # the model is made, and its folder is what the user waits for
            print_warnings([f"{judged} says nothing of the result: {error}"])
    since, compared = _since_before(folders, judged)
    told = {**fields_of(outcome), "graded": graded, "since": since and fields_of(since), "compared": compared}
    _hand_over(folders, report, link, told if as_json else None)
    if as_json:
        return
    if since:
        print_since(since, compared)
    if judged and graded:
        print_graded(graded, judged)


def _since_before(folders: Mapping[str, Path], judged: Path | None) -> tuple["Since | None", "Comparison | None"]:
    """What changed since the run before in the same folder, and whether the new model is better than that one's."""
    from tamis.cli.printing import print_warnings
    from tamis.readaptation import compare_with_before
    from tamis.stages.report.since import since_before

    since = since_before(folders)
    if since is None:
        return None, None
    try:
        return since, compare_with_before(folders, since.model, judged)
    except TamisError as error:  # the model is made, and its folder is what the user waits for
        print_warnings([f"the new model was not compared with the one before: {error}"])
        return since, None


def queries(
    recipe: RecipePath,
    out: OutPath = None,
    batch_in: Annotated[
        Path | None,
        typer.Option(
            "--batch-in", help="File of answers to the prompts of --batch-out; they are taken in, and the command stops"
        ),
    ] = None,
    batch_out: Annotated[
        Path | None,
        typer.Option(
            "--batch-out", help="File for the prompts to queries.endpoint, in the form of OpenAI's and vLLM's batches"
        ),
    ] = None,
    change: Changes = None,
) -> None:
    """Exchange prompts and answers of a query-writing service as batch files."""
    if not batch_in and not batch_out:
        raise SettingsError(
            "queries needs --batch-out FILE or --batch-in FILE; to write queries use tamis run RECIPE --until queries"
        )
    require("tamis queries", "train")
    from tamis.named_paths import check_recipe

    check_recipe(recipe, change or ())
    from tamis.cli.printing import Announcer, print_exchanged
    from tamis.pipeline.reading import read_recipe
    from tamis.pipeline.run import with_corpus
    from tamis.stages.queries.batches import endpoint_of, exchange

    quiet_libraries()
    settings = read_recipe(recipe, change or ())
    endpoint = endpoint_of(settings.queries, settings.name)
    exchanged = exchange(endpoint, batch_in, batch_out, print_exchanged)
    folder = out or Path("runs") / settings.name
    with_corpus(settings, folder, lambda parts: exchanged(parts.writers), Announcer())


def write_lists(
    run: Annotated[Path, typer.Argument(help="Run folder whose stage lists is finished")],
    out: Annotated[Path, typer.Option("--out", help="New folder to write")],
    form: Annotated[
        str, typer.Option("--format", help="Format: flagembedding, sentence-transformers, tevatron or beir")
    ],
) -> None:
    """Write a run's training lists, with the teacher's labels, for another trainer."""
    require("tamis write-lists", "train")
    from tamis.exporting.lists import write_lists as write

    counts = write(run, form, out)
    typer.echo(f"{out}: {', '.join(f'{count:,} lists {split}' for split, count in counts.items())}")


def _run_stages(settings: "Recipe", out: Path, until: str, yes: bool, estimate: bool, engine: str) -> dict[str, Path]:
    """Run a recipe as its command says; the folder of each stage by name."""
    from tamis.cli.printing import Announcer, print_warnings
    from tamis.executors.ray import named_engine
    from tamis.pipeline.idle import idle_settings
    from tamis.pipeline.run import run_recipe

    quiet_libraries()
    print_warnings(idle_settings(settings))
    consider = _estimate_only if estimate else _asking(yes)
    with named_engine(engine, settings.machine.threads, settings.machine.device) as where:
        return run_recipe(settings, out, until, Announcer(), consider, where)


def _hand_over(
    folders: Mapping[str, Path], report: Path | None, link: Path | None, for_json: Mapping[str, Any] | None
) -> None:
    """Copy the report and link the model to where the user wants them, and say where they lie, with the figures.

    Args:
        folders: Folder of each finished stage by name.
        report: File to copy the report to.
        link: Link to make to the model.
        for_json: What else the JSON object holds; None prints tables.
    """
    from tamis.cli.printing import copy_file, figures_of, link_folder, print_results

    page = folders["report"] / "report.html" if "report" in folders else None
    merged = folders["merge"] / "model" if "merge" in folders else None
    if page and report:
        copy_file(page, report)
    if merged and link:
        link_folder(merged, link)
    if for_json is not None:
        shown = {"report": page and (report or page), "model": merged and (link or merged)}
        print_json({**for_json, **shown, "folders": folders, "results": figures_of(folders)})
        return
    if "evaluate" in folders:
        print_results(folders)
    if page:
        typer.echo(f"report: {report or page}")
    if merged:
        typer.echo(f"model:  {link or merged}")


def _asking(yes: bool) -> "Consider":
    """Ends the command where the user does not agree with what the run costs."""
    from tamis.cli.printing import agreed

    def consider(found: "Estimate") -> None:
        if not agreed(found, yes):
            typer.echo("tamis: nothing was done but the reading of the corpus", err=True)
            raise typer.Exit(DECLINED)

    return consider


def _estimate_only(found: "Estimate") -> None:
    from rich.console import Console

    from tamis.cli.printing import print_estimate

    print_estimate(found, Console(highlight=False))
    raise typer.Exit
