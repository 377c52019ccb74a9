"""Measure: models on judged sets, two runs side by side, and what a run did."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tamis.cli.options import (
    AsJson,
    Indexes,
    LongOption,
    PrecisionOption,
    ScoringEngineOption,
    print_json,
    quiet_libraries,
)
from tamis.extras import require

if TYPE_CHECKING:
    from tamis.models.engines.choosing import ScoringEngine
    from tamis.models.windows import Long
    from tamis.retrievers.index import Languages

Models = Annotated[
    list[str] | None, typer.Argument(help="Rerankers: folders, hub names, tamis-base, tamis-small, or NAME=FOLDER")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--on", metavar="SET", help="Judged set: BEIR folder (FOLDER:SPLIT), irds:NAME or mteb:TASK; repeatable"
    ),
]
FirstStagesOption = Annotated[
    list[str] | None,
    typer.Option(help="First stage: bm25, dense, hybrid, or NAME=FILE with the candidates of a TREC run; repeatable"),
]
OtherRuns = Annotated[
    list[str] | None,
    typer.Option("--run", help="TREC run of another system, as NAME=FILE, for a row of its own; repeatable"),
]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure", help="Measure, as ir-measures names it: nDCG@10, MRR@10; the first one is tested; repeatable"
    ),
]
Searched = Annotated[
    str,
    typer.Option(help="Languages of the documents that a question searches: any, same (its own) or cross (all others)"),
]
Prefixes = Annotated[
    tuple[str, str] | None,
    typer.Option(
        help="Texts that the bi-encoder wants before a query and before a document; else what its folder says, "
        "or those of e5"
    ),
]
EvaluationFolder = Annotated[
    Path, typer.Option("--out", help="Folder for results, runs and scores; what it holds is not scored again")
]


def evaluate(
    models: Models = None,
    on: Sets = None,
    first: FirstStagesOption = None,
    runs: OtherRuns = None,
    measures: Measures = None,
    depth: Annotated[int, typer.Option(help="Number of candidates of each first stage that are reranked")] = 100,
    full: Annotated[bool, typer.Option("--full", help="Also score every document of a small corpus")] = False,
    languages: Searched = "any",
    encoder: Annotated[str | None, typer.Option(help="Bi-encoder of the first stages dense and hybrid")] = None,
    prefixes: Prefixes = None,
    precision: PrecisionOption = "float32",
    long: LongOption = "first",
    passages: Annotated[
        bool,
        typer.Option(
            "--passages", help="Also judge sets in passages (DOC#1 ...) by passages, beside the documents they are of"
        ),
    ] = False,
    scoring_engine: ScoringEngineOption = "torch",
    index: Indexes = None,
    out: EvaluationFolder = Path("runs/evaluation"),
    as_json: AsJson = False,
) -> None:
    """Measure models on judged sets; for the stage of a recipe: tamis run RECIPE --until evaluate."""
    require("tamis evaluate", "evaluate")
    from tamis.named_paths import check_models, check_runs, check_sets

    check_models([*(models or ()), *([encoder] if encoder else ())])
    check_sets(on or ())
    check_runs("--first", first or ())
    check_runs("--run", runs or ())
    from tamis.evaluation.candidates import BiEncoder
    from tamis.evaluation.config import MEASURES, EvaluationConfig
    from tamis.evaluation.evaluate import evaluate
    from tamis.evaluation.tables import print_evaluation

    quiet_libraries()
    asked = EvaluationConfig(
        models=tuple(models or ()),
        sets=tuple(on or ()),
        first=tuple(first or ()),
        runs=tuple(runs or ()),
        measures=tuple(measures or MEASURES),
        depth=depth,
        full=full,
        languages=cast("Languages", languages),
        encoder=BiEncoder.asked(encoder, prefixes) if encoder else None,
        precision=precision,
        long=cast("Long", long),
        passages=passages,
        indexes=tuple(index or ()),
        engine=cast("ScoringEngine", scoring_engine),
    )
    results = evaluate(asked, out)
    if as_json:
        print_json(results)
        return
    print_evaluation(results)
    typer.echo(f"results: {out / 'results.json'}")
    typer.echo(f"report:  {out / 'report.html'}")


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
    as_json: AsJson = False,
) -> None:
    """Show what changed between two runs, for which queries, with the documents side by side."""
    require("tamis compare", "evaluate")
    from tamis.named_paths import check_rankings

    check_rankings(a, b)
    from tamis.evaluation.comparing import compare as compare_runs
    from tamis.evaluation.tables import print_comparisons

    compared = compare_runs(a, b, on, measure, system, queries, top)
    if as_json:
        print_json({"comparisons": list(compared)})
    else:
        print_comparisons(compared)


def inspect(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run")],
    query: Annotated[
        str | None, typer.Argument(help="Id of a query, or a piece of its text, whose history is shown")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of its candidates to show")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what came in, what was dropped and why, per stage and language; or where a query came from."""
    require("tamis inspect", "train")
    from tamis.cli.printing import print_history, print_spent, print_stages
    from tamis.inspection import Inspection

    found = Inspection(run_folder)
    if query is None:
        stages, spent = list(found.stages()), found.spent()
        if as_json:
            print_json({"stages": stages, "spent": spent})
            return
        print_stages(stages)
        print_spent(spent)
    elif as_json:
        print_json(found.history(query))
    else:
        print_history(found.history(query), top)
