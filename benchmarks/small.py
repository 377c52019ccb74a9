"""What tamis-small keeps of tamis-base's ranking: both on sets of which neither has read a question.

    make bench-small                                      # the sets below ../shared/data
    python benchmarks/small.py --data DIR --questions 50 piaf-fr

Both models on the best 20 documents of BM25, of e5-small's vectors and of their weighted sum, in the three ways of
`tamis evaluate`; the same questions as `make bench-served`. How fast both are: `make bench-scoring`. Writes
benchmarks/results/small.json and small.md.
"""

import time
from collections.abc import Sequence
from typing import Any

from command_line import data_parser
from general import SETS
from machine import DOCS, commit
from results import checked, publish, targets_table
from served import Figures, figures_of, measure, pooled, sets_table, worst_set
from tamis.records import SCORED, WAYS
from tamis.weights.shipped import BASE, SHIPPED, SMALL


def targets(found: Figures) -> list[dict[str, Any]]:
    """What is asked of the small model beside the hybrid."""
    small, base = f"{SMALL}{SCORED}hybrid", f"{BASE}{SCORED}hybrid"
    over, to_base = pooled(found, small, "hybrid"), pooled(found, small, base)
    worst, points = worst_set(found, small, "hybrid")
    rows = [
        ("small beside the hybrid over the hybrid, points", over["points"], ">= 1.0"),
        ("small beside the hybrid over the hybrid, p", over["p_value"], "< 0.01"),
        ("small over base, both beside the hybrid, points", to_base["points"], ">= -1.0"),
        (f"small beside the hybrid, worst set ({worst}), points", points, ">= -0.3"),
    ]
    return checked(rows)


def markdown(found: Figures, reached: Sequence[dict[str, Any]]) -> str:
    """A row for each set: the hybrid, and what both models make of it in each way; then the targets."""
    ways = {f"{model}{way}hybrid": f"{model} {told}" for way, told in WAYS.items() for model in (BASE, SMALL)}
    table = sets_table(found, {"hybrid": "hybrid", **ways})
    return "\n".join([*table, "", *targets_table(reached)]) + "\n"


def main() -> None:
    """Measure set by set, then write."""
    parser = data_parser(__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--questions", type=int, default=300)
    chosen = parser.parse_args()
    start, found_commit = time.monotonic(), commit()
    found = {name: measure(chosen.data / name, chosen.questions, (BASE, SMALL)) for name in chosen.sets}
    reached = targets(found)
    content = {
        "seeds": [],
        "seconds": round(time.monotonic() - start, 1),
        "depth": 20,
        **figures_of(found, (BASE, SMALL)),
        "targets": reached,
    }
    pages = [DOCS / "models.md", SHIPPED / SMALL / "README.md"] if chosen.sets == list(SETS) else []
    publish("small", found_commit, content, markdown(found, reached), pages)


if __name__ == "__main__":
    main()
