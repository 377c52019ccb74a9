"""Plots as SVG elements to stand inside the page: transparent, text as text, coloured by the page's own style sheet."""

import io
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tamis.formulas.thresholds import Level
from tamis.records import TrainingList
from tamis.report.changes import Change, LanguageChange
from tamis.report.wording import signed

# matplotlib knows no style sheets: it draws in these colours, which then become the page's variables of light and dark.
_INK: Final = "#a1f001"
_MUTED: Final = "#a1f002"
_GRID: Final = "#a1f003"
_GAIN: Final = "#a1f004"
_LOSS: Final = "#a1f005"
_SECOND: Final = "#a1f006"
_PAPER: Final = "#a1f007"
_VARIABLES: Final = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _GRID: "var(--line)",
    _GAIN: "var(--gain)",
    _LOSS: "var(--loss)",
    _SECOND: "var(--second)",
    _PAPER: "var(--paper)",
}
_STYLE: Final = {
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _MUTED,
    "axes.labelsize": 10,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "xtick.labelsize": 10,
    "xtick.major.size": 0,
    "ytick.color": _GRID,
    "ytick.labelcolor": _MUTED,
    "ytick.labelsize": 10,
    "ytick.major.size": 0,
}
_POINTS_PER_INCH: Final = 72
_ROW: Final = 21  # height of one language, in points
_SMOOTHED: Final = 20  # a loss is averaged over this part of its steps: one twentieth


def language_changes(change: Change, name: str, measure: str = "nDCG@10") -> str:
    """One arrow per language, from the first stage's figure to the student's, and one for the mean.

    A band shows where the arrow's end lies with 95 % confidence.

    Args:
        change: The comparison.
        name: Unique on the page; prefix of the ids inside the plot.
        measure: What is compared.

    Returns:
        An `<svg>` element. Losses differ by colour, by the way the arrow points and by their sign.
    """
    mean = LanguageChange("Mean", change.before, change.after, change.difference, change.interval, "same", False)
    rows = [*change.languages, mean]
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, axes = _axes(380, _ROW * len(rows) + 50)
        for place, row in enumerate(rows):
            _arrow(axes, place, row)
        axes.set_yticks(range(len(rows)), [row.language for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.axhline(len(rows) - 1.5, color=_MUTED, linewidth=0.8)
        for label in axes.get_yticklabels():
            label.set_color(_INK)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.06)
        axes.set_xlabel(f"{measure} in points")
        falls = ", ".join(row.language for row in change.going("loss")) or "none"
        label = f"{measure} of each language before and after, against {change.title}; languages that fall: {falls}"
        return _svg(figure, name, label)


def _arrow(axes: Any, place: int, row: LanguageChange) -> None:
    before, after = 100 * row.before, 100 * row.after
    colour = _LOSS if row.difference < 0 else _GAIN
    ends = [before + 100 * end for end in row.interval]
    axes.plot(ends, [place, place], color=colour, linewidth=8, alpha=0.2)
    axes.annotate(
        "",
        xy=(after, place),
        xytext=(before, place),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 1.8,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 9,
        },
    )
    ring = {"markersize": 5.5, "markerfacecolor": _PAPER, "markeredgecolor": _MUTED, "markeredgewidth": 1.4}
    axes.plot(before, place, "o", zorder=5, **ring)  # over the arrow's line
    axes.plot(after, place, "o", markersize=0, color=colour)  # lets the axis reach as far as the arrow
    axes.text(
        1.01,
        place,
        signed(row.difference),
        transform=axes.get_yaxis_transform(),
        va="center",
        color=colour,
        fontsize=10,
    )


def label_histogram(lists: Sequence[TrainingList], name: str) -> str:
    """How many documents of the training lists have which soft label, in 32 steps from the lowest to the highest."""
    labels = [label for one in lists for label in one.labels]
    counts, edges = np.histogram(labels, bins=32)
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, axes = _axes(380, 200)
        axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.86, align="edge", color=_GAIN)
        _count_axis(axes, "teacher's label, seed bonus included")
        return _svg(figure, name, f"Histogram of {len(labels)} teacher labels")


def documents_per_bin(lists: Sequence[TrainingList], name: str) -> str:
    """How many documents were drawn from each score bin, lowest bin first; empty bins show as gaps."""
    drawn = Counter(place for one in lists for place in one.bins)
    bins = range(max(drawn, default=0) + 1)
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, axes = _axes(380, 200)
        axes.bar([place + 1 for place in bins], [drawn[place] for place in bins], width=0.86, color=_SECOND)
        _count_axis(axes, "score bin, 1 is the lowest")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlim(0.4, len(bins) + 0.6)
        described = ", ".join(f"{place + 1}: {drawn[place]}" for place in bins)
        return _svg(figure, name, f"Documents per score bin: {described}")


def _count_axis(axes: Any, label: str) -> None:
    axes.grid(axis="x", visible=False)
    axes.tick_params(pad=6)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(label)
    axes.set_ylabel("documents")


def training_curve(curve: Mapping[str, Any], name: str) -> str:
    """Loss above agreement over the steps of one student; the chosen checkpoint is ringed.

    Args:
        curve: loss and agreement as [step, value] pairs, and the chosen step.
        name: Unique on the page; prefix of the ids inside the plot.
    """
    loss, agreement, chosen = curve.get("loss", []), curve.get("agreement", []), curve.get("chosen")
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = _figure(320, 230)
        above, below = figure.subplots(2, 1, sharex=True)
        if loss:
            steps, values = np.asarray(loss, dtype=np.float64).T
            above.plot(steps, values, color=_SECOND, linewidth=0.8, alpha=0.4)
            above.plot(steps, _running_mean(values), color=_SECOND)
        if agreement:
            below.plot(*zip(*agreement, strict=True), color=_GAIN, marker="o", markersize=3)
        for step, value in agreement:
            if step == chosen:
                below.plot(step, value, "o", markersize=9, markerfacecolor="none", markeredgecolor=_INK)
        for axes, label in ((above, "loss"), (below, "agreement")):
            axes.set_ylabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.margins(y=0.15)
        below.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        below.set_xlabel("step")
        figure.align_ylabels()
        return _svg(figure, name, f"Loss and held-out agreement over the steps; step {chosen} was chosen")


def _running_mean(values: Any) -> Any:
    """Mean over the neighbouring steps, shorter windows at both ends."""
    window = np.ones(max(1, len(values) // _SMOOTHED))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def weight_curves(curves: Mapping[str, Sequence[Sequence[float]]], chosen: Mapping[str, float], name: str) -> str:
    """nDCG@10 of the own document by first-stage weight, one line per first stage, the chosen weight ringed."""
    looks = ((_GAIN, "-", "o"), (_SECOND, "--", "s"), (_MUTED, ":", "^"), (_INK, "-.", "v"))
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, axes = _axes(380, 230)
        for number, (first_stage, curve) in enumerate(curves.items()):
            colour, line, marker = looks[number % len(looks)]
            axes.plot(
                *zip(*curve, strict=True), color=colour, linestyle=line, marker=marker, markersize=4, label=first_stage
            )
            for weight, value in curve:
                if weight == chosen.get(first_stage):
                    axes.plot(weight, value, "o", markersize=10, markerfacecolor="none", markeredgecolor=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("weight of the first-stage score")
        axes.set_ylabel("nDCG@10")
        axes.margins(y=0.15)
        axes.legend(frameon=False, labelcolor=_INK)
        described = ", ".join(f"{first_stage} {weight:g}" for first_stage, weight in chosen.items())
        return _svg(figure, name, f"nDCG@10 by weight of the first-stage score; chosen: {described}")


def level_curves(levels: Sequence[Level], chosen: Level | None, name: str) -> str:
    """Precision, with its intervals, and recall by the lowest score that is kept; the chosen level is ringed.

    Args:
        levels: At least one.
        chosen: None where no level was kept.
        name: Unique on the page; prefix of the ids inside the plot.

    Returns:
        An `<svg>` element.
    """
    scores = [one.score for one in levels]
    precision = [one.precision.value for one in levels]
    below = [one.precision.value - one.precision.lower for one in levels]
    above = [one.precision.upper - one.precision.value for one in levels]
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, axes = _axes(520, 260)
        axes.errorbar(scores, precision, yerr=[below, above], color=_GAIN, marker="o", markersize=4, elinewidth=1,
                      capsize=2, label="precision")  # fmt: skip
        axes.plot(scores, [one.recall.value for one in levels], color=_SECOND, linestyle="--", label="recall")
        if chosen:
            axes.plot(chosen.score, chosen.precision.value, "o", markersize=10, markerfacecolor="none",
                      markeredgecolor=_INK)  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("lowest score that is kept")
        axes.set_ylabel("share")
        axes.legend(frameon=False, labelcolor=_INK)
        kept = f"{chosen.score:.3f} was kept" if chosen else "none was kept"
        return _svg(figure, name, f"Precision and recall by lowest score; {kept}")


def merge_curves(curves: Mapping[str, Sequence[tuple[float, float, str]]], name: str) -> str:
    """Agreement on one domain over t, one line per specialist tried: from the model so far at 0 to it at 1.

    Args:
        curves: By specialist, points of t, agreement and outcome: `parent`, `accepted`, `refused` or `passed over`.
        name: Unique on the page; prefix of the ids inside the plot.

    Returns:
        An `<svg>` element. Refused points are crosses, the accepted one is ringed.
    """
    looks = ((_GAIN, "-", "o"), (_SECOND, "--", "s"), (_MUTED, ":", "^"))
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, axes = _axes(320, 200)
        for number, (other, points) in enumerate(curves.items()):
            colour, line, marker = looks[number % len(looks)]
            axes.plot(
                [t for t, *_ in points], [value for _, value, _ in points], color=colour, linestyle=line, label=other
            )
            for t, value, outcome in points:
                shape = "x" if outcome == "refused" else marker
                axes.plot(t, value, shape, markersize=5, color=_LOSS if outcome == "refused" else colour)
                if outcome == "accepted":
                    axes.plot(t, value, "o", markersize=10, markerfacecolor="none", markeredgecolor=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("t")
        axes.set_ylabel("agreement")
        axes.margins(y=0.15)
        axes.legend(frameon=False, labelcolor=_INK)
        refused = sum(outcome == "refused" for points in curves.values() for *_, outcome in points)
        return _svg(figure, name, f"Agreement over t with {', '.join(curves)}; {refused} values refused")


def _figure(width: int, height: int) -> Any:
    """A figure of so many points, which belongs to no list of open figures."""
    return Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH), layout="constrained")


def _axes(width: int, height: int) -> tuple[Any, Any]:
    figure = _figure(width, height)
    return figure, figure.add_subplot()


def _svg(figure: Any, name: str, label: str) -> str:
    """The figure as an element of an HTML page: no prologue, no metadata, no style of its own, ids unique to it."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        # The browser sets the text, with fonts of its own: that matplotlib's font lacks a letter is of no interest.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    svg = stream.getvalue()
    head, body = svg[svg.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"font-family: '[^;\"]*'; ?", "", body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    body = re.sub("|".join(_VARIABLES), lambda colour: _VARIABLES[colour[0]], body)
    return f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="{box[1] if box else ""}">{body}'
