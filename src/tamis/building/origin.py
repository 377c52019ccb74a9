"""Where a student comes from, in words: its start, its teacher, what it read, and the recipe that says so."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tamis.formulas.overlap import content_sample
from tamis.records import Document
from tamis.settings import Recipe


def teacher_of(recipe: Recipe) -> str:
    """The teacher's scorers with their weights: `1 bi-encoder + 0.5 BM25`."""
    weights = {"bi-encoder": recipe.scores.dense, "BM25": recipe.scores.bm25, "USE": recipe.scores.use}
    weights |= {teacher.name: teacher.weight for teacher in recipe.scores.teachers}
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)


def shown_path(path: Path) -> str:
    """A path as a page may show it that is handed on: an absolute one by its name alone."""
    return f"…/{path.name}" if path.is_absolute() else path.as_posix()


def origin_of(recipe: Recipe) -> dict[str, str]:
    """What a student of the recipe is made from, by what it is called on the page."""
    corpora = [shown_path(general.path) for general in recipe.corpus.general]
    written = [shown_path(path) for path in recipe.queries.written]
    logs = [shown_path(log.path) for log in recipe.queries.logs]
    return {
        "Initialiser": shown_path(recipe.student.start or recipe.candidates.dense.path),
        "Teacher": teacher_of(recipe),
        "Bi-encoder": shown_path(recipe.candidates.dense.path),
        "Adapted to": shown_path(recipe.corpus.target) if recipe.corpus.target else "no corpus of its own",
        "Learnt before that from": ", ".join(corpora) or "nothing",
        **({"Queries written elsewhere": ", ".join(written)} if written else {}),
        **({"Queries that people typed": ", ".join(logs)} if logs else {}),
        "Loss": recipe.train.loss,
    }


def shown_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as it was written, JSON-like, without the machine's section; see `shown_path`."""
    written: dict[str, Any] = _plain(recipe.model_dump(exclude={"machine"}, exclude_unset=True))
    return written


def recipe_text(recipe: Recipe) -> str:
    """`shown_recipe` as YAML."""
    return yaml.safe_dump(shown_recipe(recipe), allow_unicode=True, sort_keys=False)


def target_facts(recipe: Recipe, documents: Iterable[Document]) -> dict[str, Any] | None:
    """Name, size and a sample of the hashes of the corpus that was adapted to; None without one."""
    if recipe.corpus.target is None:
        return None
    texts = [document.text for document in documents if document.origin == "target"]
    return {"name": recipe.corpus.target.name, "documents": len(texts), "sample": content_sample(texts)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return shown_path(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
