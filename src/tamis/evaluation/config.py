"""What `tamis evaluate` is asked for, checked, and the words of a command line that ask for the same."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, get_args

from tamis.errors import SettingsError
from tamis.evaluation.candidates import BiEncoder
from tamis.formulas.measures import parse_measures
from tamis.models.engines.choosing import NAMES, ScoringEngine
from tamis.models.precision import PRECISIONS as FORMATS
from tamis.models.windows import Long, check_long
from tamis.retrievers.index import Languages

MEASURES: Final = ("nDCG@10", "RR@10", "AP", "R@100", "Success@1")
LANGUAGES: Final = get_args(Languages)
PRECISIONS: Final = (*FORMATS, "auto")

OPTIONS: Final = {
    "sets": "--on",
    "first": "--first",
    "runs": "--run",
    "indexes": "--index",
    "measures": "--measure",
    "encoder": "--encoder",
    "depth": "--depth",
    "languages": "--languages",
    "precision": "--precision",
    "long": "--long",
    "engine": "--scoring-engine",
    "full": "--full",
    "passages": "--passages",
}
"""Option of each field of `EvaluationConfig`, in the order of a command line."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is to be measured, as the command line says it.

    Attributes:
        models: Folders or hub names, or NAME=FOLDER.
        sets: See `tamis.evaluation.reading.read_set`; at least one.
        first: First stages: `bm25`, `dense`, `hybrid`, or NAME=RUN for the candidates of a TREC run.
        runs: NAME=RUN of other systems, rows as they are.
        measures: As ir-measures names them; the first one is tested and shown by group.
        depth: Candidates of each first stage, at least 1.
        full: Whether every document is scored for every question besides.
        languages: Which documents a question searches.
        encoder: Bi-encoder of dense and hybrid.
        precision: `float32`, `bfloat16` or `auto`.
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

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, in the words of the command line.

        Raises:
            SettingsError: a recipe in place of a model, no set, no candidates, or a word that is not understood.
            InputError: long documents are to be read in a way that is not known.
        """
        recipe = next((one for one in self.models if one.endswith((".yaml", ".yml"))), None)
        if recipe:
            raise SettingsError(
                f"{recipe} is a recipe, not a model; its stage is `tamis run {recipe} --until evaluate`"
            )
        if not self.sets:
            raise SettingsError("no set to measure on; name one with --on, for instance --on my/beir-folder")
        known: dict[str, tuple[str, ...]] = {"languages": LANGUAGES, "precision": PRECISIONS, "engine": NAMES}
        for name, words in known.items():
            if (value := getattr(self, name)) not in words:
                expected = f"{', '.join(words[:-1])} or {words[-1]}"
                raise SettingsError(f"{OPTIONS[name]} is {value!r}, expected {expected}")
        if self.depth < 1:
            raise SettingsError(f"--depth is {self.depth}, expected at least 1")
        check_long("--long", self.long)


def measures_of(names: Sequence[str]) -> dict[str, Any]:
    """Measures by the names that ir-measures gives them.

    Raises:
        SettingsError: one that it does not know.
    """
    try:
        return parse_measures(names)
    except ValueError as error:
        raise SettingsError(f"--measure: {error}") from None


def command_of(asked: EvaluationConfig, out: Path) -> str:
    """The command line that asks for this."""
    defaults = {field.name: field.default for field in fields(asked)}
    said = {name: getattr(asked, name) for name in OPTIONS if getattr(asked, name) != defaults[name]}
    words = [word for name, value in said.items() for word in _words(OPTIONS[name], value)]
    return shlex.join(["tamis", "evaluate", *asked.models, *words, "--out", str(out)])


def _words(option: str, value: object) -> list[str]:
    """An option with its value, once for each of several; one that is set stands alone."""
    if isinstance(value, BiEncoder):
        return [option, value.path, "--prefixes", value.query_prefix, value.document_prefix]
    if isinstance(value, list | tuple):
        return [word for one in value for word in (option, str(one))]
    return [option] if value is True else [option, str(value)]
