"""What adapting gains: the demo's corpus and three more, three seeds, on questions that no stage has seen.

    make bench-adaptation                                       # the FAQ, and the sets below ../shared/data
    python benchmarks/adaptation.py --seeds 17 --sets piaf-fr   # a part; results of the other parts stay

The FAQ runs recipes/demo.yaml; every other set runs what `tamis adapt tamis-base SET --queries FILE` runs, with the
queries that a language model wrote about some of its documents. Every figure is nDCG@10 of the best 20 documents of a
first stage, reranked: as a server answers (by the documents' order), alone, or with the first stage's scores. The
judged questions measure and do nothing else; documents were adapted to. Differences are paired question by question,
of figures that are means over the seeds, tested by sign flips; a mean over languages or sets weighs each alike.

`--writers` also measures who should write: extracts, a model of half a billion weights, a strong one, and people whose
questions are about the other half of the topics, each by one seed of `tamis adapt` on the half that is left.
Writes benchmarks/results/adaptation.json and adaptation.md after every run; started again, it goes on. What was
measured is kept under the keys of its recipe and the hash of the source: another setting, other data or other code
measure anew, as far as a stage's key has changed. Sets that a call does not measure keep their rows, each with the
commit that it is of; p-values over all sets stay those of the last call that measured them all.
"""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from adapted_runs import FAQ, OUT, PLACES, SETS, SHOWN, Measured, faq_command, gains, over_sets, run, set_command
from command_line import data_parser
from judged import macro_mean
from machine import DOCS, commit
from results import checked, earlier_results, publish, targets_table
from writers import measure_writers


def figures(runs: Sequence[Measured]) -> dict[str, Any]:
    """Means over seeds of all systems, and what the merged student gains and keeps in each place."""
    language = runs[0].language
    systems = {
        name: {"mean": mean(per := [macro_mean(one.values[name], language)["mean"] for one in runs]),
               "stdev": stdev(per) if len(per) > 1 else 0.0}
        for name in runs[0].values
    }  # fmt: skip
    compared = {
        f"{student} over {baseline}, {place}": gains(runs, student, baseline, place)
        for place in PLACES
        for student, baseline in (("merged", "untrained"), ("merged", "first stage"), ("specialists", "untrained"),
                                  ("untrained", "first stage"))
    }  # fmt: skip
    return {"questions": len(language), "ndcg10": systems, "compared": compared, "runs": [one.facts for one in runs]}


def in_order(sets: Mapping[str, Any]) -> dict[str, Any]:
    """By set, the FAQ first."""
    return {name: sets[name] for name in (FAQ, *SETS) if name in sets}


def targets(sets: Mapping[str, Any], together: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the issue of this benchmark asks for, with what was reached.

    Args:
        sets: `figures` of each set.
        together: Merged over untrained by place, of `over_sets`; empty where no further set was measured.
    """
    rows: list[tuple[str, float, str]] = []
    if FAQ in sets:
        compared, runs = sets[FAQ]["compared"], sets[FAQ]["runs"]
        for place, bound in (("alone on hybrid", 1.5), ("alone on BM25", 1.5), ("beside the hybrid", 1.0)):
            gain = compared[f"merged over untrained, {place}"]
            rows += [
                (f"FAQ, merged over tamis-base {place}, points", gain["points"], f">= {bound}"),
                (f"FAQ, merged over tamis-base {place}, p", gain["p_value"], "< 0.01"),
            ]
        rows.append(
            (
                "FAQ, merged alone over the hybrid, points",
                compared["merged over first stage, alone on hybrid"]["points"],
                ">= 1",
            )
        )
        worst = min(compared[f"merged over untrained, {place}"]["worst_language"][1] for place in PLACES)
        rows.append(("FAQ, worst language of merged over tamis-base, points", worst, ">= -1"))
        home = compared["specialists over untrained, alone on hybrid"]["points"]
        kept = compared["merged over untrained, alone on hybrid"]["points"] / home if home > 0 else 0.0
        rows.append(("FAQ, share of its specialists' gain that the merged keeps", kept, ">= 0.9"))
        # A run that goes on from another one's texts says nothing of the time of a first one.
        cold = [one["wall_seconds"] for one in runs if one["cold"]]
        rows += [("FAQ, minutes of a run with all questions", max(cold) / 60, "<= 12")] if cold else []
        memory = max(one["peak_memory_bytes"] for one in runs) / 2**30
        rows.append(("FAQ, peak memory, GiB", memory, "<= 4"))
    for place, gain in together.items():
        rows += [
            (f"other sets, merged over tamis-base {place}, points", gain["points"], ">= 0.7"),
            (f"other sets, merged over tamis-base {place}, p", gain["p_value"], "< 0.05"),
        ]
        own = {n: f["compared"][f"merged over untrained, {place}"]["points"] for n, f in sets.items() if n in SETS}
        worst_set = min(own, key=lambda name: own[name])
        rows.append((f"other sets, worst {place} ({worst_set}), points", own[worst_set], ">= -0.3"))
    return checked(rows)


HEADING = (
    "| nDCG@10 | first stage | tamis-base | specialists | **merged** | over tamis-base | p | over first stage | p |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def rows_of(name: str, found: Mapping[str, Any]) -> list[str]:
    """A row for each way to use the model on a set, of its `figures`."""
    systems, compared = found["ndcg10"], found["compared"]
    lines = []
    for place, (way, first) in PLACES.items():
        gain, over = (compared[f"merged over {what}, {place}"] for what in ("untrained", "first stage"))
        merged = systems[f"merged{way}"]
        spread = f" ±{merged['stdev']:.3f}" if merged["stdev"] else ""
        cells = [f"{systems[one]['mean']:.3f}" for one in (first, f"untrained{way}", f"specialists{way}")]
        cells += [f"**{merged['mean']:.3f}**{spread}", f"{gain['points']:+.1f}", f"{gain['p_value']:.2g}"]
        cells += [f"{over['points']:+.1f}", f"{over['p_value']:.2g}"]
        lines.append(f"| {name}, {place} | " + " | ".join(cells) + " |")
    return lines


def measured_at(sets: Mapping[str, Any]) -> str:
    """A line that says which set is of which commit, and of how many runs."""
    of = [f"{name}: {len(f['runs'])} of {', '.join(_commits(f['runs']))}" for name, f in sets.items()]
    return f"Runs and commits: {'; '.join(of)}."


def _commits(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({str(one["commit"]) for one in runs})


def markdown(sets: Mapping[str, Any], reached: Sequence[Mapping[str, Any]], writers: str) -> str:
    """A row for each set and place, and their commits; then what was reached, and who should write."""
    lines = [*HEADING, *(row for name, found in sets.items() for row in rows_of(name, found)), ""]
    lines += [measured_at(sets), ""]
    return "\n".join([*lines, *targets_table(reached), "", writers]).rstrip() + "\n"


def write(found: Mapping[str, Sequence[Measured]], writers: Mapping[str, Any]) -> None:
    """Write what was measured so far; what this call did not measure stays as the results have it.

    Args:
        found: Runs of this call by set, one a seed.
        writers: Of `measure_writers`; empty: those of an earlier call stay.
    """
    earlier = earlier_results("adaptation")
    sets = in_order({**earlier.get("sets", {}), **{name: figures(runs) for name, runs in found.items()}})
    together, over = pooled_rows(earlier, found)
    writers = writers or earlier.get("writers", {})
    reached = targets(sets, together)
    content = {
        "seeds": sorted({run["seed"] for one in sets.values() for run in one["runs"]}),
        "adapted_to_corpus": True,
        "commits": {name: _commits(one["runs"]) for name, one in sets.items()},
        "sets": sets,
        "pooled": together,
        "pooled_over": over,
        "writers": writers,
        "targets": reached,
    }
    table = markdown(sets, reached, writers_table(writers))
    publish("adaptation", commit(), content, table, [DOCS / "adapting.md"])


def pooled_rows(
    earlier: Mapping[str, Any], found: Mapping[str, Sequence[Measured]]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Figures over all further sets by place, and the commits of these sets.

    They need the figures of each question, which the results do not hold: those of an earlier call stay unless this
    one has measured all of its sets.
    """
    others = {name: runs for name, runs in found.items() if name in SETS}
    known = {name: _commits(one["runs"]) for name, one in earlier.get("sets", {}).items() if name in SETS}
    over = earlier.get("pooled_over", known)
    if not others or over.keys() - others.keys():
        return earlier.get("pooled", {}), over
    commits = {name: _commits([one.facts for one in runs]) for name, runs in others.items()}
    return {place: over_sets(others, others, ("merged", "untrained"), place) for place in PLACES}, commits


def writers_table(writers: Mapping[str, Any]) -> str:
    """A row for each writer: what its queries gained on the questions of the other half of the topics."""
    if not writers:
        return ""
    lines = [
        "| who writes | queries | " + " | ".join(f"{place} | p" for place in SHOWN) + " | minutes to write | money |",
        "|---|---:|" + "---:|" * (2 * len(SHOWN) + 2),
    ]
    for name, row in writers.items():
        cells = [f"{row['gains'][place]['points']:+.1f} | {row['gains'][place]['p_value']:.2g}" for place in SHOWN]
        lines.append(f"| {name} | {row['queries']} | " + " | ".join(cells) + f" | {row['minutes']} | {row['money']} |")
    return "\n".join(lines)


def main() -> None:
    """Run, summarise, write after every run."""
    parser = data_parser(__doc__)
    parser.add_argument("--sets", nargs="*", default=[FAQ, *SETS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--questions", type=int, default=400, help="of each further set, drawn by hash")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--writers", action="store_true", help="also measure who should write, two hours more")
    parser.add_argument("--small", action="store_true", help="with --writers: also a small language model")
    chosen = parser.parse_args()
    found: dict[str, list[Measured]] = {}
    writers: dict[str, Any] = {}
    for seed in chosen.seeds:
        for name in chosen.sets:
            if name == FAQ:
                command = faq_command(chosen.threads)
            else:
                command = set_command(chosen.data, name, chosen.questions, chosen.threads)
            found.setdefault(name, []).append(run(command, OUT / name, seed))
            write(found, writers)
    if chosen.writers:
        for writers in measure_writers(OUT, chosen.seeds[0], chosen.threads, chosen.small):
            write(found, writers)


if __name__ == "__main__":
    main()
