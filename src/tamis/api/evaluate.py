"""Measure models, first stages and functions of one's own on judged sets, from Python."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from tamis.api.results import EvaluationResult, RunResult
from tamis.artifacts import RunFolder, writing
from tamis.errors import SettingsError, reaching
from tamis.evaluation.candidates import BiEncoder
from tamis.evaluation.config import LANGUAGES, MEASURES, EvaluationConfig
from tamis.evaluation.evaluate import OWNER, check_names
from tamis.evaluation.evaluate import evaluate as measure
from tamis.evaluation.reading import read_sets
from tamis.evaluation.sets import JudgedSet
from tamis.formats.trec import write_run
from tamis.models.reranker import Loading, Reranker
from tamis.models.windows import Long
from tamis.own_parts import Retriever
from tamis.records import Candidates
from tamis.retrievers.index import Languages
from tamis.whole_folder import whole_file

Measurable = str | Path | RunResult | Reranker
"""`tamis-base`, `tamis-small`, a folder, a hub name or NAME=FOLDER; what a run left; or a model that is loaded."""


@reaching()
def evaluate(
    models: Iterable[Measurable],
    on: str | Path | Iterable[str | Path],
    first: str | Retriever | Iterable[str | Retriever] | None = (),
    measures: str | Iterable[str] | None = (),
    depth: int = 100,
    languages: str = "any",
    encoder: str | Path | None = None,
    prefixes: tuple[str, str] | None = None,
    out: str | Path = "runs/evaluation",
    long: str = "first",
    passages: bool = False,
) -> EvaluationResult:
    """Measure models on judged sets, each on the candidates of each first stage.

    Args:
        models: Rerankers: `tamis-base`, `tamis-small`, folders, hub names or NAME=FOLDER; results of runs; or loaded
            `Reranker`s, which are loaded again in their number format, with their engine and index.
        on: Judged sets: BEIR folders (FOLDER:SPLIT), `irds:NAME` or `mteb:TASK`; one or several.
        first: First stages, one or several: `bm25`, `dense`, `hybrid`, NAME=FILE with a TREC run, or a `Retriever`,
            whose function is asked about the questions of each set. None: bm25, and with an encoder dense and hybrid,
            too.
        measures: One or several, as ir-measures names them, for instance nDCG@10; the first one is tested. None for the
            usual five.
        depth: Number of candidates of each first stage that are reranked, at least 1.
        languages: Which documents a question searches: any, same or cross.
        encoder: Bi-encoder of dense and hybrid.
        prefixes: Texts that the bi-encoder wants before a query and before a document. None: the prompts that its
            folder names, else those of e5.
        out: Folder for results, runs and scores; what it holds is not scored again.
        long: What becomes of documents that are longer than a model reads: first or windows, see `Reranker.rank`.
        passages: Whether sets in passages (DOC#1 ...) are judged by passages, too, beside the documents they are of.

    Raises:
        SettingsError: no set, a word that is not understood, or models that cannot be measured in one call.
        InputError: a set or a run that cannot be read, or a retriever that gives something else than ids and scores.
        TamisError: whatever else can be mended.
    """
    if isinstance(models, str) or not isinstance(models, Iterable):
        raise SettingsError(f"tamis.evaluate: models is {models!r:.60}, expected a list of models")
    if not isinstance(on, str | Path | Iterable):
        raise SettingsError(f"tamis.evaluate: on is {on!r:.60}, expected a judged set or a list of them")
    sets = [str(one) for one in ([on] if isinstance(on, str | Path) else on)]
    if depth < 1 or languages not in LANGUAGES:
        raise SettingsError(
            f"tamis.evaluate: depth is {depth} and languages is {languages!r}, expected at least 1 and one of "
            f"{', '.join(LANGUAGES)}"
        )
    given = list(models)
    how = _loading_of(given)
    asked_first = enumerate(_several("first", first))
    stages = [one if isinstance(one, str) else Retriever.among(one, f"first[{n}]") for n, one in asked_first]
    own = [stage for stage in stages if isinstance(stage, Retriever)]
    check_names([stage.name for stage in own])
    folders: dict[str, Path] = {}
    if own:
        with RunFolder(Path(out), OWNER).held():
            folders = _runs_of(own, read_sets(sets, passages=passages), depth, Path(out))
    named = [stage if isinstance(stage, str) else f"{stage.name}={folders[stage.name]}" for stage in stages]
    asked = EvaluationConfig(
        models=tuple(_named(model) for model in given),
        sets=tuple(sets),
        first=tuple(named),
        measures=tuple(str(one) for one in _several("measures", measures)) or MEASURES,
        depth=depth,
        languages=cast(Languages, languages),
        encoder=BiEncoder.asked(str(encoder), prefixes) if encoder else None,
        long=cast(Long, long),
        precision=how.precision,
        passages=passages,
        indexes=tuple(m.index.folder for m in given if isinstance(m, Reranker) and m.index is not None),
        engine=how.engine,
    )
    return EvaluationResult(Path(out), measure(asked, Path(out)))


def _several(argument: str, given: Any) -> list[Any]:
    """What was given for an argument: one thing, several, or None for nothing.

    Raises:
        SettingsError: nothing that can be read one by one.
    """
    if given is None:
        return []
    if isinstance(given, str | Retriever):  # both could be read one by one: its letters, its fields
        return [given]
    if not isinstance(given, Iterable):
        raise SettingsError(f"tamis.evaluate: {argument} is {given!r:.60}, expected a list")
    return list(given)


def _loading_of(models: Sequence[Measurable]) -> Loading:
    """How all models are to be loaded; those that are not loaded yet in float32, scored by torch.

    Raises:
        SettingsError: one has settings that an evaluation has no place for, or not all are loaded alike.
    """
    every = [one.loading if isinstance(one, Reranker) else Loading("float32", "torch") for one in models]
    for number, one in enumerate(every):
        if one.others:
            raise SettingsError(
                f"tamis.evaluate: models[{number}] was loaded with {', '.join(one.others)}, and an evaluation loads it "
                "again without; leave that out of Reranker(...)"
            )
        if one != every[0]:
            raise SettingsError(
                f"tamis.evaluate: models[0] is {every[0].precision} by {every[0].engine}, models[{number}] is "
                f"{one.precision} by {one.engine}; a call measures all alike (what is not loaded yet as float32 by "
                "torch): load them alike, or call once for each"
            )
    return every[0] if every else Loading("float32", "torch")


def _named(model: Measurable) -> str:
    """A model as the command line names it."""
    if isinstance(model, RunResult):
        return f"{model.name}={model.model_folder}"
    return str(model.path if isinstance(model, Reranker) else model)


def _runs_of(retrievers: Sequence[Retriever], sets: Iterable[JudgedSet], depth: int, out: Path) -> dict[str, Path]:
    """A folder with a TREC run for each set, by the name of the function that found it."""
    folders = {retriever.name: out / "first" / f"{retriever.name}-{retriever.version}" for retriever in retrievers}
    for judged in sets:
        questions = list(judged.questions.values())
        wanted = depth + bool(judged.own)  # one more than is kept, where a question may find itself
        for retriever in retrievers:
            answers = retriever.find([question.text for question in questions], wanted)
            found = (
                Candidates(question.query_id, tuple(answer), tuple(answer.values()))
                for question, answer in zip(questions, answers, strict=True)
            )
            file = folders[retriever.name] / f"{judged.name}.trec"
            with writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(file) as partial:
                    write_run(partial, found, retriever.name)
    return folders
