"""Which loss, and which start: equal budgets, three corpora, three seeds; what the defaults rest on.

    make bench-ablation                                    # the sets below ../shared/data, seeds 17, 18, 19
    python benchmarks/ablation.py --data DIR --seeds 17 --steps 20 --questions 20

None of the corpora is one on which results are reported. Queries are written from their documents and scored by the
demo's teacher without tamis-base; every variant learns the same lists in the same order for the same number of steps,
the checkpoint is chosen by agreement as always, and the corpus' own questions measure it. `stock` starts from a new
head of one label, learns all layers and is trained with the first seed only; `distilled` learns from the warm student's
scores instead of the teacher's. Writes benchmarks/results/ablation.json and ablation.md.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from choices import CORPORA, Measured, build_corpora, measure_variant, recipe_for, write_choices
from command_line import data_parser
from machine import commit
from tamis.pipeline.run import run_recipe

OUT = Path("demo") / "bench-ablation"
LOSSES = {
    "margin-mse": [],
    "gap-hinge": ["train.loss=gap-hinge", "lists.rescale=min-max"],
    "gap-hinge, doubled": ["train.loss=gap-hinge", "lists.rescale=min-max", "train.double_hard_margins=true"],
    "listwise": ["train.loss=listwise"],
    "ranknet": ["train.loss=ranknet"],
    "lambda": ["train.loss=lambda"],
    "pointwise-mse": ["train.loss=pointwise-mse"],
    "pointwise-bce": ["train.loss=pointwise-bce"],
}
"""What each variant of the warm start changes in the recipe."""

DEFAULT = "margin-mse"

STOCK = ["student.head=stock", "student.document_tokens=128"]
STARTS = {"stock, margin-mse": STOCK, "stock, gap-hinge": [*STOCK, *LOSSES["gap-hinge"]]}
DISTILLED = "stock, distilled from warm"
STRONG = {"kind": "reranker", "path": "tamis-base", "weight": 2}
TAUGHT = {
    "margin-mse, tamis-base teaches too": ["candidates.depth=30", f"scores.teachers={json.dumps([STRONG])}"],
}
"""A teacher that is stronger than the student that it teaches."""


def measure_losses(name: str, seed: int, steps: int) -> Measured:
    """Every loss on one corpus with one seed; the untrained student once, since all start from it."""
    found = {}
    for label, changes in LOSSES.items():
        students = ("untrained", "general") if label == DEFAULT else ("general",)
        found[label] = measure_variant(
            recipe_for(OUT, name, seed, steps, changes), OUT / f"{name}-{seed}", label, students
        )
    return found


def measure_starts(name: str, seed: int, steps: int) -> Measured:
    """Stock heads and a stronger teacher on one corpus with one seed."""
    root = OUT / f"{name}-{seed}"
    warm = run_recipe(recipe_for(OUT, name, seed, steps, []), root, until="merge")["merge"] / "model"
    alone = {"dense": 0, "bm25": 0, "use": 0, "teachers": [{"kind": "reranker", "path": str(warm)}]}
    distilled = [*STOCK, "candidates.depth=30", f"scores={json.dumps(alone)}"]
    wanted = {**STARTS, DISTILLED: distilled, **TAUGHT}
    return {
        label: measure_variant(recipe_for(OUT, name, seed, steps, changes), root, label)
        for label, changes in wanted.items()
    }


def main() -> None:
    """Measure everything."""
    parser = data_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--questions", type=int, default=100, help="of each corpus, drawn by hash")
    parser.add_argument("--documents", type=int, default=500, help="of each corpus, those that answer included")
    parser.add_argument("--losses-only", dest="starts", action="store_false", help="leave the stock heads out")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    at, facts = commit(), {"steps": chosen.steps, "documents": chosen.documents}
    build_corpora(chosen.data, OUT, chosen.questions, chosen.documents)
    found: dict[tuple[str, int], Measured] = {}
    # Written after every seed: hours of work, of which a part says something already.
    for seed in chosen.seeds:
        found |= {(name, seed): measure_losses(name, seed, chosen.steps) for name in CORPORA}
        write(at, found, facts)
    if chosen.starts:
        first = chosen.seeds[0]
        for name in CORPORA:
            found[name, first] |= measure_starts(name, first, chosen.steps)
        write(at, found, facts)


def write(at: str, found: Mapping[tuple[str, int], Measured], facts: Mapping[str, Any]) -> None:
    """Write what was measured so far."""
    write_choices("ablation", at, found, DEFAULT, {"over untrained": "over_untrained"}, facts)


if __name__ == "__main__":
    main()
