"""What `tamis evaluate` is asked for: from the words of a command line, and back to them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from tamis.errors import SettingsError
from tamis.evaluation.candidates import BiEncoder
from tamis.formulas.measures import parse_measures
from tamis.models.engines.choosing import NAMES, ScoringEngine
from tamis.models.windows import Long, check_long
from tamis.retrievers.index import Languages

MEASURES: Final = ("nDCG@10", "RR@10", "AP", "R@100", "Success@1")
LANGUAGES: Final = get_args(Languages)
PRECISIONS: Final = ("float32", "bfloat16", "auto")


@dataclass(frozen=True)
class Evaluation:
    """What is to be measured, as the command line says it.

    Attributes:
        models: Folders or hub names, or NAME=FOLDER.
        sets: See `tamis.evaluation.reading.read_set`.
        first: First stages: `bm25`, `dense`, `hybrid`, or NAME=RUN for the candidates of a TREC run.
        runs: NAME=RUN of other systems, rows as they are.
        measures: As ir-measures names them; the first one is tested and shown by group.
        depth: Candidates of each first stage.
        full: Whether every document is scored for every question besides.
        languages: Which documents a question searches.
        encoder: Bi-encoder of dense and hybrid.
        precision: `float32`, or `auto`.
        rounds: Sign flips of the randomisation tests.
        long: What models read of documents that are longer than they read: `first` or `windows`, see `Reranker.rank`.
        passages: Whether sets in passages are judged by passages, too, beside the documents that these are of.
        indexes: Indexes of documents, each of one of the models.
        engine: What computes the scores of models, as for `Reranker`.
    """

    models: Sequence[str]
    sets: Sequence[str]
    first: Sequence[str] = ()
    runs: Sequence[str] = ()
    measures: Sequence[str] = MEASURES
    depth: int = 100
    full: bool = False
    languages: Languages = "any"
    encoder: BiEncoder | None = None
    precision: str = "float32"
    rounds: int = 10_000
    long: Long = "first"
    passages: bool = False
    indexes: Sequence[Path] = ()
    engine: ScoringEngine = "torch"


def asked_of(
    models: Sequence[str] | None,
    sets: Sequence[str] | None,
    first: Sequence[str] | None,
    runs: Sequence[str] | None,
    measures: Sequence[str] | None,
    depth: int,
    full: bool,
    languages: str,
    encoder: str | None,
    prefixes: tuple[str, str],
    precision: str,
    long: str = "first",
    passages: bool = False,
    indexes: Sequence[Path] | None = None,
    engine: str = "torch",
) -> Evaluation:
    """What the command line asks for; see `Evaluation`.

    Raises:
        SettingsError: no set, or a word that is not understood.
    """
    recipe = next((one for one in models or () if one.endswith((".yaml", ".yml"))), None)
    if recipe:
        raise SettingsError(f"{recipe} is a recipe, not a model; its stage is `tamis run {recipe} --until evaluate`")
    if not sets:
        raise SettingsError("no set to measure on; name one with --on, for instance --on my/beir-folder")
    words = (
        ("languages", languages, LANGUAGES),
        ("precision", precision, PRECISIONS),
        ("scoring-engine", engine, NAMES),
    )
    for option, value, known in words:
        if value not in known:
            raise SettingsError(f"--{option} is {value!r}, expected {', '.join(known[:-1])} or {known[-1]}")
    if depth < 1:
        raise SettingsError(f"--depth is {depth}, expected at least 1")
    return Evaluation(
        tuple(models or ()),
        tuple(sets),
        tuple(first or ()),
        tuple(runs or ()),
        tuple(measures or MEASURES),
        depth,
        full,
        cast(Languages, languages),
        BiEncoder(encoder, *prefixes) if encoder else None,
        precision,
        long=check_long("--long", long),
        passages=passages,
        indexes=tuple(indexes or ()),
        engine=cast(ScoringEngine, engine),
    )


def measures_of(names: Sequence[str]) -> dict[str, Any]:
    """Measures by the names that ir-measures gives them.

    Raises:
        SettingsError: one that it does not know.
    """
    try:
        return parse_measures(names)
    except ValueError as error:
        raise SettingsError(f"--measure: {error}") from None


def command_of(asked: Evaluation, out: Path) -> str:
    """The command line that asks for this."""
    words = ["tamis", "evaluate", *asked.models]
    several = (
        ("--on", asked.sets),
        ("--first", asked.first),
        ("--run", asked.runs),
        ("--index", map(str, asked.indexes)),
    )
    words += [word for option, values in several for value in values for word in (option, value)]
    if asked.measures != MEASURES:
        words += [word for measure in asked.measures for word in ("--measure", measure)]
    if asked.encoder:
        words += ["--encoder", asked.encoder.path]
        words += ["--prefixes", asked.encoder.query_prefix, asked.encoder.document_prefix]
    single: tuple[tuple[str, object, object], ...] = (
        ("--depth", asked.depth, 100),
        ("--languages", asked.languages, "any"),
        ("--precision", asked.precision, "float32"),
        ("--long", asked.long, "first"),
        ("--scoring-engine", asked.engine, "torch"),
    )
    flags = [*(["--full"] * asked.full), *(["--passages"] * asked.passages)]
    words += [word for option, value, default in single if value != default for word in (option, str(value))]
    return shlex.join([*words, *flags, "--out", str(out)])
