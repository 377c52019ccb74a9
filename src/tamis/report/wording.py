"""Figures as words: points, signs, p-values, durations and sizes, each rounded in one place only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

LEVEL: Final = 0.05
"""A corrected p-value below this counts as more than chance."""

Direction = Literal["gain", "loss", "same"]

GROUPINGS: Final[Mapping[str, str]] = {
    "language": "by language of the question",
    "domain": "by domain of the question",
    "query_length": "by length of the question, words",
    "document_length": "by median length of the relevant documents, words",
}
"""The ways to group questions, as results.json names them, and as tables say them."""


def points(value: float) -> str:
    """NDCG in [0, 1] as points with one decimal: 0.4128 is `41.3`."""
    return f"{100 * value:.1f}"


def direction(difference: float) -> Direction:
    """Which way a difference goes once it is rounded to the tenth of a point that the page shows."""
    rounded = round(100 * difference, 1)
    return "gain" if rounded > 0 else "loss" if rounded < 0 else "same"


def signed(difference: float) -> str:
    """A difference in points with its sign: `+8.1`, `−0.6` (a true minus), `0.0`."""
    sign = {"gain": "+", "loss": "−", "same": ""}[direction(difference)]
    return f"{sign}{points(abs(difference))}"


def p_value(p: float) -> str:
    """`p < 0.001` or `p = 0.034`, with spaces at which no line breaks."""
    return ("p < 0.001" if p < 0.001 else f"p = {p:.3f}").replace(" ", "\N{NO-BREAK SPACE}")


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `12 min 5 s` or `3 h 12 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: float) -> str:
    """Bytes as `512 MiB` or `5.2 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def number(value: object) -> str:
    """A count with commas, another number with up to four significant digits, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (f"{value:,}" if isinstance(value, int) else f"{value:.4g}").replace("-", "−")


def bound(text: str) -> str:
    """`>= -0.5` as `≥ −0.5`."""
    return text.replace(">=", "≥").replace("<=", "≤").replace("-", "−")


def effect(value: float | None) -> str:
    """An effect size with its sign and two decimals, `−0.03`; a dash where there is none."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def shown_path(path: Path) -> str:
    """A path as a page may show it that is handed on: an absolute one by its name alone."""
    return f"…/{path.name}" if path.is_absolute() else path.as_posix()


def measured(cost: Mapping[str, Any]) -> str:
    """When a model's cost was measured, and how much of the processor it had then; empty where nobody knows."""
    share = cost.get("processor_share")
    return ", ".join(filter(None, (cost.get("measured", ""), "" if share is None else f"{share:.0%}")))
