"""What a merged student should reach, and whether it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tamis.evaluation.judged import Question
from tamis.evaluation.systems import macro_mean
from tamis.records import SCORED, SERVED, Facts


def languages_by_domain(questions: Sequence[Question], domain_for: Callable[[str], str]) -> dict[str, list[str]]:
    """The languages of the questions by the domain whose specialist speaks them."""
    found: dict[str, list[str]] = {}
    for language in sorted({q.language for q in questions}):
        found.setdefault(domain_for(language), []).append(language)
    return dict(sorted(found.items()))


def headline_p(comparisons: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Corrected p-value of the merged student, as served, over each reranked first stage."""
    p = {entry["system"]: entry["p_holm"] for entry in comparisons}
    return {"bm25": p["merged~bm25"], "hybrid": p["merged~hybrid"]}


def target_rows(
    means: Mapping[str, Mapping[str, float]],
    comparisons: Sequence[Mapping[str, Any]],
    per_query: Mapping[str, Mapping[str, float]],
    questions: Sequence[Question],
    domain_for: Callable[[str], str],
) -> list[Facts]:
    """What the merged student should reach, in nDCG@10 points (hundredths), and whether it does."""
    of = {entry["system"]: entry for entry in comparisons}
    over_bm25, over_hybrid, scored = of["merged~bm25"], of["merged~hybrid"], of["merged+hybrid"]
    worst = min(found["difference"] for found in over_bm25["per_language"].values())
    added = {
        way: 100 * (means[f"merged{way}hybrid"]["mean"] - means[f"untrained{way}hybrid"]["mean"])
        for way in (SERVED, SCORED)
    }
    domain, gap = _worst_at_home(per_query, questions, domain_for)
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


def _worst_at_home(
    per_query: Mapping[str, Mapping[str, float]], questions: Sequence[Question], domain_for: Callable[[str], str]
) -> tuple[str, float]:
    """The domain where merging cost most, and how many points the merged student lies above its specialist there.

    Both alone: a first stage beside them would hide a part of it.
    """
    gaps = {}
    for domain, spoken in languages_by_domain(questions, domain_for).items():
        own = [q for q in questions if q.language in spoken]
        merged, specialist = (macro_mean(per_query[n], own)["mean"] for n in ("merged@hybrid", "specialists@hybrid"))
        gaps[domain] = 100 * (merged - specialist)
    worst = min(gaps, key=lambda name: gaps[name])
    return worst, gaps[worst]


def _met(value: float, bound: str) -> bool:
    sign, number = bound.split()
    return {">=": value >= float(number), ">": value > float(number), "<": value < float(number)}[sign]
