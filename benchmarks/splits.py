"""Which way to hold queries out chooses students as people's questions would: one by one, by document, by topic.

Called by `benchmarks/recipe.py`. Written queries of the Debian FAQ are put aside before anything is learnt: those of
whole topics (an answer and its translations), both of some other answers, and one of some others, whose second query
is learnt from. Every student that learnt from the rest is measured on each kind, the own document being the right one,
and on real questions. Kendall's tau between the two says how well the split would have chosen.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from safetensors.torch import load_file
from scipy.stats import kendalltau

from adapted_runs import PLACES, Measured
from judged import judged
from tamis.formulas.ranking import tie_key
from tamis.pipeline.recipe import Recipe
from writers import STRONG, topic_of, write_rows

SPLITS = ("one by one", "by document", "by topic")
SHARE = 10
"""One topic, answer and query of so many is put aside."""

Row = list[str]


def split_queries(folder: Path) -> None:
    """Write the queries that are learnt from as learnt.tsv, and a judged set of each kind that is not."""
    folder.mkdir(parents=True, exist_ok=True)
    with STRONG.open(encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    parts: dict[str, list[Row]] = {name: [] for name in ("learnt", *SPLITS)}
    seen: set[str] = set()
    for row in rows:
        parts[_part_of(row[0], row[0] in seen)].append(row)
        seen.add(row[0])
    for name in SPLITS:
        _write_judged(folder / name.replace(" ", "-"), parts[name])
    write_rows(folder / "learnt.tsv", header, parts["learnt"])


def _part_of(doc_id: str, second: bool) -> str:
    if tie_key("held-out topic", topic_of(doc_id)) % SHARE == 0:
        return "by topic"
    if tie_key("held-out document", doc_id) % SHARE == 0:
        return "by document"
    return "one by one" if second and tie_key("held-out query", doc_id) % SHARE == 0 else "learnt"


def _write_judged(folder: Path, rows: Sequence[Row]) -> None:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"_id": f"w{number}", "text": text}) for number, (_, text, *_) in enumerate(rows)]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    judgements = [[f"w{number}", doc_id, "1"] for number, (doc_id, *_) in enumerate(rows)]
    write_rows(folder / "qrels.tsv", ["query-id", "corpus-id", "score"], judgements)


def measure_student(recipe: Recipe, folders: Mapping[str, Path], splits: Path) -> dict[str, float]:
    """nDCG@10 of a run's specialist alone on the hybrid's candidates, on the queries of each split; kept.

    Args:
        recipe: Of the run.
        folders: Of its stages.
        splits: Folder of `split_queries`.
    """
    kept = splits / f"student-{folders['train'].name}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text("utf-8")))
    assert recipe.evaluate is not None, "the recipe evaluates"
    way, _ = PLACES["alone on hybrid"]
    tensors = load_file(folders["train"] / "corpus.safetensors")
    found = {}
    for name in SPLITS:
        own = splits / name.replace(" ", "-")
        asked = recipe.evaluate.model_copy(update={"queries": own / "queries.jsonl", "qrels": own / "qrels.tsv"})
        with judged(recipe.model_copy(update={"evaluate": asked}), folders["train"].parent.parent, folders) as run:
            values = run.of("specialist", tensors, {"bm25": 1.0, "hybrid": 1.0})[f"specialist{way}"]
        found[name] = mean(values.values())
    kept.write_text(json.dumps(found), "utf-8")
    return found


def agreement_with_people(students: Mapping[str, tuple[Measured, Mapping[str, float]]]) -> dict[str, Any]:
    """Kendall's tau between each split's order of the students and that of real questions, in two places.

    Args:
        students: By name, its run and `measure_student`.
    """
    return {
        place: {
            split: float(kendalltau([of[split] for _, of in students.values()], _real(students, place)).statistic)
            for split in SPLITS
        }
        for place in ("as served, hybrid", "alone on hybrid")
    }


def _real(students: Mapping[str, tuple[Measured, Mapping[str, float]]], place: str) -> list[float]:
    way, _ = PLACES[place]
    return [mean(run.values[f"specialists{way}"].values()) for run, _ in students.values()]
