"""Where a student comes from, in words: its start, its teacher, what it read, and the recipe that says so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tamis.pipeline.recipe import Recipe
from tamis.report.wording import shown_path
from tamis.stages.merge.model_card import Provenance


def origin_of(recipe: Recipe) -> dict[str, str]:
    """What a student of the recipe is made from, by what it is called on the page."""
    corpora = [shown_path(general.path) for general in recipe.corpus.general]
    written = [shown_path(path) for path in recipe.queries.written]
    logs = [shown_path(log.path) for log in recipe.queries.logs]
    return {
        "Initialiser": shown_path(recipe.student.start or recipe.candidates.dense.path),
        "Teacher": recipe.scores.in_words,
        "Bi-encoder": shown_path(recipe.candidates.dense.path),
        "Adapted to": shown_path(recipe.corpus.target) if recipe.corpus.target else "no corpus of its own",
        "Learnt before that from": ", ".join(corpora) or "nothing",
        **({"Queries written elsewhere": ", ".join(written)} if written else {}),
        **({"Queries that people typed": ", ".join(logs)} if logs else {}),
        "Loss": recipe.train.loss,
    }


def provenance_of(recipe: Recipe) -> Provenance:
    """The same, for a model's card and its lineage."""
    return Provenance(
        recipe=recipe.name,
        seed=recipe.seed,
        start=recipe.student.start or recipe.candidates.dense.path,
        encoder=recipe.candidates.dense.path,
        teacher=recipe.scores.in_words,
        loss=recipe.train.loss,
        target=recipe.corpus.target,
        general=tuple(general.path for general in recipe.corpus.general),
        written=recipe.queries.written,
        logs=tuple(log.path for log in recipe.queries.logs),
    )


def shown_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as it was written, JSON-like, without the machine's section; see `shown_path`."""
    written: dict[str, Any] = _plain(recipe.model_dump(exclude={"machine"}, exclude_unset=True))
    return written


def recipe_text(recipe: Recipe) -> str:
    """`shown_recipe` as YAML."""
    return yaml.safe_dump(shown_recipe(recipe), allow_unicode=True, sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return shown_path(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
