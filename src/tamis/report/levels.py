"""The page of a model's levels: precision and recall by the lowest score that is kept."""

from collections.abc import Sequence
from pathlib import Path

from tamis.formulas.thresholds import Level
from tamis.report.plots import level_curves
from tamis.report.rendering import render


def write_levels(path: Path, title: str, answer: str, levels: Sequence[Level], chosen: Level | None,
                 notes: Sequence[str]) -> None:  # fmt: skip
    """Write the page: one HTML file that needs no other file and no network.

    Args:
        path: The file; its folder must be there.
        title: What was measured on what.
        answer: The level in one sentence, or that there is none.
        levels: From the highest score to the lowest.
        chosen: The level that was kept; None: none was.
        notes: What makes it doubtful, a line each.

    Raises:
        OSError: The file cannot be written.
    """
    plot = level_curves(levels, chosen, "levels")
    page = render("levels.html.j2", title=title, answer=answer, plot=plot, levels=levels, chosen=chosen, notes=notes)
    path.write_text(page, encoding="utf-8")
