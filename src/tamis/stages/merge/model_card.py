"""The model card that lies beside the weights: where they come from, what they learnt, what it cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.artifacts import read_json
from tamis.context import RunContext
from tamis.formulas.overlap import content_sample
from tamis.models.checkpoint import ORDER, OTHER, Deployment
from tamis.records import Document, Facts, TrainingList

STAGES = ("corpus", "queries", "candidates", "scores", "lists", "train")
"""What a student learns from, and learning itself."""

_TOLD = {ORDER: "the order alone, where no scores are known", OTHER: "scores of any other first stage"}


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        recipe: Name of its recipe.
        seed: Of the recipe.
        start: What it started from.
        encoder: The first stage's bi-encoder.
        teacher: Its scorers and their weights, in words.
        loss: What was minimised.
        target: The corpus that was adapted to, if any.
        general: The general corpora.
        written: Files of queries that were written outside the run.
        logs: Files of queries that people typed.
    """

    recipe: str
    seed: int
    start: Path
    encoder: Path
    teacher: str
    loss: str
    target: Path | None
    general: Sequence[Path]
    written: Sequence[Path]
    logs: Sequence[Path]


def model_card(
    provenance: Provenance, context: RunContext, deployment: Deployment, lists: Sequence[TrainingList]
) -> str:
    """A Hugging Face model card in Markdown.

    Args:
        provenance: Where the model comes from.
        context: The run; its stages up to the training are finished.
        deployment: What `tamis.json` says of the model's use, and of its origin: agreement by domain and parents are
            shown.
        lists: All lists of the run.
    """
    lineage = deployment.lineage
    manifests = {name: read_json(context.folders[name] / "manifest.json") for name in STAGES}
    languages = dict(sorted(Counter(context.queries[one.query_id].language for one in lists).items()))
    lines = [
        "---",
        "library_name: tamis",
        "pipeline_tag: text-ranking",
        f"base_model: {provenance.start}",
        f"language: [{', '.join(sorted({language.split('-')[0] for language in languages}))}]",
        "tags: [reranker, cross-encoder, tamis]",
        "---",
        "",
        f"# {provenance.recipe}",
        "",
        _what_it_is(provenance),
        "",
        "```python",
        "from tamis import Reranker",
        "",
        'Reranker("path/to/this/folder").rank("a query", ["a document", "another"])',
        "```",
        "",
        "## What it learnt from",
        "",
        *_corpora(provenance),
        "",
        *_table(("stage", "kept", "left out", "seconds"), _stages(manifests)),
        "",
        *_table(("language", "lists"), [(language, str(count)) for language, count in languages.items()]),
        "",
        f"Teacher: {provenance.teacher}. Loss: {provenance.loss}. {_judged(lineage)}",
        "",
        "## How far it agrees with its teacher",
        "",
        "nDCG@10 against the teacher's grades, on queries held out from training.",
        "",
        *_table(("domain", "agreement"), [(d, f"{value:.4f}") for d, value in lineage.get("agreement", {}).items()]),
        "",
        f"Parents, in the order they were merged: {', '.join(lineage.get('parents', [])) or 'none'}.",
        "",
        *_weights(deployment),
    ]
    return "\n".join(lines) + "\n"


def _judged(lineage: Mapping[str, Any]) -> str:
    if folder := lineage.get("judged_on"):
        return f"Graded questions of {Path(folder).name} decided what was merged; figures on them flatter it."
    return "No relevance judgement of the target was read."


def _weights(deployment: Deployment) -> Iterator[str]:
    weights = ", ".join(f"{w:g} ({_TOLD.get(name, name)})" for name, w in deployment.first_stage_weights.items())
    chosen_on = Path(deployment.lineage["weighed_on"]).name
    yield f"Weight of the first stage's z-score beside the model's: {weights}; chosen on {chosen_on}."
    for name, found in deployment.weights_by_language.items():
        other = ", ".join(f"{weight:g} ({language})" for language, weight in found.items())
        yield f"For queries in some languages another one is surely better with {_TOLD.get(name, name)}: {other}."


def _what_it_is(made: Provenance) -> str:
    target = f"adapted without labels to {made.target}" if made.target else "for text of any topic"
    goes_on = f" It goes on from `{made.start}`." if made.start != made.encoder else ""
    return f"A reranker {target}, made by tamis from the recipe `{made.recipe}`, seed {made.seed}.{goes_on}"


def _corpora(made: Provenance) -> Iterator[str]:
    """A line per corpus, with its licence where a file beside it says one, and per file of queries."""
    for folder in [*([made.target] if made.target else []), *made.general]:
        yield f"- {folder.name}: {licence_of(folder) or 'licence not stated beside the corpus'}"
    for path in made.written:
        yield f"- {path.name}: queries written about the documents, outside this run"
    for path in made.logs:
        yield f"- {path.name}: queries that people typed"


def licence_of(folder: Path) -> str:
    """The licence that a corpus folder states, empty if none: LICENCE.txt's first line, or its line in SOURCE.txt."""
    for name, wanted in (("LICENCE.txt", ""), ("LICENSE.txt", ""), ("SOURCE.txt", "licence")):
        file = folder / name
        if file.is_file():
            lines = [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").split("\n")]
            found = next((line for line in lines if line and line.lower().startswith(wanted)), "")
            if found:
                return found.partition(":")[2].strip() if wanted else found
    return ""


def _stages(manifests: Mapping[str, Facts]) -> Iterator[tuple[str, ...]]:
    for name, manifest in manifests.items():
        counts = manifest["counts"]
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in counts["dropped"].items())
        yield name, f"{counts['kept']:,}", dropped, f"{manifest['seconds']:,.0f}"


def _table(header: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def target_facts(target: Path | None, documents: Mapping[str, Document]) -> dict[str, Any] | None:
    """Name, size and a sample of the hashes of the corpus that was adapted to; None without one."""
    if target is None:
        return None
    texts = [document.text for document in documents.values()]
    return {"name": target.name, "documents": len(texts), "sample": content_sample(texts)}
