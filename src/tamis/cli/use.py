"""Use: rank lines, answer over HTTP, read documents once, or go to another engine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tamis.cli.options import (
    AsJson,
    CorpusArgument,
    Indexes,
    LongOption,
    MinScoreOption,
    PrecisionOption,
    ScoringEngineOption,
    fields_of,
    min_score_of,
    print_json,
    quiet_libraries,
)
from tamis.errors import SettingsError
from tamis.extras import require

if TYPE_CHECKING:
    from tamis.serving.settings import Sources


def rerank(
    model: Annotated[
        str, typer.Argument(help="Reranker: tamis-base, tamis-small, a folder or a hub name, of any known family")
    ],
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
    long: LongOption = "first",
    min_score: MinScoreOption = None,
    scoring_engine: ScoringEngineOption = "torch",
    as_json: AsJson = False,
) -> None:
    """Rank the lines of a file by how well they answer a query."""
    from tamis.formats.line_documents import read_line_documents, read_scored_lines

    lowest = min_score_of(min_score)
    said: str | tuple[str, list[float]] = first_stage
    if first_stage in ("none", "order"):
        lines = read_line_documents(file)
    else:
        lines, scores = read_scored_lines(file, first_stage)
        said = first_stage, scores
    from tamis.named_paths import check_models

    check_models([model])
    from tamis.models.reranker import Reranker  # takes seconds
    from tamis.models.windows import check_long

    read = check_long("--long", long)
    quiet_libraries()
    reranker = Reranker(model, engine=scoring_engine)  # type: ignore[arg-type]  # which refuses others
    best = reranker.rank(query, lines, top_k=top, return_documents=True, first_stage=said, min_score=lowest, long=read)
    if as_json:
        print_json({"query": query, "ranked": best})
        return
    for ranked in best:
        typer.echo(f"{ranked['score']:.4f}\t{ranked['text']}")


NO_SETTINGS: Final = ("config", "print_config", "plan", "tokens")
"""Options of `tamis serve` that no file of settings may hold: they say what else is done."""

PLANNED_DOCUMENTS: Final = 20
"""Documents of a request of a planned load where nobody says how many."""


def serve(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Rerankers: tamis-base, tamis-small, folders, hub names, or NAME=FOLDER; the first one is the default"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML file with any of these options, as first_stage: order; beside it each may be an environment "
            "variable, as TAMIS_FIRST_STAGE; the command line counts most, then the environment",
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print what counts and who says it, and stop")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any that is free")] = 8000,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics, /livez and /readyz alone, without keys; default: none")
    ] = None,
    precision: PrecisionOption = "float32",
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys, one a line; the environment variable TAMIS_API_KEYS adds more"),
    ] = None,
    admin_keys: Annotated[
        Path | None,
        typer.Option(help="File of keys of those who may change models; the variable TAMIS_ADMIN_KEY adds more"),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL:WEIGHT,...",
            help="Name under which several models answer, each in its share: --split model=old:9,new:1; repeatable",
        ),
    ] = None,
    split_by: Annotated[
        str,
        typer.Option(
            metavar="chance|query|header:NAME",
            help="Part of a request that decides which model of a split answers: the same part, the same model",
        ),
    ] = "chance",
    probe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Training file with queries whose relevant documents a model has to score above the others, or it "
            "is not served",
        ),
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
    documents: Annotated[
        int, typer.Option(min=1, help="Most documents of a request; with --plan those of each, by default 20")
    ] = 1000,
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
    long: LongOption = "first",
    min_score: MinScoreOption = None,
    scoring_engine: ScoringEngineOption = "torch",
    index: Indexes = None,
    log_queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for a file a day of queries, candidates and scores; default: none is kept"
        ),
    ] = None,
    log_redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Regular expression of what is taken out of logged queries and texts; repeatable"
        ),
    ] = None,
    log_days: Annotated[int, typer.Option(min=1, help="Days for which logged queries are kept")] = 30,
    plan: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Requests a second of a load; says how many cores or replicas it needs, and serves nothing",
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=1, help="Tokens of a pair, query and document together, of the load of --plan")
    ] = 200,
) -> None:
    """Serve rerankers over HTTP, as Cohere, Jina, TEI and vLLM do; Ctrl-C or SIGTERM answers what is under way."""
    require("tamis serve", "serve")
    from tamis.named_paths import check_models

    check_models(models or ())
    from tamis.serving.settings import Sources

    sources = Sources(_typed(context), os.environ, config)
    if print_config:
        typer.echo(sources.read().as_yaml())
        return
    quiet_libraries()
    if plan is not None:
        _print_plan(sources, plan, tokens)
        return
    from tamis.serving.serve import serve as serve_models

    serve_models(sources)


def _print_plan(sources: "Sources", rate: float, tokens: int) -> None:
    """Say how many cores or replicas a load on the first model needs."""
    from tamis.cli.plan_tables import print_plan
    from tamis.models.reranker import Reranker
    from tamis.serving.planning import Load, plan

    settings = sources.read().settings
    if not settings.models:
        raise SettingsError("--plan: no model is named; name one behind the command")
    load = Load(rate, sources.typed.get("documents", PLANNED_DOCUMENTS), tokens)
    folder, engine = next(iter(settings.models.values())), settings.scoring_engine
    print_plan(load, plan(lambda: Reranker(folder, precision=settings.precision, engine=engine), load))  # type: ignore[arg-type]


def _typed(context: typer.Context) -> dict[str, Any]:
    """The options that were typed, and not those that have their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    for name in NO_SETTINGS:
        given.pop(name, None)
    if "min_score" in given:
        given["min_score"] = min_score_of(given["min_score"])
    return given


def index(
    model: Annotated[str, typer.Argument(help="Warm reranker: tamis-base, or a folder or hub name")],
    corpus: CorpusArgument,
    out: Annotated[
        Path, typer.Argument(help="Folder of the index; where there is one, documents that are new or changed go in")
    ],
    values: Annotated[
        str | None,
        typer.Option(
            metavar="float16|int8",
            help="Form of a value on disk: two bytes, or one; default: that of the index, float16 of a new one",
        ),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete documents that CORPUS lacks")] = False,
    scoring_engine: ScoringEngineOption = "torch",
    as_json: AsJson = False,
) -> None:
    """Read the documents of a corpus once and for all, so that a warm model ranks them with a part of the work."""
    require("tamis index", "serve")
    from tamis.named_paths import check_documents, check_models

    check_models([model])
    check_documents(corpus)
    from tamis.cli.model_tables import print_indexed
    from tamis.models.known.indexing import index_corpus
    from tamis.models.reranker import Reranker

    quiet_libraries()
    reranker = Reranker(model, engine=scoring_engine)  # type: ignore[arg-type]  # which refuses others
    found = index_corpus(reranker, corpus, out, values, prune)
    if as_json:
        print_json({**fields_of(found), "out": out})
    else:
        print_indexed(found, out)


def export(
    model: Annotated[str, typer.Argument(help="Reranker to export: tamis-base, tamis-small, a folder or a hub name")],
    out: Annotated[Path, typer.Argument(help="New folder to write")],
    to: Annotated[
        str,
        typer.Option("--to", help="Target: transformers, vllm, onnx, openvino, openvino-int8, gguf or gguf-q8_0"),
    ],
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="JSONL file of query and document to compare on; default: 200 built-in pairs. openvino-int8 needs "
            "some 300 of your own, which calibrate it, too"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a reranker for another engine, load it there and compare the scores."""
    from tamis.named_paths import check_models

    check_models([model])
    from tamis.cli.model_tables import print_int8, print_parity
    from tamis.exporting.export import export as export_model
    from tamis.exporting.int8 import Checked
    from tamis.exporting.pairs import pairs_for

    quiet_libraries()
    found = export_model(model, out, to, pairs_for(to, pairs))
    if as_json:
        print_json({**found.as_dict(), "out": out})
    elif isinstance(found, Checked):
        print_int8(found, out)
    else:
        print_parity(found, out)
