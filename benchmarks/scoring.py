"""How fast and how exactly rerankers score: tamis beside its peers, the same weights, the same pairs, one run.

    make bench-scoring
    python benchmarks/scoring.py --questions 24 --rounds 3

Writes benchmarks/results/scoring.json and scoring.md. The pairs are real questions and answers of the Debian FAQ: each
question with the best 15 of BM25. Engines take turns, and the median of the rounds counts. Beside the speed stands what
it costs: Kendall's tau to float32 and the change of nDCG@10. The floor is the machine's rate of matrix products,
measured in the same run.

The 12-layer model is a one-label classifier that the recipe trains in a few minutes the first time (student.head:
stock); the 6-layer one is all-MiniLM-L6-v2 with a random head: right for speed, senseless for quality.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from machine import DOCS, commit, machine, matrix_rates, show_in_readme, targets_table, write_results
from scoring_bodies import against_the_published_wrapper, mixture_of_experts
from scoring_engines import DEMO, Engine, Pair, engines, small_model, trained_model

DEPTH = 15


def real_pairs(questions: int) -> tuple[list[Pair], list[list[float]]]:
    """Pairs of the FAQ, `DEPTH` a question, the languages in turn; and the grade of each document."""
    from tamis.retrievers.bm25 import Bm25

    folder = DEMO / "data" / "debian-faq"
    documents: dict[str, dict[str, str]] = {}
    for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        text = f"{entry['title']}\n{entry['text']}" if entry.get("title") else entry["text"]
        documents.setdefault(entry["metadata"]["lang"], {})[entry["_id"]] = text
    asked = [json.loads(line) for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    rows = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]]
    relevant = {(query, document) for query, document, grade in rows if int(grade) > 0}
    by_language: dict[str, list[dict[str, Any]]] = {}
    for question in asked:
        language = question["metadata"]["lang"]
        if language in documents:
            by_language.setdefault(language, []).append(question)
    in_turn = [q for row in zip(*(v[:: len(v) // 12] for v in by_language.values()), strict=False) for q in row]
    indexes = {language: Bm25(list(texts.values()), 1.2, 0.75) for language, texts in documents.items()}
    pairs: list[Pair] = []
    grades: list[list[float]] = []
    for question in in_turn[:questions]:
        language = question["metadata"]["lang"]
        ids = list(documents[language])
        best = np.argsort(-indexes[language].scores(question["text"]), kind="stable")[:DEPTH]
        pairs += [(question["text"], documents[language][ids[i]]) for i in best]
        grades.append([float((question["_id"], ids[i]) in relevant) for i in best])
    return pairs, grades


def ndcg(scores: np.ndarray, grades: list[list[float]]) -> float:
    """Mean nDCG@10 over the questions whose answer is among the candidates."""
    from tamis.formulas.ranking import agreement

    groups = np.array_split(scores, len(grades))
    return mean(agreement(s, np.array(g)) for s, g in zip(groups, grades, strict=True) if any(g))


def take_turns(found: dict[str, Engine], pairs: list[Pair], rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds of every round and the scores of every engine."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    scores: dict[str, np.ndarray] = {}
    for name, score in found.items():
        score(pairs[:64])  # warm up
        print(f"  {name} ready", file=sys.stderr)
    for number in range(rounds):
        for name, score in found.items():
            start = time.perf_counter()
            scores[name] = np.asarray(score(pairs), np.float32)
            seconds[name].append(time.perf_counter() - start)
            print(f"  round {number + 1}: {name} {len(pairs) / seconds[name][-1]:.1f} pairs/s", file=sys.stderr)
    return seconds, scores


def work_of(model: Path, pairs: list[Pair]) -> dict[str, float]:
    """Tokens, padding and floating point operations of the pairs in an encoder of this shape."""
    from tamis import Reranker
    from tamis.models.batching import token_batches
    from tamis.models.packing import pays
    from tamis.models.sequence import SequenceScorer

    reranker = Reranker(model, device="cpu")
    scorer = reranker.scorer
    assert isinstance(scorer, SequenceScorer)
    lengths = [len(row.ids) for row in scorer.encode(sorted(set(pairs)))]
    packs = scorer.model.packs
    padded = 0
    with torch.inference_mode():
        for batch in token_batches(lengths, scorer.token_budget, padded=not packs):
            own = [lengths[i] for i in batch]
            padded += sum(own) if packs and pays(own) else len(own) * max(own)
    config = json.loads((model / "config.json").read_text("utf-8"))
    hidden, wide, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    operations = sum(layers * (2 * n * (4 * hidden**2 + 2 * hidden * wide) + 4 * n**2 * hidden) for n in lengths)
    return {
        "pairs": len(pairs),
        "different_pairs": len(lengths),
        "tokens": sum(lengths),
        "mean_tokens": mean(lengths),
        "padding": 1 - sum(lengths) / padded,
        "operations": operations,
    }


def compare(model: Path, pairs: list[Pair], grades: list[list[float]], rounds: int) -> dict[str, Any]:
    """Speed and quality of every engine on one model."""
    print(f"{model}", file=sys.stderr)
    shape = work_of(model, pairs)
    seconds, scores = take_turns(engines(model), pairs, rounds)
    base = "sentence-transformers, float32"
    rows = {}
    for name, taken in seconds.items():
        rows[name] = {
            "pairs_per_second": len(pairs) / median(taken),
            "seconds": taken,
            "ratio": median(seconds[base]) / median(taken),
            "gflops": shape["operations"] / median(taken) / 1e9,
            "largest_difference": float(np.abs(scores[name] - scores[base]).max()),
            "tau": float(kendalltau(scores[name], scores[base]).statistic),
            "ndcg10_change": ndcg(scores[name], grades) - ndcg(scores[base], grades),
            "ties": 1 - len(np.unique(scores[name])) / len(np.unique(scores[base])),
        }
    return {"model": model.name, "work": shape, "engines": rows, "ndcg10": ndcg(scores[base], grades)}


def targets_of(large: dict[str, Any], wrapper: dict[str, Any], rates: dict[str, float]) -> list[dict[str, Any]]:
    """What was asked for, and what was reached."""
    exact, auto = large["engines"]["tamis, float32"], large["engines"]["tamis, auto"]
    wanted = [
        ("tamis float32 against sentence-transformers float32, ratio", exact["ratio"], ">= 1", exact["ratio"] >= 1),
        ("largest difference of float32 logits", exact["largest_difference"], "<= 1e-4", None),
        ("tamis auto against sentence-transformers' default, ratio", auto["ratio"], ">= 2.5", auto["ratio"] >= 2.5),
        ("nDCG@10 change of auto", auto["ndcg10_change"], "within 0.002", abs(auto["ndcg10_change"]) <= 0.002),
        ("Kendall tau of auto", auto["tau"], ">= 0.99", auto["tau"] >= 0.99),
        ("tamis against mteb's wrapper, ratio", wrapper["ratio"], ">= 15", wrapper["ratio"] >= 15),
        ("largest difference to mteb's wrapper", wrapper["largest_difference"], "<= 1e-4", None),
        ("padding, share of tokens", large["work"]["padding"], "< 0.03", large["work"]["padding"] < 0.03),
        ("share of the float32 matrix-product rate", exact["gflops"] / rates["float32"], ">= 0.65", None),
    ]
    limits = {"<= 1e-4": lambda v: v <= 1e-4, ">= 0.65": lambda v: v >= 0.65}
    return [
        {"name": name, "value": value, "bound": bound, "met": bool(limits[bound](value) if met is None else met)}
        for name, value, bound, met in wanted
    ]


def markdown(content: dict[str, Any]) -> str:
    """The tables."""
    lines = []
    for model in content["models"]:
        work = model["work"]
        lines += [
            f"**{model['model']}**, {work['pairs']} pairs of {work['mean_tokens']:.0f} tokens on average, "
            f"padding {100 * work['padding']:.1f} %",
            "",
            "| engine | pairs/s | ratio | GFLOP/s | largest difference | Kendall tau | nDCG@10 change |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for name, row in model["engines"].items():
            lines.append(
                f"| {name} | {row['pairs_per_second']:.1f} | {row['ratio']:.2f} | {row['gflops']:.0f} "
                f"| {row['largest_difference']:.1e} | {row['tau']:.4f} | {row['ndcg10_change']:+.4f} |"
            )
        lines.append("")
    rates = content["matrix_product_gflops"]
    lines.append(
        f"Matrix products here: {rates['float32']:.0f} GFLOP/s in float32, {rates['bfloat16']:.0f} in bfloat16."
    )
    for row in content["mixture_of_experts"]:
        lines.append(
            f"A body with {row['experts']} experts, 4 active: {row['parameters'] / 1e6:.0f} M parameters, "
            f"{row['active_parameters'] / 1e6:.0f} M active, {row['tokens_per_second']:.0f} tokens/s."
        )
    lines += ["", *targets_table(content["targets"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    pairs, grades = real_pairs(chosen.questions)
    model = trained_model()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rates = matrix_rates()
        models = [compare(model, pairs, grades, chosen.rounds)]
        small = small_model(work / "all-MiniLM-L6-v2")
        if small is not None:
            models.append(compare(small, pairs, grades, chosen.rounds))
        wrapper = against_the_published_wrapper(work, pairs)
        experts = mixture_of_experts(work)
    rates = {name: max(rate, matrix_rates()[name]) for name, rate in rates.items()}
    content = {
        "benchmark": "scoring",
        "commit": commit(),
        "machine": machine(),
        "versions": {name: __import__(name).__version__ for name in ("torch", "transformers", "sentence_transformers")},
        "seeds": [17],
        "matrix_product_gflops": rates,
        "models": models,
        "published_wrapper": wrapper,
        "mixture_of_experts": experts,
        "targets": targets_of(models[0], wrapper, rates),
    }
    table = markdown(content)
    write_results("scoring", content, table)
    show_in_readme(table, "scoring", DOCS / "models.md")
    print(table)


if __name__ == "__main__":
    main()
