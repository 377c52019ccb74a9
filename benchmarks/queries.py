"""Which queries: extracts against a language model's, one against three a document, filters on, off and strict.

    make bench-queries                                     # the sets below ../shared/data; fetches the language model
    python benchmarks/queries.py --data DIR --documents 0  # extracts only

The corpora, the student and its steps are those of benchmarks/ablation.py; only the queries differ. Extracts are taken
from every document, since they cost nothing. The language model gets the same number of requests either way: one query
of each of `--documents`, or three of each of a third of them. Filters that the recipe can set are the round trip (the
teacher must rank the seed document among its best 10; strict: first; off: anywhere) and near-duplicates (off; strict:
half of the pairs of words in common). Copies, wrong languages and lengths are filtered always, and a query whose seed
document is not among the 100 candidates is in no list. A quarter of the seed documents is held out, so that some of the
few that the language model saw can choose the checkpoint. Writes benchmarks/results/queries.json and queries.md after
every variant; started again, it goes on from what demo/bench-queries keeps.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from choices import CORPORA, Measured, build_corpora, measure_variant, recipe_for, write_choices
from command_line import data_parser
from corpora.fetch import fetch
from machine import commit

OUT = Path("demo") / "bench-queries"

DEFAULT = "extracts, 1 a document"

HELD_OUT = "lists.held_out=0.25"
ONE, THREE = "queries.per_document=1", "queries.per_document=3"
OFF = ["lists.round_trip=1000000", "queries.near_duplicate=0"]
STRICT = ["lists.round_trip=1", "queries.near_duplicate=0.5"]
EXTRACTS = {
    DEFAULT: [ONE],
    "extracts, 3 a document": [THREE],
    "extracts, 3 a document, filters off": [THREE, *OFF],
    "extracts, 3 a document, filters strict": [THREE, *STRICT],
}
"""What each variant of the extracts changes in the demo's recipe."""


def written(model: Path, documents: int) -> dict[str, list[str]]:
    """What each variant with a language model changes; its queries are those of the others wherever they can be."""
    ours = ["queries.generator=llama", f"queries.llama={{model: {model}}}"]
    one = [*ours, ONE, f"queries.documents={documents}"]
    return {
        "language model, 1 a document": one,
        "language model, 3 a document": [*ours, THREE, f"queries.documents={-(-documents // 3)}"],
        "language model, 1 a document, filters off": [*one, *OFF],
        "language model, 1 a document, filters strict": [*one, *STRICT],
    }


def measure(name: str, seed: int, steps: int, variant: str, changes: list[str]) -> Measured:
    """One variant on one corpus with one seed; the untrained student with the default, since all start from it."""
    students = ("untrained", "general") if variant == DEFAULT else ("general",)
    recipe = recipe_for(OUT, name, seed, steps, [HELD_OUT, *changes])
    return {variant: measure_variant(recipe, OUT / f"{name}-{seed}", variant, students)}


def counts_table(found: Mapping[tuple[str, int], Measured]) -> str:
    """Of every variant, first seed: queries that were asked for, kept by the filters, and learnt from or held out."""
    first: dict[str, Measured] = {}
    for (name, _), of in found.items():
        first.setdefault(name, of)
    names = [name for name in CORPORA if name in first]
    lines = ["| asked, kept, in lists | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for variant in first[names[0]]:
        facts = [first[name][variant][2] for name in names]
        cells = [f"{one['queries']['in']}, {one['queries']['kept']}, {one['lists']['kept']}" for one in facts]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(at: str, found: Mapping[tuple[str, int], Measured], facts: Mapping[str, Any]) -> None:
    """Write what was measured so far."""
    beside = {"over untrained": "over_untrained", "over the first row's": "over_default"}
    write_choices("queries", at, found, DEFAULT, beside, facts, f"\n{counts_table(found)}")


def main() -> None:
    """Measure every variant on every corpus, writing after each variant."""
    parser = data_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--questions", type=int, default=100, help="of each corpus, drawn by hash")
    parser.add_argument("--corpus", type=int, default=500, help="documents of each corpus, those that answer included")
    parser.add_argument(
        "--documents",
        type=int,
        default=84,
        help="of each corpus that the language model is shown; 0: none, extracts only",
    )
    parser.add_argument("--model", type=Path, help="GGUF file; default qwen-0.5b, fetched if it is not there")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    at = commit()
    facts = {"steps": chosen.steps, "corpus": chosen.corpus, "documents": chosen.documents, "model": ""}
    variants = dict(EXTRACTS)
    if chosen.documents:
        model = chosen.model or Path("demo") / "models" / "qwen-0.5b.gguf"
        if not chosen.model:
            fetch("qwen-0.5b", model)
        variants |= written(model, chosen.documents)
        facts["model"] = model.stem
    build_corpora(chosen.data, OUT, chosen.questions, chosen.corpus)
    found: dict[tuple[str, int], Measured] = {}
    for seed in chosen.seeds:
        for variant, changes in variants.items():
            for name in CORPORA:
                found.setdefault((name, seed), {}).update(measure(name, seed, chosen.steps, variant, changes))
            write(at, found, facts)


if __name__ == "__main__":
    main()
