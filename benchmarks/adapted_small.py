"""What adapting tamis-small to documents gains: as it comes, adapted with tamis-base as its teacher, and tamis-base.

    make bench-adapted_small                                    # the sets below ../shared/data
    python benchmarks/adapted_small.py --data DIR --questions 50 scifact

Every set runs `tamis adapt tamis-small SET --queries FILE` with queries that a language model wrote about its
documents, and nothing else. Without labels: agreement with the teacher on held-out queries, before and after. With
labels that no stage has seen: nDCG@10 of the best 20 documents of BM25 and of the weighted hybrid, paired by question.
Documents were adapted to. Writes benchmarks/results/adapted_small.json and adapted_small.md.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adapted_runs import FAQ, adapt_command, spoken_in
from adapted_runs import SETS as FURTHER
from command_line import data_parser
from machine import DOCS, commit
from results import checked, publish, targets_table
from served import Figures, figures_of, measure, pooled, sets_table
from tamis.artifacts import read_json
from tamis.records import WAYS
from tamis.weights.shipped import BASE, SMALL

OUT = Path("demo") / "bench-adapted_small"
ADAPTED = "adapted"
SETS = (FAQ, *FURTHER)
SHOWN = {f"{way}hybrid": told for way, told in WAYS.items()}
"""Ways to use a model on the hybrid's candidates."""


class Adaptation(NamedTuple):
    """What one set's adaptation came to.

    Attributes:
        model: Folder of the result.
        agreement: With the teacher on held-out queries: of the model as it came, and of the result.
        seconds: Of the command.
    """

    model: Path
    agreement: tuple[float, float]
    seconds: float


def adapt(data: Path, name: str, seed: int, threads: int) -> Adaptation:
    """Adapt tamis-small to a set; what an earlier call has finished is not done again."""
    out = OUT / name
    changes = [spoken_in(name), f"machine.threads={threads}", f"seed={seed}"]
    command = adapt_command(data / name, [data / "written" / f"{name}.tsv"], changes, SMALL)
    command += ["--out", str(out / "run"), "--model", str(out / "model"), "--yes"]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "tamis", *command], check=True)
    seconds = time.monotonic() - start
    path = read_json((out / "model").resolve().parent / "path.json")
    (domain,) = path["domains"]
    agreement = tuple(path["agreement"][student][domain] for student in ("untrained", "merged"))
    return Adaptation(out / "model", (agreement[0], agreement[1]), round(seconds, 1))


def targets(found: Figures) -> list[dict[str, Any]]:
    """What adapting gains over the model as it comes, on all sets together."""
    rows: list[tuple[str, float, str]] = []
    for way, told in SHOWN.items():
        gain = pooled(found, f"{ADAPTED}{way}", f"{SMALL}{way}")
        rows.append((f"adapted over tamis-small {told}, points", gain["points"], ">= 1"))
        rows.append((f"adapted over tamis-small {told}, p", gain["p_value"], "< 0.01"))
    return checked(rows)


def markdown(found: Figures, made: Mapping[str, Adaptation], reached: Sequence[dict[str, Any]]) -> str:
    """By set: the models in each way, then agreement and minutes; then the targets."""
    models = {SMALL: SMALL, ADAPTED: "adapted", BASE: BASE}
    systems = {f"{model}{way}": f"{told} {as_told}" for way, as_told in SHOWN.items() for model, told in models.items()}
    lines = [*sets_table(found, {"hybrid": "hybrid", **systems}), ""]
    lines += ["| on held-out queries, without labels | tamis-small | adapted | minutes |", "|---|---:|---:|---:|"]
    for name, one in made.items():
        before, after = one.agreement
        lines.append(f"| {name} | {before:.3f} | {after:.3f} | {one.seconds / 60:.0f} |")
    return "\n".join([*lines, "", *targets_table(reached)]) + "\n"


def main() -> None:
    """Adapt and measure set by set, then write."""
    parser = data_parser(__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    found_commit = commit()
    made: dict[str, Adaptation] = {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in chosen.sets:
        made[name] = adapt(chosen.data, name, chosen.seed, chosen.threads)
        models = (BASE, SMALL, f"{ADAPTED}={made[name].model}")
        found[name] = measure(chosen.data / name, chosen.questions, models)
        write(found_commit, chosen.seed, found, made)


def write(at: str, seed: int, found: Figures, made: Mapping[str, Adaptation]) -> None:
    """Write what was measured so far."""
    reached = targets(found)
    content = {
        "seeds": [seed],
        "depth": 20,
        "adapted_to_corpus": True,
        "agreement": {name: one.agreement for name, one in made.items()},
        "seconds": {name: one.seconds for name, one in made.items()},
        **figures_of(found, (BASE, SMALL, ADAPTED)),
        "targets": reached,
    }
    publish("adapted_small", at, content, markdown(found, made, reached), [DOCS / "models.md"])


if __name__ == "__main__":
    main()
