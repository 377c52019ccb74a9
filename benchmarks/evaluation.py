"""How long figures and tables take, and whether memory stays flat: 100,000 questions with 100 documents each.

    make bench-evaluation
    python benchmarks/evaluation.py --questions 2000 --documents 20

Writes benchmarks/results/evaluation.json and evaluation.md. Rankings are made up and streamed, as those of a model are
from the item store: two systems, five measures, tests, groups, the table of questions and TREC runs. Each size runs in
a process of its own. What it held once questions and judgements were there grows with their number whatever is done
with them; what comes on top is compared with that of a tenth of the questions.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from machine import commit
from results import checked, publish, targets_table

CORPUS = 20_000
LANGUAGES = ("de", "en", "ja")
FLAT = 1.5
"""Times the memory of a tenth of the questions that counts as flat: eight bytes a figure and question are kept."""


def made_up_set(questions: int) -> Any:
    """Questions in three languages, each with three relevant documents."""
    from tamis.evaluation.judged import Question
    from tamis.evaluation.sets import JudgedSet
    from tamis.records import Document

    rng = np.random.default_rng(0)
    ids = [f"d{number}" for number in range(CORPUS)]
    documents = {doc_id: Document(doc_id, f"text of {doc_id}", "en") for doc_id in ids}
    relevant = rng.integers(0, CORPUS, (questions, 3))
    asked = {
        f"q{number}": Question(
            f"q{number}", f"question {number}", LANGUAGES[number % 3], {ids[place]: 1 for place in places}
        )
        for number, places in enumerate(relevant.tolist())
    }
    return JudgedSet("made-up", "none", documents, asked)


def rankings(judged: Any, depth: int, seed: int, found: float) -> Iterator[tuple[str, list[str], bool]]:
    """A ranking of each question that has its first relevant document on top with a chance of `found`."""
    rng = np.random.default_rng(seed)
    ids = list(judged.documents)
    for query_id, question in judged.questions.items():
        ranked = [ids[place] for place in np.unique(rng.integers(0, CORPUS, depth + depth // 8)).tolist()]
        rng.shuffle(ranked)
        best = next(iter(question.relevant))
        head = [best] if rng.random() < found else []
        yield query_id, [*head, *(doc_id for doc_id in ranked if doc_id != best)][:depth], False


def measure(questions: int, depth: int, out: "multiprocessing.Queue[dict[str, float]]") -> None:
    """Everything that follows the scores, for one size."""
    from rich.console import Console

    from tamis.evaluation import tables
    from tamis.evaluation.config import MEASURES
    from tamis.evaluation.figures import PairedTests, baselines_and_first, measure_system, results_of, set_figures
    from tamis.evaluation.systems import System
    from tamis.evaluation.writing import PerQuery, ReadRankings, measure_set
    from tamis.formulas.measures import parse_measures
    from tamis.process_memory import peak_memory, reset_peak_memory

    judged = made_up_set(questions)
    measures = parse_measures(MEASURES)
    measure_system(judged, System("warm-up", "", "run", None), [("q0", ["d0"])], measures, lambda: None)
    reset_peak_memory()
    held = peak_memory()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        systems = [System("first", "first", "run", None), System("model", "model", "run", "first")]
        chances = zip(systems, (0.4, 0.42), strict=True)
        found = (ReadRankings(rankings(judged, depth, n, chance), judged) for n, (_, chance) in enumerate(chances))
        ranked = ((system, each, each.tie_rate) for system, each in zip(systems, found, strict=True))
        measured = list(measure_set(judged, ranked, measures, Path(folder) / "set"))
        seconds["measures"] = time.perf_counter() - started
        started = time.perf_counter()
        tests = PairedTests(baselines_and_first(judged.name, systems), rounds=10_000)
        sets = {judged.name: set_figures(judged, measured, MEASURES[0], tests, {})}
        results = results_of(sets, MEASURES, depth, "any", {})
        seconds["tests_and_groups"] = time.perf_counter() - started
        started = time.perf_counter()
        with PerQuery(Path(folder) / "per_query.parquet", MEASURES) as table:
            table.add(judged, measured)
        with Path(folder, "table.txt").open("w", encoding="utf-8") as file:
            tables.print_evaluation(results, Console(file=file, width=118))
        seconds["tables"] = time.perf_counter() - started
    out.put({**seconds, "held_bytes": held, "more_bytes": peak_memory() - held})


def run(questions: int, depth: int) -> dict[str, float]:
    """One size in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[dict[str, float]] = context.Queue()
    process = context.Process(target=measure, args=(questions, depth, queue))
    process.start()
    found = queue.get()
    process.join()
    return {"questions": questions, "documents": depth, **{name: round(value, 2) for name, value in found.items()}}


def main() -> None:
    """Measure both sizes and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=100)
    wanted = parser.parse_args()
    rows = [run(size, wanted.documents) for size in (max(1, wanted.questions // 10), wanted.questions)]
    small, large = rows
    ratio = large["more_bytes"] / max(1, small["more_bytes"])
    name = "memory beyond the questions, ratio to a tenth of them"
    targets = checked([(name, ratio, f"<= {FLAT}")])
    lines = [
        "| questions | documents each | measures, s | tests and groups, s | tables, s | held, MiB | on top, MiB |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row['questions']:,} | {row['documents']} | {row['measures']:.1f} | {row['tests_and_groups']:.1f} | "
            f"{row['tables']:.1f} | {row['held_bytes'] / 2**20:,.0f} | {row['more_bytes'] / 2**20:,.0f} |"
            for row in rows
        ),
    ]
    text = "\n".join([*lines, "", *targets_table(targets)]) + "\n"
    publish("evaluation", commit(), {"sizes": rows, "targets": targets}, text)


if __name__ == "__main__":
    main()
