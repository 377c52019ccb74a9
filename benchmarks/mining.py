"""From documents to training lists at 1x, 10x and 100x: time and memory for each document, and what a second run takes.

    make bench-mining                                        # 100, 1,000 and 10,000 manual pages in 23 languages
    python benchmarks/mining.py --documents 20 200 2000 --data demo/data/manpages

The extractive writer, e5-small and BM25 as first stages and as teacher; the stages corpus to lists. Each size is mined
in a process of its own, whose peak memory is its own, and once more in another one, which finds everything finished.
Time inside the model is that of `embed`, tokenising included. Loading it, with the libraries that it needs, counts as
outside and is told apart: it is the same for any number of documents. Writes benchmarks/results/mining.json and
mining.md.
"""

import argparse
import cProfile
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpora.fetch import fetch
from judged import language_of_row
from machine import DOCS, commit
from processes import in_a_process
from results import checked, publish, targets_table
from tamis.artifacts import read_json
from tamis.models.encoder import Encoder
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.recipe import Recipe
from tamis.pipeline.run import run_recipe
from tamis.process_memory import peak_memory
from tamis.stages.candidates.encoders import Encoders

DEMO = Path("demo")
ENCODER = DEMO / "models" / "e5-small"
DOCUMENTS = [100, 1_000, 10_000]
LANGUAGES = 23
"""The most frequent ones of the manual pages; the others have fewer than 30 each."""


def pages(data: Path) -> list[dict[str, Any]]:
    """Manual pages in the most frequent languages, in an order that only their ids decide."""
    with (data / "corpus.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    count = Counter(language_of_row(row) for row in rows)
    common = {language for language, _ in count.most_common(LANGUAGES)}
    kept = [row for row in rows if language_of_row(row) in common]
    return sorted(kept, key=lambda row: hashlib.sha256(row["_id"].encode()).digest())


def recipe_for(corpus: Path, languages: Sequence[str], chosen: argparse.Namespace) -> Recipe:
    """Mine a corpus with the defaults."""
    content = {
        "name": "bench-mining",
        "corpus": {"target": str(corpus)},
        "queries": {"generator": "extractive", "per_document": chosen.per_document},
        "candidates": {
            "depth": chosen.depth,
            "dense": {
                "path": str(ENCODER),
                "query_prefix": "query: ",
                "document_prefix": "passage: ",
                "max_length": chosen.max_length,
            },
        },
        "scores": {"use": 0.0},
        "lists": {"domains": {"all": list(languages)}},
        "machine": {"threads": chosen.threads},
    }
    return recipe_from(content, "bench-mining")


def mine(recipe: Recipe, root: Path, profile: Path | None) -> dict[str, Any]:
    """Run the stages up to the lists, with a clock in every model and around what loads it."""
    inside: list[float] = []
    with_loading: list[float] = []
    Encoder.embed = timed(Encoder.embed, inside)  # type: ignore[method-assign]
    Encoders.embed = timed(Encoders.embed, with_loading)  # type: ignore[method-assign]
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    began = time.monotonic()
    folders = run_recipe(recipe, root, "lists")
    seconds = time.monotonic() - began
    if profile:
        profiler.disable()
        profiler.dump_stats(profile)
    manifests = {name: read_json(folder / "manifest.json") for name, folder in folders.items()}
    return {
        "seconds": seconds,
        "model_seconds": sum(inside),
        "loading_seconds": sum(with_loading) - sum(inside),
        "peak_memory_bytes": peak_memory(),
        "stage_seconds": {name: manifest["seconds"] for name, manifest in manifests.items()},
        "stage_peak_memory_bytes": {name: manifest["peak_memory_bytes"] for name, manifest in manifests.items()},
        "kept": {name: manifest["counts"]["kept"] for name, manifest in manifests.items()},
    }


def timed(embed: Callable[..., np.ndarray], inside: list[float]) -> Callable[..., np.ndarray]:
    """`embed`, which adds the seconds of each call to `inside`."""

    def clocked(*arguments: Any, **named: Any) -> np.ndarray:
        began = time.monotonic()
        found = embed(*arguments, **named)
        inside.append(time.monotonic() - began)
        return found

    return clocked


def measure(rows: Sequence[Mapping[str, Any]], folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Mine a corpus twice."""
    folder.mkdir(parents=True)
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    languages = sorted({language_of_row(row) for row in rows})
    recipe = recipe_for(corpus, languages, chosen)
    profile = chosen.profile / f"mining-{len(rows)}.prof" if chosen.profile else None
    first = in_a_process(mine, recipe, folder / "run", profile)
    again = in_a_process(mine, recipe, folder / "run", None)
    return {
        "documents": len(rows),
        "languages": len(languages),
        "corpus_bytes": corpus.stat().st_size,
        **first,
        "documents_per_second": len(rows) / first["seconds"],
        "outside_share": 1 - first["model_seconds"] / first["seconds"],
        "loading_share": first["loading_seconds"] / first["seconds"],
        "second_run_seconds": again["seconds"],
    }


def table(sizes: Sequence[Mapping[str, Any]]) -> str:
    """A row per size, then the targets."""
    headings = (
        "documents", "queries", "lists", "seconds", "documents/s", "ms a document", "outside models", "of it loading",
        "peak memory", "second run",
    )  # fmt: skip
    lines = ["| " + " | ".join(headings) + " |", "|---:|" + "---:|" * (len(headings) - 1)]
    lines += [
        f"| {f['documents']:,} | {f['kept']['queries']:,} | {f['kept']['lists']:,} | {f['seconds']:,.1f} | "
        f"{f['documents_per_second']:.1f} | {1000 / f['documents_per_second']:.1f} | "
        f"{100 * f['outside_share']:.1f} % | {100 * f['loading_share']:.1f} % | "
        f"{f['peak_memory_bytes'] / 2**20:,.0f} MiB | {f['second_run_seconds']:.2f} s |"
        for f in sizes
    ]
    return "\n".join([*lines, "", *targets_table(targets_of(sizes))]) + "\n"


def targets_of(sizes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Flat memory, linear time, models at work, and nothing done twice.

    Time is also compared with the middle size: loading the models is spread over few documents in the smallest one and
    would hide a slow growth.
    """
    small, middle, large = sizes
    memory = large["peak_memory_bytes"] / middle["peak_memory_bytes"]
    of_small, of_middle = (one["documents_per_second"] / large["documents_per_second"] for one in (small, middle))
    second = large["second_run_seconds"] / large["seconds"]
    rows = [
        ("peak memory, 100x over 10x", memory, "<= 1.3"),
        ("time a document, 100x over 1x", of_small, "<= 1.2"),
        ("time a document, 100x over 10x", of_middle, "<= 1.2"),
        ("share of time outside models, 100x", large["outside_share"], "< 0.1"),
        ("second run over first, 100x", second, "< 0.05"),
    ]
    return checked(rows)


def main() -> None:
    """Measure every size, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs=3, default=DOCUMENTS, help="1x, 10x and 100x")
    parser.add_argument("--data", type=Path, default=DEMO / "data" / "manpages", help="fetched if it is not there")
    parser.add_argument("--per-document", type=int, default=2, help="queries asked for per document")
    parser.add_argument("--depth", type=int, default=100, help="candidates per query")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a text that e5-small reads")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", type=Path, help="folder for a profile of each size; slows the rest down")
    chosen = parser.parse_args()
    found_commit = commit()
    fetch("manpages", chosen.data)
    rows = pages(chosen.data)
    sizes = []
    with tempfile.TemporaryDirectory() as name:
        for documents in chosen.documents:
            sizes.append(measure(rows[:documents], Path(name) / str(documents), chosen))
            print(sizes[-1])
    content = {
        "seeds": [0],
        "settings": {"per_document": chosen.per_document, "depth": chosen.depth, "max_length": chosen.max_length},
        "figures": sizes,
        "targets": targets_of(sizes),
    }
    shown_in = [DOCS / "benchmarks.md"] if chosen.documents == DOCUMENTS else []
    publish("mining", found_commit, content, table(sizes), shown_in)


if __name__ == "__main__":
    main()
