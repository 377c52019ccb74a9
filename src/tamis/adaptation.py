"""Adapt an existing model to one more corpus: one specialist, merged into it, and what the old domains lost."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.artifacts import read_json, read_records
from tamis.errors import InputError, SettingsError
from tamis.formats.fields import UNKNOWN_LANGUAGE
from tamis.models.checkpoint import find_checkpoint, read_facts
from tamis.models.serializer import Apart
from tamis.pipeline import Announce, Consider, run_recipe
from tamis.records import Document
from tamis.settings import Recipe, recipe_from

DOMAIN = "corpus"
"""Name of the new domain."""

DEPTH = 30
"""Candidates of a query: the model, which is one of the teachers, scores them all."""


@dataclass(frozen=True)
class Adapted:
    """An adapted model and what it cost its old domains.

    Attributes:
        model: Folder of the model.
        agreement: nDCG@10 against the teacher's grades on held-out queries, by domain; of each the model as it came,
            the specialist, and the result.
        order: What is in the result; `start` is the model as it came.
    """

    model: Path
    agreement: dict[str, tuple[float, float, float]]
    order: list[str]


def adapt(
    model: str,
    corpus: Path,
    out: Path,
    keep: Sequence[Path],
    encoder: Path | None,
    announce: Announce,
    consider: Consider | None = None,
) -> Adapted:
    """Train one specialist from a model on a corpus, merge it into the model unless a domain loses by it.

    Args:
        model: Folder of a reranker, or `tamis-base`.
        corpus: As `corpus.target` of a recipe.
        out: Run folder.
        keep: Folders of earlier runs whose domains the result is judged by too; without any, only the new one.
        encoder: The bi-encoder that retrieves and teaches; None for the one that the model's lineage names.
        announce: As for `run_recipe`.
        consider: As for `run_recipe`.

    Raises:
        SettingsError: no encoder is known.
        TamisError: see `run_recipe`.
    """
    facts = read_facts(find_checkpoint(model))
    encoder = encoder or _known_encoder(model, facts.deployment.lineage.get("encoder"))
    prefixes = facts.serializer if isinstance(facts.serializer, Apart) else Apart("query: ", "passage: ")
    dense = {
        "path": str(encoder),
        "query_prefix": prefixes.query_prefix,
        "document_prefix": prefixes.document_prefix,
    }

    def recipe(languages: Sequence[str]) -> Recipe:
        content = {
            "name": "adapt-" + re.sub(r"[^A-Za-z0-9._-]+", "-", corpus.stem),  # a corpus may have any name
            "corpus": {"target": str(corpus)},
            "candidates": {"dense": dense, "depth": DEPTH},
            # What a student is taught by less than itself makes it worse (docs/log.md).
            "scores": {"teachers": [{"kind": "reranker", "path": model, "weight": 2}]},
            "lists": {"domains": {DOMAIN: list(languages)}},
            "student": {"start": model, "head": "own"},
            "train": {"general_steps": 0},
            "merge": {"on": "weights", "keep": [str(run) for run in keep]},
        }
        return recipe_from(content, f"the recipe of `tamis adapt {model} {corpus}`")

    folders = run_recipe(recipe([UNKNOWN_LANGUAGE]), out, "corpus")
    languages = {d.language for d in read_records(folders["corpus"] / "corpus.parquet", Document)}
    if not languages:
        raise InputError(f"{corpus}: no usable document")
    folders = run_recipe(recipe(sorted(languages)), out, "merge", announce, consider)
    path = read_json(folders["merge"] / "path.json")
    agreement = {
        domain: tuple(path["agreement"][name][domain] for name in ("untrained", DOMAIN, "merged"))
        for domain in path["domains"]
    }
    return Adapted(folders["merge"] / "model", agreement, path["order"])


def _known_encoder(model: str, named: object) -> Path:
    if isinstance(named, str) and Path(named).is_dir():
        return Path(named)
    found = f"it names {named!r}, which is not here" if named else "its lineage names none"
    raise SettingsError(f"{model}: no bi-encoder to retrieve and teach with ({found}); give one with --encoder")
