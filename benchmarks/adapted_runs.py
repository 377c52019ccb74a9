"""Adapting runs that several benchmarks measure: their commands, their figures, kept by recipe and source."""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from judged import compare_means, compare_sets, in_points, macro_mean, mean_over_seeds
from machine import commit, machine, source_hash
from tamis.adaptation import adapting_recipe
from tamis.artifacts import item_key, read_json
from tamis.pipeline.reading import read_recipe
from tamis.pipeline.recipe import Recipe
from tamis.pipeline.run import stage_keys
from tamis.records import ALONE, SCORED, SERVED
from tamis.weights.shipped import BASE

OUT = Path("demo") / "bench-adaptation"
ENCODER = Path("demo/models/e5-small")
FAQ = "debianfaq"
SETS = {"scifact": "en", "piaf-fr": "fr", "tydiqa-ru": "ru"}
"""Language of each further set."""

LANGUAGES = "[de, en, fr, it, ja, ko, nl, pt, ru, zh-cn]"
"""Those of the FAQ."""

PLACES = {
    "as served, BM25": (f"{SERVED}bm25", "bm25"),
    "as served, hybrid": (f"{SERVED}hybrid", "hybrid"),
    "alone on BM25": (f"{ALONE}bm25", "bm25"),
    "alone on hybrid": (f"{ALONE}hybrid", "hybrid"),
    "beside the hybrid": (f"{SCORED}hybrid", "hybrid"),
}
"""How a model is used, and the first stage below it."""

SHOWN = tuple(place for place in PLACES if place != "as served, BM25")
"""Those of the tables that compare many variants."""


class Measured(NamedTuple):
    """One run.

    Attributes:
        values: nDCG@10 by system and question.
        language: Of each question.
        facts: Seconds, memory, what the merge did, and what was measured: `commit`, `source` (a hash of its files),
            `stages` (their keys) and those of them that were `reused`, made by an earlier call.
    """

    values: dict[str, dict[str, float]]
    language: dict[str, str]
    facts: dict[str, Any]


def recipe_of(command: Sequence[str], seed: int) -> Recipe:
    """The recipe that a command of tamis runs, `run` or `adapt`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("run", "adapt"))
    parser.add_argument("named", nargs="+")
    parser.add_argument("--encoder", type=Path)
    for option in ("--queries", "--set"):
        parser.add_argument(option, action="append", default=[])
    found = parser.parse_args(command)
    changes = [*found.set, f"seed={seed}"]
    if found.kind == "run":
        return read_recipe(Path(found.named[0]), changes)
    model, corpus = found.named
    return adapting_recipe(model, Path(corpus), (), found.encoder, [Path(file) for file in found.queries], changes)


def run(command: Sequence[str], out: Path, seed: int, variant: str = "") -> Measured:
    """Run a command of tamis, or read what an earlier call of this benchmark left of the same recipe and source.

    All seeds share a folder: texts are embedded once, so that only the first one's seconds are those of a cold run.

    Args:
        command: What is typed behind `tamis`.
        out: Folder of the set.
        seed: Of everything that is drawn.
        variant: What the command changes, in words, where there are several.
    """
    keys, source = stage_keys(recipe_of(command, seed)), source_hash()
    label = "".join(f"-{word}" for word in re.findall(r"[a-z0-9]+", variant.lower()))
    kept = out / f"measured-{seed}{label}-{item_key(keys['evaluate'], source)[:12]}.json"
    if not kept.exists():
        folders = stage_folders(out / "run", keys)
        reused = [stage for stage, folder in folders.items() if (folder / "manifest.json").exists()]
        about = {"seed": seed, "commit": commit(), "source": source, "machine": machine(), "stages": keys}
        about |= {"cold": not (out / "run").exists(), "reused": reused}
        start = time.monotonic()
        changed = ["--set", f"seed={seed}", "--yes", "--out", str(out / "run")]
        subprocess.run([sys.executable, "-m", "tamis", *command, *changed], check=True)
        found = _read(folders) | about | {"wall_seconds": round(time.monotonic() - start, 1)}
        kept.write_text(json.dumps(found), "utf-8")
    content = json.loads(kept.read_text("utf-8"))
    return Measured(content.pop("values"), content.pop("language"), content)


def stage_folders(root: Path, keys: Mapping[str, str]) -> dict[str, Path]:
    """Folder of each stage of a run below its run folder, by the stages' keys."""
    return {stage: root / stage / key for stage, key in keys.items()}


def _read(folders: Mapping[str, Path]) -> dict[str, Any]:
    wanted = {stage: folder for stage, folder in folders.items() if stage != "report"}
    manifests = {stage: read_json(folder / "manifest.json") for stage, folder in wanted.items()}
    table = pq.read_table(folders["evaluate"] / "per_query.parquet").to_pylist()
    values: dict[str, dict[str, float]] = {}
    for row in table:
        values.setdefault(row["system"], {})[row["query_id"]] = row["nDCG@10"]
    path = read_json(folders["merge"] / "path.json")
    curves = read_json(folders["train"] / "curves.json")
    return {
        "values": values,
        "language": {row["query_id"]: row["language"] for row in table},
        "seconds": {stage: manifest["seconds"] for stage, manifest in manifests.items()},
        "peak_memory_bytes": max(manifest["peak_memory_bytes"] for manifest in manifests.values()),
        "queries": manifests["queries"]["counts"],
        "lists": manifests["lists"]["lists"],
        "order": path["order"],
        "agreement": path["agreement"],
        "first_stage_weights": path["first_stage_weights"],
        "chosen": {name: [curve["chosen"], curve["agreement"]] for name, curve in curves.items()},
    }


def faq_command(threads: int) -> list[str]:
    """The demo, all questions."""
    return ["run", "recipes/demo.yaml", "--set", f"machine.threads={threads}"]


def set_command(data: Path, name: str, questions: int, threads: int) -> list[str]:
    """Adapt tamis-base to a set by its written queries, and measure it."""
    folder, written = data / name, data / "written" / f"{name}.tsv"
    return adapt_command(folder, [written], [f"machine.threads={threads}", *set_settings(folder, questions)])


def set_settings(folder: Path, questions: int) -> list[str]:
    """Languages of a set in BEIR layout, and its judged questions."""
    return [
        spoken_in(folder.name),
        f"evaluate.queries={folder / 'queries.jsonl'}",
        f"evaluate.qrels={folder / 'qrels' / 'test.tsv'}",
        f"evaluate.questions={questions}",
    ]


def spoken_in(name: str) -> str:
    """The setting that says which languages a set has; of a folder that is none of `SETS`, those of the FAQ."""
    return f"corpus.languages=[{SETS[name]}]" if name in SETS else f"corpus.languages={LANGUAGES}"


def adapt_command(corpus: Path, queries: Sequence[Path], changes: Sequence[str], model: str = BASE) -> list[str]:
    """`tamis adapt MODEL CORPUS` with queries and settings."""
    command = ["adapt", model, str(corpus), "--encoder", str(ENCODER)]
    for file in queries:
        command += ["--queries", str(file)]
    for change in changes:
        command += ["--set", change]
    return command


def gains(runs: Sequence[Measured], student: str, baseline: str, place: str) -> dict[str, Any]:
    """A student against another one or a first stage, in one place: difference in points, p, and by seed."""
    way, first = PLACES[place]
    other = first if baseline == "first stage" else f"{baseline}{way}"
    ours = mean_over_seeds([one.values[f"{student}{way}"] for one in runs])
    theirs = mean_over_seeds([one.values[other] for one in runs])
    language = runs[0].language
    by_seed = [
        macro_mean(one.values[f"{student}{way}"], language)["mean"] - macro_mean(one.values[other], language)["mean"]
        for one in runs
    ]
    by_language = {
        spoken: 100 * mean(ours[q] - theirs[q] for q, of in language.items() if of == spoken)
        for spoken in sorted(set(language.values()))
    }
    return {
        **in_points(compare_means(ours, theirs, language)),
        "by_seed": [100 * value for value in by_seed],
        "by_language": by_language,
        "worst_language": min(by_language.items(), key=lambda item: item[1]),
    }


def over_sets(
    ours: Mapping[str, Sequence[Measured]],
    theirs: Mapping[str, Sequence[Measured]],
    students: tuple[str, str],
    place: str,
) -> dict[str, float]:
    """Two students over all sets that both have, each set weighing alike: difference in points, and p.

    Args:
        ours: Runs by set, one a seed.
        theirs: Those of the other student; a set counts with as many seeds as both have.
        students: Name of each.
        place: One of `PLACES`.
    """
    way, _ = PLACES[place]
    seeds = {name: min(len(runs), len(theirs[name])) for name, runs in ours.items() if name in theirs}
    own, other = (
        {name: mean_over_seeds(one.values[f"{student}{way}"] for one in of[name][:n]) for name, n in seeds.items()}
        for of, student in zip((ours, theirs), students, strict=True)
    )
    return in_points(compare_sets(own, other))
