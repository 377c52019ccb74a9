"""What tamis-small costs and what it keeps: beside tamis-base, on sets of which neither has read a question.

    make bench-small                                      # the sets below ../shared/data
    python benchmarks/small.py --data DIR --questions 50 piaf-fr

Both models on the best 20 documents of BM25, of e5-small's vectors and of their weighted sum, in the three ways of
`tamis evaluate`; the same questions as `make bench-served`. Then each ranks 20, 50 and 100 passages of some 150 tokens,
one request at a time. Writes benchmarks/results/small.json and small.md.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from general import SETS
from machine import DOCS, commit, machine, print_targets, show_in_readme, targets_table, write_results
from served import STAGES, Figures, measure, pooled
from tamis.models.precision import fastest_precision
from tamis.models.reranker import Reranker
from tamis.records import WAYS

ROOT = Path(__file__).resolve().parent
BASE, SMALL = "tamis-base", "tamis-small"
PASSAGES = (20, 50, 100)
TOKENS = 150
"""Of each passage."""
RULES = {">=": lambda value, bound: value >= bound, "<=": lambda value, bound: value <= bound}
RULES["<"] = lambda value, bound: value < bound


def passages_of(folder: Path, reranker: Reranker, count: int) -> tuple[list[str], list[str]]:
    """Questions of a set, and texts of `TOKENS` tokens made of its documents, no two alike."""
    questions = [json.loads(row)["text"] for row in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    tokenizer = reranker.tokenizer
    texts = [json.loads(row)["text"] for row in (folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    ids = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    starts = range(0, len(ids) - TOKENS, TOKENS)
    found = [tokenizer.decode(ids[start : start + TOKENS]) for start in starts]
    return questions, found[:count]


def latency(model: str, folder: Path, requests: int) -> dict[int, dict[str, float]]:
    """Seconds of a request by its number of passages, none of which was seen before: median and 99th percentile."""
    reranker = Reranker(model, precision=fastest_precision())
    needed = requests * sum(PASSAGES) + PASSAGES[0]
    questions, texts = passages_of(folder, reranker, needed)
    reranker.rank(questions[0], texts[: PASSAGES[0]])  # warm
    at, rows = PASSAGES[0], {}
    for count in PASSAGES:
        seconds = []
        for number in range(requests):
            passages = [texts[(at + i) % len(texts)] for i in range(count)]
            at += count
            start = time.perf_counter()
            reranker.rank(questions[number % len(questions)], passages)
            seconds.append(time.perf_counter() - start)
        rows[count] = {"p50": median(seconds), "p99": float(np.quantile(seconds, 0.99))}
    return rows


def targets(found: Figures, seconds: dict[str, dict[int, dict[str, float]]]) -> list[dict[str, Any]]:
    """What is asked of the small model beside the hybrid, and of the time of both."""
    rows: list[tuple[str, float, str]] = []
    if found:
        over = pooled(found, f"{SMALL}+hybrid", "hybrid")
        to_base = pooled(found, f"{SMALL}+hybrid", f"{BASE}+hybrid")
        by_set = {n: 100 * (_mean(of, f"{SMALL}+hybrid") - _mean(of, "hybrid")) for n, of in found.items()}
        worst = min(by_set, key=lambda name: by_set[name])
        rows += [
            ("small beside the hybrid over the hybrid, points", over["points"], ">= 1.0"),
            ("small beside the hybrid over the hybrid, p", over["p_value"], "< 0.01"),
            ("small over base, both beside the hybrid, points", to_base["points"], ">= -1.0"),
            (f"small beside the hybrid, worst set ({worst}), points", by_set[worst], ">= -0.3"),
        ]
    rows += [
        ("100 passages of 150 tokens, tamis-small, seconds", seconds[SMALL][100]["p50"], "<= 1.0"),
        ("100 passages of 150 tokens, tamis-base, seconds", seconds[BASE][100]["p50"], "<= 2.5"),
    ]
    found_rows = []
    for name, value, bound in rows:
        sign, limit = bound.split()
        met = RULES[sign](value, float(limit))
        found_rows.append({"name": name, "value": round(value, 5), "bound": bound, "met": met})
    return found_rows


def _mean(of: Any, system: str) -> float:
    return mean(of[system].values())


def markdown(found: Figures, seconds: dict[str, dict[int, dict[str, float]]], reached: Sequence[dict[str, Any]]) -> str:
    """Quality by set, the time of a request, and the targets."""
    lines = []
    if found:
        systems = ["hybrid", *(f"{model}{way}hybrid" for way in WAYS for model in (BASE, SMALL))]
        heads = ["hybrid", *(f"{model} {told}" for told in WAYS.values() for model in (BASE, SMALL))]
        lines += ["| nDCG@10 | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
        for name, of in found.items():
            cells = [f"{_mean(of, system):.3f}" for system in systems]
            lines.append(f"| {name}, {len(of['bm25'])} questions | " + " | ".join(cells) + " |")
        means = [f"**{mean(_mean(of, system) for of in found.values()):.3f}**" for system in systems]
        lines += ["| **mean of the sets** | " + " | ".join(means) + " |", ""]
    lines += ["| seconds of a request, median (p99) | " + " | ".join(f"{n} passages" for n in PASSAGES) + " |"]
    lines += ["|---|" + "---:|" * len(PASSAGES)]
    for model, rows in seconds.items():
        cells = [f"{rows[n]['p50']:.2f} ({rows[n]['p99']:.2f})" for n in PASSAGES]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *targets_table(list(reached))]) + "\n"


def main() -> None:
    """Time first, while nothing else has warmed the machine; then measure set by set, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--requests", type=int, default=20, help="requests of each size")
    chosen = parser.parse_args()
    start, found_commit = time.monotonic(), commit()
    seconds = {model: latency(model, chosen.data / "piaf-fr", chosen.requests) for model in (BASE, SMALL)}
    found = {name: measure(chosen.data / name, chosen.questions, (BASE, SMALL)) for name in chosen.sets}
    reached = targets(found, seconds)
    content = {
        "benchmark": "small",
        "commit": found_commit,
        "machine": machine(),
        "seeds": [],
        "seconds": round(time.monotonic() - start, 1),
        "depth": 20,
        "questions": {name: len(of["bm25"]) for name, of in found.items()},
        "ndcg10": {name: {s: mean(values.values()) for s, values in of.items()} for name, of in found.items()},
        "pooled": {
            f"{model}{way}{stage} over {stage}": pooled(found, f"{model}{way}{stage}", stage)
            for model in (BASE, SMALL)
            for stage in STAGES
            for way in WAYS
        },
        "latency": seconds,
        "targets": reached,
    }
    write_results("small", content, table := markdown(found, seconds, reached))
    if chosen.sets == list(SETS):
        show_in_readme(table, "small", DOCS / "models.md")
    print(table)
    print_targets(reached)


if __name__ == "__main__":
    main()
