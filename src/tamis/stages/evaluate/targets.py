"""What a merged student should reach, and whether it does."""

from collections.abc import Mapping
from typing import Any

from tamis.records import SCORED, SERVED, Facts

ADAPTATION = (
    ("merged~bm25", "untrained~bm25"),
    ("merged~hybrid", "untrained~hybrid"),
    ("merged@bm25", "untrained@bm25"),
    ("merged+hybrid", "untrained+hybrid"),
)
"""What adaptation itself is worth: the merged student against what it started from, used in the same way."""


def target_rows(found: Mapping[str, Any], measure: str) -> list[Facts]:
    """What the merged student should reach, in points of the measure (hundredths), and whether it does.

    Args:
        found: The set's part of the results, its p-values corrected.
        measure: The main one.
    """
    against = {(entry["system"], entry["baseline"]): entry for entry in found["comparisons"]}
    over_bm25, over_hybrid = against["merged~bm25", "bm25"], against["merged~hybrid", "hybrid"]
    scored = against["merged+hybrid", "hybrid"]
    worst = min(entry["difference"] for entry in over_bm25["per_language"].values())
    mean = {name: figures[measure] for name, figures in found["figures"].items()}
    added = {way: 100 * (mean[f"merged{way}hybrid"] - mean[f"untrained{way}hybrid"]) for way in (SERVED, SCORED)}
    domain, gap = _worst_at_home(found["groups"]["domain"])
    rows = [
        ("merged student as served over BM25, points", 100 * over_bm25["difference"], ">= 5"),
        ("merged student as served over BM25, p (Holm)", over_bm25["p_holm"], "< 0.01"),
        ("merged student as served over BM25, worst language, points", 100 * worst, ">= -1"),
        ("merged student as served over hybrid, points", 100 * over_hybrid["difference"], ">= 3"),
        ("merged student as served over hybrid, p (Holm)", over_hybrid["p_holm"], "< 0.01"),
        ("merged student with scores over hybrid, points", 100 * scored["difference"], ">= 3"),
        ("merged student with scores over hybrid, p (Holm)", scored["p_holm"], "< 0.01"),
        ("merged over untrained student, as served on hybrid, points", added[SERVED], "> 0"),
        ("merged over untrained student, with scores on hybrid, points", added[SCORED], "> 0"),
        (f"merged student alone against each specialist at home, worst ({domain}), points", gap, ">= -0.5"),
    ]
    return [{"name": n, "value": round(v, 6), "bound": b, "met": _met(v, b)} for n, v, b in rows]


def _worst_at_home(domains: Mapping[str, Any]) -> tuple[str, float]:
    """The domain where merging cost most, and how many points the merged student lies above its specialist there.

    Both alone: a first stage beside them would hide a part of it.
    """
    figures = {name: group["figures"] for name, group in domains.items()}
    gaps = {name: 100 * (own["merged@hybrid"] - own["specialists@hybrid"]) for name, own in figures.items()}
    worst = min(gaps, key=lambda name: gaps[name])
    return worst, gaps[worst]


def _met(value: float, bound: str) -> bool:
    sign, number = bound.split()
    return {">=": value >= float(number), ">": value > float(number), "<": value < float(number)}[sign]
