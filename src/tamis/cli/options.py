"""What several commands share: options, the quiet of libraries, and results for machines."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.errors import SettingsError

if TYPE_CHECKING:
    from tamis.models.checkpoint import MinScore

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
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine", help="Place where mining runs: local, or ray (RAY_ADDRESS, else a cluster on this machine)"
    ),
]
ScoringEngineOption = Annotated[  # `--engine` says where mining runs
    str,
    typer.Option(
        metavar="auto|torch|openvino|onnx",
        help="Engine that scores on a processor; all but torch make a graph of the model once and keep it in the "
        "cache; auto: the one that is installed, where it is faster on the texts at hand",
    ),
]
Indexes = Annotated[
    list[Path] | None,
    typer.Option(
        "--index", metavar="FOLDER", help="Index of documents that tamis index made with one of the models; repeatable"
    ),
]
LongOption = Annotated[
    str,
    typer.Option(
        metavar="first|windows",
        help="Documents longer than the model reads: first, their beginning is read; windows, they are read part by "
        "part, and the best one counts",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before what takes long or costs money")]
MinScoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="SCORE|model",
        help="Lowest score that is returned, or model: the level that tamis threshold kept; default: all are",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Result as one JSON object on standard output, in place of tables")
]
CorpusArgument = Annotated[
    Path, typer.Argument(help="Documents: BEIR folder, file of rows (.jsonl, .csv, .parquet), or folder of texts")
]
PrecisionOption = Annotated[str, typer.Option(help="Number format of the models: float32, bfloat16 or auto")]


def min_score_of(given: str | None) -> "MinScore | None":
    """What `--min-score` says.

    Raises:
        SettingsError: it is neither a number nor `model`.
    """
    if given is None:
        return None
    if given == "model":
        return "model"
    try:
        return float(given)
    except ValueError:
        raise SettingsError(f"--min-score is {given!r}, expected a number or model") from None


def quiet_libraries() -> None:
    """Our own progress bars say what happens; those of the model library would be drawn between them."""
    import os

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def print_json(result: object) -> None:
    """Print a result for machines as readable JSON; dataclasses become objects, and paths text."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2, default=_plain))


def fields_of(result: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are."""
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def _plain(value: object) -> object:
    return fields_of(value) if dataclasses.is_dataclass(value) else str(value)
