"""Which recipe adapts best: one thing changed at a time, written queries, several sets, the same number of pairs.

    make bench-recipe                                             # hours on two cores; goes on where it stopped
    python benchmarks/recipe.py --sets debianfaq --seeds 17 --variants default margin-MSE

Every variant is `tamis adapt tamis-base SET --queries FILE` with some settings changed and, but where it says
otherwise, half the steps that the command takes by default, so that all learn from as many pairs. Its specialist is
measured on judged questions that nothing else reads, beside tamis-base and beside the default's specialist, paired by
question over all sets and seeds. On the FAQ some written queries are put aside first (`splits.py`): they say which way
to hold queries out would have chosen among the variants as people's questions do. Writes
benchmarks/results/recipe.json and recipe.md after every run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from adapted_runs import (
    FAQ,
    SETS,
    SHOWN,
    Measured,
    adapt_command,
    over_sets,
    recipe_of,
    run,
    set_settings,
    stage_folders,
)
from averaged import averaged_table, measure_average
from command_line import data_parser
from machine import DOCS, commit
from results import publish
from splits import SPLITS, agreement_with_people, measure_student, split_queries
from writers import CORPUS

OUT = Path("demo") / "bench-recipe"
HELD_OUT = OUT / "held-out"
DEFAULT = "default"
STEPS = 140
"""Of every variant but one; `tamis adapt` takes twice as many."""

VARIANTS: dict[str, list[str]] = {
    DEFAULT: [],
    "margin-MSE": ["train.loss=margin-mse"],
    "the paper's hinge": ["train.loss=gap-hinge", "lists.rescale=min-max", "train.double_hard_margins=true"],
    "learning rate 1e-6": ["train.learning_rate=1e-6"],
    "learning rate 1e-5": ["train.learning_rate=1e-5"],
    "learning rate 2e-4": ["train.learning_rate=2e-4"],
    "own document two deviations up": ["scores.seed_bonus=2"],
    "own document alone, no order of the rest": ["scores.seed_bonus=30"],
    "lists of 8": ["lists.documents=8", "train.lists_per_step=16", "train.passes=2"],
    "lists of 8, the best 8": ["lists.documents=8", "lists.near=8", "train.lists_per_step=16", "train.passes=2"],
    "16 bins of the best 100": ["lists.near=0"],
    "quantile anchors, best 100": ["lists.near=0", "lists.anchors=quantile"],
    "no solved queries": ["lists.solved=0"],
    "a quarter of the solved queries": ["lists.solved=0.25"],
    "twice the steps": [f"train.specialist_steps={2 * STEPS}", "train.passes=2"],
    "extracts": ["queries.generator=extractive"],
    "extracts, margin-MSE": ["queries.generator=extractive", "train.loss=margin-mse", "scores.seed_bonus=0.5"],
    "all twelve layers": ["student.apart_layers=10"],
}
"""What each variant changes."""


def command_for(data: Path, name: str, questions: int, threads: int, changes: Sequence[str]) -> list[str]:
    """The command that adapts to a set and measures it."""
    corpus, written = (
        (CORPUS, HELD_OUT / "learnt.tsv") if name == FAQ else (data / name, data / "written" / f"{name}.tsv")
    )
    files = [] if any("extractive" in change for change in changes) else [written]
    steps = f"train.specialist_steps={STEPS}"
    return adapt_command(
        corpus, files, [f"machine.threads={threads}", *set_settings(corpus, questions), steps, *changes]
    )


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


def markdown(summary: Mapping[str, Any], splits: Mapping[str, Mapping[str, float]], average: Mapping[str, Any]) -> str:
    """A row for each variant; how well each split chooses among them; several students as one."""
    lines = [
        "| points over tamis-base | " + " | ".join(f"{place} | p" for place in SHOWN) + " | over the default | p |",
        "|---|" + "---:|" * (2 * len(SHOWN) + 2),
    ]
    for variant, row in summary.items():
        cells = [row[place]["over tamis-base"] for place in SHOWN] + [row[SHOWN[0]]["over the default"]]
        shown = [text for cell in cells for text in (f"{cell['points']:+.2f}", f"{cell['p_value']:.2g}")]
        lines.append(f"| {variant} | " + " | ".join(shown) + " |")
    lines += ["", "| tau with real questions | " + " | ".join(SPLITS) + " |", "|---|" + "---:|" * len(SPLITS)]
    lines += [
        f"| {place} | " + " | ".join(f"{of[split]:+.2f}" for split in SPLITS) + " |" for place, of in splits.items()
    ]
    lines += averaged_table(average)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every variant on every set with every seed, writing after each."""
    parser = data_parser(__doc__)
    parser.add_argument("--sets", nargs="*", default=[FAQ, *SETS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument(
        "--spread", type=int, nargs="*", default=[], help="further seeds, of the default on the FAQ alone"
    )
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--questions", type=int, default=600, help="of each set, drawn by hash")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if FAQ in chosen.sets:
        split_queries(HELD_OUT)
    found: dict[str, dict[str, list[Measured]]] = {}
    students: dict[str, tuple[Measured, Mapping[str, float]]] = {}
    seeds = [*chosen.seeds, *chosen.spread]
    jobs = [(seed, name, variant) for seed in chosen.seeds for name in chosen.sets for variant in chosen.variants]
    for seed, name, variant in [*jobs, *((seed, FAQ, DEFAULT) for seed in chosen.spread)]:
        command = command_for(chosen.data, name, chosen.questions, chosen.threads, VARIANTS[variant])
        one = run(command, OUT / name, seed, variant)
        found.setdefault(variant, {}).setdefault(name, []).append(one)
        if name == FAQ:
            folders = stage_folders(OUT / FAQ / "run", one.facts["stages"])
            students[f"{variant}, {seed}"] = one, measure_student(recipe_of(command, seed), folders, HELD_OUT)
        if DEFAULT in found:
            write(found, students, {}, seeds)
    several = found.get(DEFAULT, {}).get(FAQ, [])
    if len(several) > 1:
        command = command_for(chosen.data, FAQ, chosen.questions, chosen.threads, VARIANTS[DEFAULT])
        average = measure_average(several, recipe_of(command, chosen.seeds[0]), OUT / FAQ / "run")
        write(found, students, average, seeds)


def write(
    found: Mapping[str, Mapping[str, Sequence[Measured]]],
    students: Mapping[str, tuple[Measured, Mapping[str, float]]],
    average: Mapping[str, Any],
    seeds: Sequence[int],
) -> None:
    """Write what was measured so far.

    Args:
        found: Runs by variant and set.
        students: Of the FAQ, by name: the run, and `measure_student`.
        average: Of `measure_average`; may be empty.
        seeds: Asked for.
    """
    summary, splits = summarise(found), agreement_with_people(students)
    content = {
        "seeds": seeds,
        "steps": STEPS,
        "adapted_to_corpus": True,
        "figures": summary,
        "splits": {"students": {name: of for name, (_, of) in students.items()}, "tau": splits},
        "averaged": average,
        "targets": [],
    }
    publish("recipe", commit(), content, markdown(summary, splits, average), [DOCS / "training.md"])


if __name__ == "__main__":
    main()
