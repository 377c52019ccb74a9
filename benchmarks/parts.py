"""Benchmarks of several parts: a call measures some of them, and what was measured of the others stays."""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import commit, machine
from results import checked, earlier_results, print_targets, targets_table, write_results


@dataclass(frozen=True)
class Part:
    """What one part found.

    Attributes:
        figures: By name.
        rows: Name, value and bound of each target, as `checked` takes them.
        seeds: Of all that was drawn.
    """

    figures: Mapping[str, Any]
    rows: Sequence[tuple[str, float, str]]
    seeds: Sequence[int] = ()


Parts = Mapping[str, Callable[[Path], Part]]
"""What is measured, each by a function that is given an empty folder."""


def asked_parts(about: str, parts: Parts) -> list[str]:
    """Names of the parts that the command line asks for; all where it names none."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; default: all")
    chosen = parser.parse_args().parts or list(parts)
    if unknown := set(chosen) - parts.keys():
        parser.error(f"no such part: {', '.join(unknown)}")
    return chosen


def write_parts(benchmark: str, parts: Parts, chosen: Sequence[str], facts: Mapping[str, Any], titled: bool) -> str:
    """Measure what was asked for, beside what was measured before; then write.

    Args:
        benchmark: Name of the results.
        parts: All that there are, in the order of the table.
        chosen: Those to measure.
        facts: What else is written beside a part's machine.
        titled: Whether a target's row begins with the name of its part.

    Returns:
        The table of all targets.
    """
    found: dict[str, Any] = earlier_results(benchmark).get("parts", {})
    for name in chosen:
        found[name] = _measured(parts[name], facts)
        print_targets(found[name]["targets"])
    found = {name: found[name] for name in parts if name in found}
    reached = [
        target | {"name": f"{name}: {target['name']}"} if titled else target
        for name, part in found.items()
        for target in part["targets"]
    ]
    table = "\n".join(targets_table(reached)) + "\n"
    write_results(benchmark, {"parts": found, "targets": reached}, table)
    return table


def _measured(measure: Callable[[Path], Part], facts: Mapping[str, Any]) -> dict[str, Any]:
    """One part, and where it was measured."""
    start, at = time.monotonic(), commit()
    with tempfile.TemporaryDirectory(prefix="tn") as folder:  # a short name: sockets lie below it
        part = measure(Path(folder))
    return {
        "commit": at,
        "machine": machine(),
        **facts,
        "seeds": list(part.seeds),
        "seconds": round(time.monotonic() - start, 1),
        "figures": part.figures,
        "targets": checked(part.rows),
    }
