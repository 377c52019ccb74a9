"""Turns of the scoring benchmark: every engine scores one block of pairs, then all the next one; and what it says.

A machine that has neighbours is faster in one minute than in another; engines that take turns see the same minutes.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from scoring_engines import AbsentError, Contestant, Pair
from tamis.formulas.ranking import agreement

Grades = Sequence[Sequence[float]]
"""Of each question's candidates, in the order of the pairs; as many for every question."""


@dataclass(frozen=True)
class Turns:
    """What engines did, by name.

    Attributes:
        sizes: Pairs of each block.
        seconds: Of each block.
        scores: Of all pairs, float32 [pairs].
        absent: Why others did not score.
        bounded: Those whose scores are sigmoids.
    """

    sizes: Sequence[int]
    seconds: Mapping[str, Sequence[float]]
    scores: Mapping[str, np.ndarray]
    absent: Mapping[str, str]
    bounded: frozenset[str] = frozenset()


def take_turns(contestants: Sequence[Contestant], blocks: Sequence[Sequence[Pair]], absent: Mapping[str, str]) -> Turns:
    """Let all score all blocks, in turns; one that fails is absent from then on.

    Args:
        contestants: See `Contestant`.
        blocks: Pairs; all blocks together are those that `Turns.scores` has scores of.
        absent: Why others cannot score.
    """
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    scores: dict[str, list[np.ndarray]] = {one.name: [] for one in contestants}
    failed = dict(absent)
    for number, block in enumerate(blocks):
        for one in contestants:
            if one.name in failed:
                continue
            try:
                found, taken = one.score(block)
            except AbsentError as error:
                failed[one.name] = str(error)
                continue
            scores[one.name].append(found)
            seconds[one.name].append(taken)
            print(f"  block {number + 1}: {one.name} {len(block) / taken:.1f} pairs/s", file=sys.stderr)
    whole = {name: np.concatenate(found) for name, found in scores.items() if name not in failed}
    bounded = frozenset(one.name for one in contestants if one.bounded)
    return Turns(list(map(len, blocks)), {name: seconds[name] for name in whole}, whole, failed, bounded)


def blocks_of(pairs: Sequence[Pair], size: int) -> list[Sequence[Pair]]:
    """Pairs in blocks of `size`, the last one perhaps smaller."""
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def question_ndcgs(scores: np.ndarray, grades: Grades) -> np.ndarray:
    """nDCG@10 of every question: float64 [questions]."""
    groups = np.array_split(scores, len(grades))
    return np.array([agreement(one, np.array(grade)) for one, grade in zip(groups, grades, strict=True)])


def change_and_error(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Mean difference of two systems over the same questions, and its standard error; 0 for a single question."""
    apart = ours - theirs
    error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    return float(apart.mean()), float(error)


def rows_of(turns: Turns, base: str, grades: Grades) -> dict[str, dict[str, Any]]:
    """Figures of each engine beside those of `base`; of speeds, the median of the blocks.

    Args:
        turns: What all did.
        base: The engine that others are compared with; it gives logits.
        grades: See `Grades`.
    """
    logits, seconds = turns.scores[base], np.array(turns.seconds[base])
    ndcgs = question_ndcgs(logits, grades)
    rows: dict[str, dict[str, Any]] = {}
    for name, scores in turns.scores.items():
        expected = 1 / (1 + np.exp(-logits)) if name in turns.bounded else logits
        taken = np.array(turns.seconds[name])
        change, error = change_and_error(question_ndcgs(scores, grades), ndcgs)
        rows[name] = {
            "pairs_per_second": float(np.median(np.array(turns.sizes) / taken)),
            "seconds": list(turns.seconds[name]),
            "ratio": float(np.median(seconds / taken)),
            "bounded": name in turns.bounded,
            "largest_difference": float(np.abs(scores - expected).max()),
            "tau": float(kendalltau(scores, logits).statistic),
            "ndcg10_change": change,
            "standard_error": error,
        }
    return rows


def table_of(rows: Mapping[str, Mapping[str, Any]], absent: Mapping[str, str]) -> list[str]:
    """Lines of a Markdown table, with a row for each engine, and one for each that is absent."""
    lines = [
        "| engine | pairs/s | ratio | largest difference | Kendall tau | nDCG@10 change |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        apart = f"{row['largest_difference']:.1e}{' of sigmoids' if row['bounded'] else ''}"
        change = f"{row['ndcg10_change']:+.4f} ± {row['standard_error']:.4f}"
        lines.append(
            f"| {name} | {row['pairs_per_second']:.1f} | {row['ratio']:.2f} | {apart} | {row['tau']:.4f} | {change} |"
        )
    cells = {name: why.replace("|", "\\|") for name, why in absent.items()}
    return lines + [f"| {name} | not measured: {why} | | | | |" for name, why in cells.items()]
