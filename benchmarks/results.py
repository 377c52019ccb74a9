"""What a benchmark writes: figures, a table, the pages that show it, and the targets with what was reached."""

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any

from machine import ROOT, machine

RESULTS = ROOT / "results"


def checked(rows: Iterable[tuple[str, float, str]]) -> list[dict[str, Any]]:
    """Targets of names, values and bounds such as `>= 0.8`, with whether each is met.

    A bound is `<`, `<=`, `=`, `>=`, `>`, or `within` for either side of 0, and a number; or `LEAST to MOST`.
    """
    return [
        {"name": name, "value": round(value, 5), "bound": bound, "met": _met(value, bound)}
        for name, value, bound in rows
    ]


def _met(value: float, bound: str) -> bool:
    sign, _, number = bound.partition(" ")
    if number.startswith("to "):
        return float(sign) <= value <= float(number.removeprefix("to "))
    if sign == "within":
        value, sign = abs(value), "<="
    return bool({"<": lt, "<=": le, "=": eq, ">=": ge, ">": gt}[sign](value, float(number)))


def targets_table(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table of targets: name, value, bound, met."""
    lines = ["| target | value | bound | met |", "|---|---:|---|---|"]
    for target in targets:
        verdict = "yes" if target["met"] else "**no**"
        lines.append(f"| {target['name']} | {target['value']:.3g} | {target['bound']} | {verdict} |")
    return lines


def print_targets(targets: Sequence[Mapping[str, Any]]) -> None:
    """A line per target, with what is not met in capitals."""
    for target in targets:
        print("met   " if target["met"] else "MISSED", target["name"], f"{target['value']:.4g}", target["bound"])


def earlier_results(name: str) -> dict[str, Any]:
    """What results/NAME.json holds; nothing where there is none."""
    file = RESULTS / f"{name}.json"
    return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}


def show_in_readme(table: str, name: str, path: Path) -> None:
    """Put a benchmark's table between its marks in a page."""
    opening, closing = f"<!-- {name}: written by benchmarks/{name}.py -->", f"<!-- /{name} -->"
    before, rest = path.read_text("utf-8").split(opening)
    path.write_text(f"{before}{opening}\n{table}{rest[rest.index(closing) :]}", "utf-8")


def write_results(name: str, content: Mapping[str, Any], table: str) -> None:
    """Write a benchmark's name and figures to results/NAME.json and its table to results/NAME.md."""
    RESULTS.mkdir(exist_ok=True)
    named = {"benchmark": name, **content}
    (RESULTS / f"{name}.json").write_text(json.dumps(named, ensure_ascii=False, indent=2) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(table, "utf-8")


def publish(name: str, at: str, found: Mapping[str, Any], table: str, pages: Sequence[Path] = ()) -> None:
    """Write what was found and where, show the table in pages, and print it and the targets.

    Args:
        name: Of the benchmark, and of its results.
        at: The commit that was measured; one that runs for long asks for it when it begins.
        found: Seeds, figures and what else the results say; its `targets`, if any, are printed line by line.
        table: In Markdown.
        pages: Those that have the benchmark's marks; none where only a part was measured.
    """
    write_results(name, {"commit": at, "machine": machine(), **found}, table)
    for page in pages:
        show_in_readme(table, name, page)
    print(table, flush=True)
    print_targets(found.get("targets", []))
