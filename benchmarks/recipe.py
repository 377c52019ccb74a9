"""Which recipe adapts best: one thing changed at a time, written queries, several sets, the same number of pairs.

    make bench-recipe                                             # hours on two cores; goes on where it stopped
    python benchmarks/recipe.py --sets piaf-fr --seeds 17 --variants default margin-mse

Every variant is `tamis adapt tamis-base SET --queries FILE` with some settings changed, and learns from as many pairs
as the default but where it says otherwise. Its specialist is measured on judged questions that nothing else reads,
beside tamis-base and beside the default's specialist, paired by question over all sets and seeds. Writes
benchmarks/results/recipe.json and recipe.md after every run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from adapted_runs import FAQ, SETS, SHOWN, Measured, adapt_command, over_sets, run, set_command
from command_line import data_parser
from machine import commit, machine
from results import write_results
from writers import CORPUS, LANGUAGES, STRONG

OUT = Path("demo") / "bench-recipe"
DEFAULT = "default"
VARIANTS: dict[str, list[str]] = {
    DEFAULT: [],
    "learning rate 1e-6": ["train.learning_rate=1e-6"],
    "learning rate 1e-5": ["train.learning_rate=1e-5"],
    "learning rate 2e-4": ["train.learning_rate=2e-4"],
    "two passes": ["train.passes=2", "train.specialist_steps=560"],
    "margin-MSE": ["train.loss=margin-mse"],
    "margin-MSE, own document half a deviation up": ["train.loss=margin-mse", "scores.seed_bonus=0.5"],
    "the paper's hinge": ["train.loss=gap-hinge", "lists.rescale=min-max", "train.double_hard_margins=true"],
    "own document two deviations up": ["scores.seed_bonus=2"],
    "lists of 8": ["lists.documents=8", "train.lists_per_step=16", "train.passes=2"],
    "lists of 8, the best 8": ["lists.documents=8", "lists.near=8", "train.lists_per_step=16", "train.passes=2"],
    "16 bins of the best 100": ["lists.near=0"],
    "quantile anchors, best 100": ["lists.near=0", "lists.anchors=quantile"],
    "all twelve layers": ["student.apart_layers=10"],
    "a quarter of the solved queries": ["lists.solved=0.25"],
    "no solved queries": ["lists.solved=0"],
    "extracts": ["queries.written=[]", "queries.generator=extractive"],
    "extracts, margin-MSE": [
        "queries.written=[]", "queries.generator=extractive", "train.loss=margin-mse", "scores.seed_bonus=0.5",
    ],
}  # fmt: skip
"""What each variant changes."""


def command_for(data: Path, name: str, questions: int, threads: int, changes: Sequence[str]) -> list[str]:
    """The command that adapts to a set and measures it."""
    more = [word for change in changes for word in ("--set", change)]
    if name != FAQ:
        return [*set_command(data, name, questions, threads), *more]
    judged = [f"evaluate.queries={CORPUS / 'queries.jsonl'}", f"evaluate.qrels={CORPUS / 'qrels' / 'test.tsv'}"]
    settings = [f"corpus.languages={LANGUAGES}", f"machine.threads={threads}", *judged]
    return [*adapt_command(CORPUS, [STRONG], settings), *more]


def summarise(found: Mapping[str, Mapping[str, Sequence[Measured]]]) -> dict[str, Any]:
    """Of each variant, against tamis-base and against the default."""
    return {
        variant: {
            place: {
                "over tamis-base": over_sets(runs, runs, ("specialists", "untrained"), place),
                "over the default": over_sets(runs, found[DEFAULT], ("specialists", "specialists"), place),
            }
            for place in SHOWN
        }
        | {"minutes": mean(one.facts["wall_seconds"] for of in runs.values() for one in of) / 60,
           "sets": {name: len(of) for name, of in runs.items()}}
        for variant, runs in found.items()
    }  # fmt: skip


def markdown(summary: Mapping[str, Any]) -> str:
    """A row for each variant."""
    lines = [
        "| points over tamis-base | " + " | ".join(f"{place} | p" for place in SHOWN) + " | over the default | p |",
        "|---|" + "---:|" * (2 * len(SHOWN) + 2),
    ]
    for variant, row in summary.items():
        cells = [row[place]["over tamis-base"] for place in SHOWN] + [row[SHOWN[0]]["over the default"]]
        shown = [text for cell in cells for text in (f"{cell['points']:+.2f}", f"{cell['p_value']:.2g}")]
        lines.append(f"| {variant} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every variant on every set with every seed, writing after each."""
    parser = data_parser(__doc__)
    parser.add_argument("--sets", nargs="*", default=[FAQ, *SETS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--questions", type=int, default=400, help="of each set but the FAQ, drawn by hash")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    found: dict[str, dict[str, list[Measured]]] = {}
    for seed in chosen.seeds:
        for name in chosen.sets:
            for variant in chosen.variants:
                command = command_for(chosen.data, name, chosen.questions, chosen.threads, VARIANTS[variant])
                measured = run(command, OUT / name, seed, variant)
                found.setdefault(variant, {}).setdefault(name, []).append(measured)
                if DEFAULT in found:
                    summary = summarise(found)
                    content = {
                        "commit": commit(),
                        "machine": machine(),
                        "seeds": chosen.seeds,
                        "figures": summary,
                        "targets": [],
                    }
                    write_results("recipe", content, markdown(summary))
    print(markdown(summarise(found)))


if __name__ == "__main__":
    main()
