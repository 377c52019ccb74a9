"""The demo's recipe, unchanged, on other corpora: passages as documents, questions held out; losses included.

    make bench-elsewhere                                  # the sets below ../shared/data
    python benchmarks/elsewhere.py --data DIR scifact     # one BEIR folder below DIR

Only what names the corpus is replaced; a language that the recipe has no specialist for gets one. Writes
benchmarks/results/elsewhere.json and elsewhere.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from adaptation import COLUMNS, run_seed
from machine import DOCS, ROOT, commit, machine, show_in_readme, write_results
from tamis.settings import read_recipe

SETS = {"tydiqa-ru": "ru", "tydiqa-te": "te", "piaf-fr": "fr", "scifact": "en"}
"""Name and language of each set. Figures are of that language; the few texts taken for another one are left out."""

QUESTIONS = 300
"""Most judged questions of a set, drawn by hash."""


def changes_for(folder: Path, language: str, recipe: Path) -> list[str]:
    """The settings that name a corpus."""
    changes = [
        f"name={folder.name}",
        f"corpus.target={folder}",
        f"evaluate.queries={folder / 'queries.jsonl'}",
        f"evaluate.qrels={folder / 'qrels' / 'test.tsv'}",
        f"evaluate.questions={QUESTIONS}",
    ]
    known = read_recipe(recipe).corpus.languages
    if language not in known:
        changes += [f"corpus.languages={json.dumps([*known, language])}"]
        changes += [f"lists.domains={json.dumps({language: [language]})}"]
    return changes


def table(runs: dict[str, dict[str, Any]]) -> str:
    """A row per set, and below it the differences to the first stage with their p-values."""
    lines = ["| nDCG@10 | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for name, run in runs.items():
        of = {entry["system"]: entry for entry in run["comparisons"]}
        language = SETS[name]
        cells = [f"{run['ndcg10'][system][language]:.3f}" for system in COLUMNS]
        lines.append(f"| {name}, {run['questions'][language]} questions | " + " | ".join(cells) + " |")
        cells = [_difference(of[system]["per_language"][language]) if system in of else "" for system in COLUMNS]
        lines.append("| | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _difference(entry: dict[str, float]) -> str:
    return f"{100 * entry['difference']:+.1f} (p {entry['p_holm']:.2g})"


def main() -> None:
    """Run each set, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS), help="names of BEIR folders below --data")
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/demo.yaml"))
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args()
    unknown = [name for name in chosen.sets if name not in SETS or not (chosen.data / name).is_dir()]
    if unknown:
        parser.error(f"{unknown[0]}: not below {chosen.data}, or none of {', '.join(SETS)}")
    found_commit = commit()
    runs = {}
    for name in chosen.sets:
        out = Path("demo") / "bench-elsewhere" / name
        out.mkdir(parents=True, exist_ok=True)
        runs[name] = run_seed(
            chosen.recipe, chosen.seed, out, changes_for(chosen.data / name, SETS[name], chosen.recipe)
        )
    languages = {name: SETS[name] for name in runs}
    content = {
        "benchmark": "elsewhere",
        "commit": found_commit,
        "machine": machine(),
        "seeds": [chosen.seed],
        "versions": next(iter(runs.values()))["versions"],
        "seconds": {name: run["seconds"] for name, run in runs.items()},
        "figures": {
            name: {system: values[languages[name]] for system, values in run["ndcg10"].items()}
            for name, run in runs.items()
        },
        "comparisons": {
            name: {entry["system"]: entry["per_language"][languages[name]] for entry in run["comparisons"]}
            for name, run in runs.items()
        },
        "targets": [],
    }
    write_results("elsewhere", content, table(runs))
    if chosen.sets == list(SETS):
        show_in_readme(table(runs), "elsewhere", DOCS / "benchmarks.md")
    print(table(runs))


if __name__ == "__main__":
    main()
