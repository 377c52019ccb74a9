"""What a client gets who puts tamis-base behind a search and sends documents in its order: never-trained sets.

    make bench-served                                      # the sets below ../shared/data
    python benchmarks/served.py --data DIR --questions 50 piaf-fr

`tamis evaluate` on the best 20 documents of BM25, of e5-small's vectors and of their weighted sum. No stage has read a
question or a judgement of these sets; the weight of the order was chosen on another one, software-faqs. Each set's
first questions by hash; the Debian FAQ is searched language by language. Writes benchmarks/results/served.json and
served.md.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq

from command_line import data_parser
from general import SETS
from judged import compare_sets, in_points
from machine import DOCS, commit
from results import checked, publish, targets_table
from tamis.artifacts import read_json
from tamis.evaluation.candidates import BiEncoder
from tamis.evaluation.config import EvaluationConfig
from tamis.evaluation.evaluate import evaluate
from tamis.formulas.ranking import tie_key
from tamis.records import SERVED, WAYS

OUT = Path("demo") / "bench-served"
ENCODER = BiEncoder("demo/models/e5-small", "query: ", "passage: ")
MODEL = "tamis-base"
STAGES = ("bm25", "dense", "hybrid")

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""nDCG@10 by set, system and question."""


def sample(source: Path, folder: Path, questions: int) -> Path:
    """A BEIR folder with the same documents and some of the questions, those with the lowest hashes."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.jsonl"
    if not corpus.exists():
        corpus.symlink_to((source / "corpus.jsonl").resolve())
    header, *judged = (source / "qrels" / "test.tsv").read_text("utf-8").splitlines()
    asked = {row.split("\t")[0] for row in judged}
    rows = (source / "queries.jsonl").read_text("utf-8").split("\n")
    texts = {row_id: row for row in rows if row.strip() and (row_id := str(json.loads(row)["_id"])) in asked}
    drawn = set(sorted(texts, key=lambda query_id: tie_key("question", query_id))[:questions])
    (folder / "queries.jsonl").write_text("\n".join(texts[q] for q in texts if q in drawn) + "\n", "utf-8")
    kept = [row for row in judged if row.split("\t")[0] in drawn]
    (folder / "qrels" / "test.tsv").write_text("\n".join([header, *kept]) + "\n", "utf-8")
    return folder


def measure(source: Path, questions: int, models: Sequence[str] = (MODEL,)) -> dict[str, dict[str, float]]:
    """nDCG@10 of each question by system."""
    name = source.name
    folder = sample(source, OUT / "sets" / name, questions)
    asked = EvaluationConfig(
        models=tuple(models),
        sets=(str(folder),),
        first=STAGES,
        measures=("nDCG@10",),
        depth=20,
        languages="any" if SETS[name] else "same",
        encoder=ENCODER,
        precision="auto",
    )
    evaluate(asked, OUT / name)
    rows = pq.read_table(OUT / name / "per_query.parquet").to_pylist()
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["system"], {})[row["query_id"]] = row["nDCG@10"]
    return found


def pooled(found: Figures, system: str, baseline: str) -> dict[str, float]:
    """Difference of two systems over all sets, each weighing alike, in points, and its p."""
    ours, theirs = ({name: of[each] for name, of in found.items()} for each in (system, baseline))
    return in_points(compare_sets(ours, theirs))


def targets(found: Figures) -> list[dict[str, Any]]:
    """As served, over each first stage, in the mean and on the worst set."""
    rows: list[tuple[str, float, str]] = []
    for stage in STAGES:
        over = pooled(found, f"{MODEL}{SERVED}{stage}", stage)
        rows.append((f"as served over {stage}, points", over["points"], ">= 0.8"))
        rows.append((f"as served over {stage}, p", over["p_value"], "< 0.01"))
        worst, points = worst_set(found, f"{MODEL}{SERVED}{stage}", stage)
        rows.append((f"as served over {stage}, worst set ({worst}), points", points, ">= -0.3"))
    return checked(rows)


def worst_set(found: Figures, system: str, baseline: str) -> tuple[str, float]:
    """The set on which a system gains least over another one, and its points."""
    by_set = {name: 100 * (_mean(of[system]) - _mean(of[baseline])) for name, of in found.items()}
    return min(by_set.items(), key=lambda entry: entry[1])


def _mean(values: Mapping[str, float]) -> float:
    return mean(values.values())


def figures_of(found: Figures, models: Sequence[str]) -> dict[str, Any]:
    """What results hold: questions and means of each set, and every model in each way over each first stage."""
    return {
        "questions": {name: len(of["bm25"]) for name, of in found.items()},
        "ndcg10": {name: {system: _mean(values) for system, values in of.items()} for name, of in found.items()},
        "pooled": {
            f"{model}{way}{stage} over {stage}": pooled(found, f"{model}{way}{stage}", stage)
            for model in models
            for stage in STAGES
            for way in WAYS
        },
    }


def sets_table(found: Figures, systems: Mapping[str, str]) -> list[str]:
    """Lines of a Markdown table: a row for each set and the mean, a column for each system under its heading."""
    lines = ["| nDCG@10 | " + " | ".join(systems.values()) + " |", "|---|" + "---:|" * len(systems)]
    for name, of in found.items():
        cells = [f"{_mean(of[system]):.3f}" for system in systems]
        lines.append(f"| {name}, {len(of['bm25'])} questions | " + " | ".join(cells) + " |")
    means = [f"**{mean(_mean(of[system]) for of in found.values()):.3f}**" for system in systems]
    return [*lines, "| **mean of the sets** | " + " | ".join(means) + " |"]


def markdown(found: Figures, reached: list[dict[str, Any]]) -> str:
    """A row for each set: every first stage, and what the model makes of it in each way."""
    systems: dict[str, str] = {}
    for stage in STAGES:
        systems |= {stage: stage, **{f"{MODEL}{way}{stage}": told for way, told in WAYS.items()}}
    return "\n".join([*sets_table(found, systems), "", *targets_table(reached)]) + "\n"


def main() -> None:
    """Measure set by set, then write."""
    parser = data_parser(__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--questions", type=int, default=300)
    chosen = parser.parse_args()
    start, found_commit = time.monotonic(), commit()
    found = {name: measure(chosen.data / name, chosen.questions) for name in chosen.sets}
    reached = targets(found)
    content = {
        "seeds": [],
        "seconds": round(time.monotonic() - start, 1),
        "depth": 20,
        "weights": read_json(OUT / chosen.sets[0] / "results.json")["models"][MODEL],
        **figures_of(found, (MODEL,)),
        "targets": reached,
    }
    pages = [DOCS / "serving.md"] if chosen.sets == list(SETS) else []
    publish("served", found_commit, content, markdown(found, reached), pages)


if __name__ == "__main__":
    main()
