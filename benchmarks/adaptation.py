"""The demo with three seeds: how much adaptation without labels gains, how much it varies, and what it costs.

    make bench-adaptation            # recipes/demo.yaml with seeds 17, 18, 19
    python benchmarks/adaptation.py --recipe recipes/own.yaml --name own --seeds 1 2

Writes benchmarks/results/NAME.json and NAME.md (the table that the README shows). Each seed draws other queries, other
lists, another order of training; documents are embedded once and shared, so only the first seed's seconds are those of
a cold run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from machine import commit, machine, show_in_readme, write_results

COLUMNS = {
    "bm25": "BM25",
    "dense": "dense",
    "hybrid": "hybrid",
    "teacher": "teacher",
    "untrained~bm25": "untrained as served on BM25",
    "specialists~bm25": "specialists as served on BM25",
    "merged~bm25": "**merged as served on BM25**",
    "untrained~hybrid": "untrained as served on hybrid",
    "specialists~hybrid": "specialists as served on hybrid",
    "merged~hybrid": "**merged as served on hybrid**",
    "untrained+hybrid": "untrained + hybrid",
    "specialists+hybrid": "specialists + hybrid",
    "merged+hybrid": "**merged + hybrid**",
}
"""System and heading of each column: first stages, then what a client gets by sending an order, or scores with it."""


def run_seed(recipe: Path, seed: int, out: Path, changes: list[str]) -> dict[str, Any]:
    """Run the recipe with one seed in a process of its own; its results with seconds and memory."""
    results = out / f"results-{seed}.json"
    command = [sys.executable, "-m", "tamis", "run", str(recipe), "--out", str(out / "run"), "--results", str(results)]
    for change in [f"seed={seed}", *changes]:
        command += ["--set", change]
    subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    return found


def summarise(runs: list[dict[str, Any]], cold: bool) -> dict[str, Any]:
    """Mean, spread and every seed's value of each figure; a target is met when every seed meets it.

    The minutes count only where the first seed started cold: in a folder that held texts and scores they say nothing.
    """
    figures: dict[str, Any] = {}
    for system in runs[0]["mean_ndcg10"]:
        values = [run["mean_ndcg10"][system] for run in runs]
        figures[system] = {
            "mean": mean(values),
            "stdev": stdev(values) if len(values) > 1 else 0.0,
            "by_seed": values,
            "by_language": {
                language: mean(run["ndcg10"][system][language] for run in runs) for language in runs[0]["languages"]
            },
            "tie_rate": mean(run["tie_rate"][system] for run in runs),
        }
    targets = []
    for number, first in enumerate(runs[0]["targets"]):
        per_seed = [run["targets"][number] for run in runs]
        targets.append(
            {
                "name": first["name"].split(" (")[0] if "worst (" in first["name"] else first["name"],
                "value": mean(target["value"] for target in per_seed),
                "by_seed": [target["value"] for target in per_seed],
                "bound": first["bound"],
                "met": all(target["met"] for target in per_seed),
            }
        )
    minutes = runs[0]["seconds"] / 60
    gibibytes = max(run["peak_memory_bytes"] for run in runs) / 2**30
    if cold:
        targets.append({"name": "minutes, first seed, cold", "value": minutes, "bound": "<= 15", "met": minutes <= 15})
    targets.append({"name": "peak memory, GiB", "value": gibibytes, "bound": "< 6", "met": gibibytes < 6})
    return {"figures": figures, "targets": targets}


def markdown(summary: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """The table: a row per language and the mean, means over seeds, and what was reached."""
    figures = summary["figures"]
    lines = ["| nDCG@10 | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for language in runs[0]["languages"]:
        cells = [f"{figures[system]['by_language'][language]:.3f}" for system in COLUMNS]
        lines.append(f"| {language} | " + " | ".join(cells) + " |")
    means = [f"**{figures[s]['mean']:.3f}**" + _spread(figures[s]["stdev"]) for s in COLUMNS]
    lines.append("| **mean** | " + " | ".join(means) + " |")
    differences = [{entry["system"]: entry for entry in run["comparisons"]} for run in runs]
    row = [
        f"{100 * mean(d[s]['difference'] for d in differences):+.1f}" if s in differences[0] else "" for s in COLUMNS
    ]
    lines.append("| points over first stage | " + " | ".join(row) + " |")
    row = [f"{max(d[s]['p_holm'] for d in differences):.4f}" if s in differences[0] else "" for s in COLUMNS]
    lines.append("| p (Holm), worst seed | " + " | ".join(row) + " |")
    row = [f"{figures[s]['tie_rate']:.3f}" for s in COLUMNS]
    lines.append("| tie rate | " + " | ".join(row) + " |")
    lines += ["", "| target | value | by seed | bound | met |", "|---|---:|---|---|---|"]
    for target in summary["targets"]:
        seeds = ", ".join(f"{value:.3g}" for value in target.get("by_seed", []))
        verdict = "yes" if target["met"] else "**no**"
        lines.append(f"| {target['name']} | {target['value']:.3g} | {seeds} | {target['bound']} | {verdict} |")
    return "\n".join(lines) + "\n"


def _spread(value: float) -> str:
    return f" ±{value:.3f}" if value else ""


def main() -> None:
    """Run, summarise, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/demo.yaml"))
    parser.add_argument("--name", default="adaptation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--set", dest="changes", action="append", default=[], help="as in `tamis run --set`")
    parser.add_argument("--out", type=Path, default=None, help="run folder; default demo/bench-NAME")
    chosen = parser.parse_args()
    out = chosen.out or Path("demo") / f"bench-{chosen.name}"
    out.mkdir(parents=True, exist_ok=True)
    found_commit = commit()
    cold = not (out / "run").exists()
    runs = [run_seed(chosen.recipe, seed, out, chosen.changes) for seed in chosen.seeds]
    summary = summarise(runs, cold)
    table = markdown(summary, runs)
    content = {
        "benchmark": chosen.name,
        "commit": found_commit,
        "machine": machine(),
        "versions": runs[0]["versions"],
        "seeds": chosen.seeds,
        "cold": cold,
        "settings": chosen.changes,
        "seconds": [run["seconds"] for run in runs],
        "stage_seconds": [run["stage_seconds"] for run in runs],
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
        "p_value": [run["p_value"] for run in runs],
        **summary,
    }
    write_results(chosen.name, content, table)
    if chosen.name == "adaptation":
        show_in_readme(table, chosen.name)
    print(table)


if __name__ == "__main__":
    main()
