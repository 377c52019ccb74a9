"""Adapt an existing model to one more corpus: one specialist, merged into it, and what the old domains lost."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tamis.artifacts import read_json
from tamis.complaints import apply_changes
from tamis.errors import SettingsError
from tamis.evaluation.config import EvaluationConfig
from tamis.evaluation.evaluate import evaluate
from tamis.formats.qrels import qrels_files
from tamis.models.checkpoint import find_checkpoint, read_facts
from tamis.models.serializer import encoder_prefixes
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.recipe import Recipe
from tamis.stages.lists.settings import RESERVED
from tamis.weights.e5_small import e5_small
from tamis.weights.shipped import BASE, SMALL

DOMAIN = "corpus"
"""Name of the new domain."""

FETCHED: Final = "e5-small"
"""Last part of the encoder's name in the lineage of the models that ship; its weights come with a package."""

GRADED: Final = "judged"
"""Folder of graded questions beside a corpus or in a run folder."""

STEPS = 280
"""Most optimiser steps: some ten minutes of two cores."""

TEACHERS: Final = {SMALL: BASE}
"""Of the models that ship, those that another one ranks better than: it teaches them, unless scores says otherwise."""

TAUGHT_DEPTH: Final = 30
"""Candidates of each first stage where a reranker is asked about every one of them."""

SHORT_QUERY: Final = 32
"""Tokens of the longest query, as such a model learnt: of its 128 a document has the rest."""


@dataclass(frozen=True)
class Adapted:
    """What an adaptation cost the old domains of its model.

    Attributes:
        agreement: nDCG@10 against the teacher's grades on held-out queries, by domain; of each the model as it came,
            the specialist (of several the best), and the result.
        order: What is in the result; `start` is the model as it came.
    """

    agreement: dict[str, tuple[float, float, float]]
    order: list[str]


def adapting_recipe(
    model: str,
    corpus: Path,
    keep: Sequence[Path] = (),
    encoder: Path | None = None,
    queries: Sequence[Path] = (),
    changes: Sequence[str] = (),
) -> Recipe:
    """A recipe that trains one specialist from a model on a corpus and merges it into the model, unless a domain loses.

    Args:
        model: Folder of a reranker, or `tamis-base` or `tamis-small`.
        corpus: As `corpus.target` of a recipe.
        keep: Folders of earlier runs whose domains the result is judged by too; without any, only the new one.
        encoder: The bi-encoder that retrieves and teaches; None for the one that the model's lineage names, which for
            `tamis-base` and `tamis-small` is made in the user's cache.
        queries: As `queries.written` of a recipe.
        changes: As for `read_recipe`.

    Raises:
        SettingsError: nobody asks anything, no encoder is known, or a change is not understood.
        ModelError: the model is none.
    """
    if queries and any(change.partition("=")[0].strip() == "queries.written" for change in changes):
        raise SettingsError("--queries and --set queries.written both name files of queries; give all by --queries")
    content = recipe_content(model, corpus, keep, encoder, queries)
    apply_changes(content, changes)
    return recipe_from(content, f"the recipe of `tamis adapt {model} {corpus}`")


def recipe_content(
    model: str, corpus: Path, keep: Sequence[Path], encoder: Path | None, queries: Sequence[Path]
) -> dict[str, Any]:
    """What `adapting_recipe` is made of, as its YAML would be read."""
    facts = read_facts(find_checkpoint(model))
    query_prefix, document_prefix = encoder_prefixes(facts.serializer)
    dense = {
        "path": str(encoder or _known_encoder(model, facts.deployment.lineage.get("encoder"))),
        "query_prefix": query_prefix,
        "document_prefix": document_prefix,
    }
    content: dict[str, Any] = {
        "name": "adapt-" + re.sub(r"[^A-Za-z0-9._-]+", "-", corpus.stem),  # a corpus may have any name
        "corpus": {"target": str(corpus)},
        "candidates": {"dense": dense},
        "lists": {"domains": {DOMAIN: "*"}},
        "student": {"start": model, "head": "own"},
        "train": {"general_steps": 0, "specialist_steps": STEPS},
        "merge": {"on": "weights", "keep": [str(run) for run in keep]},
    }
    if queries:
        content["queries"] = {"written": [str(file) for file in queries]}
    if teacher := TEACHERS.get(model):
        content["candidates"]["depth"] = TAUGHT_DEPTH
        content["student"]["query_tokens"] = SHORT_QUERY
        content["scores"] = {"dense": 0, "bm25": 0, "teachers": [{"kind": "reranker", "path": teacher}]}
    return content


def outcome_of(folders: Mapping[str, Path]) -> Adapted:
    """What an adaptation gained and lost.

    Args:
        folders: Folders of the stages of its run, the merge among them.
    """
    path = read_json(folders["merge"] / "path.json")
    found = path["agreement"]
    specialists = found.keys() - set(RESERVED)
    agreement = {
        domain: (found["untrained"][domain], max(found[one][domain] for one in specialists), found["merged"][domain])
        for domain in path["domains"]
    }
    return Adapted(agreement, path["order"])


def graded_beside(corpus: Path, run: Path) -> Path | None:
    """The folder of graded questions that lies beside a corpus, or in its run folder; None where there is none."""
    places = (corpus.resolve().parent / GRADED, run / GRADED)
    return next((folder for folder in places if (folder / "queries.jsonl").is_file() and qrels_files(folder)), None)


def graded_gain(model: str, adapted: Path, judged: Path, run: Path) -> dict[str, Any]:
    """Measure the adapted model and the one that it came from on graded questions.

    Args:
        model: Folder of the model as it came, or the name of one that ships.
        adapted: Folder of the result.
        judged: Folder of grades.
        run: Run folder; figures and page lie in its folder `graded` afterwards.

    Returns:
        The content of results.json of `tamis evaluate`; what adaptation added is `adapted~bm25` against `before~bm25`.

    Raises:
        TamisError: the folder holds no judged set, see `evaluate`.
    """
    models = (f"before={model}", f"adapted={adapted}")
    asked = EvaluationConfig(models=models, sets=(str(judged),), first=("bm25",))
    return evaluate(asked, run / "graded")


def _known_encoder(model: str, named: object) -> Path:
    if isinstance(named, str) and Path(named).is_dir():
        return Path(named)
    if isinstance(named, str) and Path(named).name == FETCHED:
        return e5_small()
    found = f"it names {named!r}, which is not here" if named else "its lineage names none"
    raise SettingsError(f"{model}: no bi-encoder to retrieve and teach with ({found}); give one with --encoder")
