"""Exact dense search over vectors in a file: time against the matrix products alone, and memory.

    make bench-search                                     # 10,000 to 1,000,000 documents, 10,000 queries
    python benchmarks/search.py --documents 10000 100000 --queries 1024

Random unit vectors of 384 numbers. Each size runs in a process of its own, whose peak memory is its own. The floor is
the float32 product of a block of queries with a block of documents, timed there and multiplied. Writes
benchmarks/results/search.json and search.md.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from machine import DOCS, commit
from processes import in_a_process
from results import checked, publish, targets_table
from tamis.formulas.arrays import VectorArray
from tamis.process_memory import peak_memory
from tamis.retrievers.dense import DOCUMENTS, QUERIES, search_dense
from tamis.retrievers.index import FUSED
from tamis.retrievers.vectors import Rows, VectorFile

SIZES = [10_000, 100_000, 1_000_000]
WIDTH = 384
SEED = 0


def unit(rng: np.random.Generator, rows: int) -> VectorArray:
    """Random vectors of norm 1: float32 [rows, WIDTH]."""
    vectors: VectorArray = rng.standard_normal((rows, WIDTH), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def measure(documents: int, queries: int, depth: int, threads: int, folder: str) -> dict[str, Any]:
    """Write the vectors, search them, and time the products that no search can do without."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(SEED)
    file = VectorFile(Path(folder) / f"{documents}.f32", WIDTH)
    for start in range(0, documents, DOCUMENTS):
        file.write(start, unit(rng, min(DOCUMENTS, documents - start)))
    asked = unit(rng, queries)
    block, others = torch.from_numpy(asked[:QUERIES]), torch.from_numpy(unit(rng, min(DOCUMENTS, documents)))
    _ = block @ others.T
    began = time.monotonic()
    for _ in range(5):
        _ = block @ others.T
    floor = (time.monotonic() - began) / 5 * (documents / len(others)) * (queries / len(block))
    before = peak_memory()
    rows = Rows(file, np.arange(documents))
    began = time.monotonic()
    for start in range(0, queries, QUERIES):
        part = asked[start : start + QUERIES]
        search_dense(part, rows, depth, [lambda places: places] * len(part))
    seconds = time.monotonic() - began
    return {
        "documents": documents,
        "queries": queries,
        "depth": depth,
        "seconds": seconds,
        "floor_seconds": floor,
        "peak_memory_bytes": peak_memory(),
        "memory_before_bytes": before,
    }


def table(sizes: Sequence[Mapping[str, Any]]) -> str:
    """A row per size."""
    lines = ["| documents | queries | seconds | products alone | ratio | peak memory |", "|---:|" + "---:|" * 5]
    lines += [
        f"| {f['documents']:,} | {f['queries']:,} | {f['seconds']:.1f} | {f['floor_seconds']:.1f} | "
        f"{f['seconds'] / f['floor_seconds']:.2f} | {f['peak_memory_bytes'] / 2**20:,.0f} MiB |"
        for f in sizes
    ]
    return "\n".join([*lines, "", *targets_table(targets_of(sizes))]) + "\n"


def targets_of(sizes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Memory stays, and little beside the products takes time where there is much to search."""
    last = sizes[-1]
    grown = (last["peak_memory_bytes"] - sizes[0]["peak_memory_bytes"]) / 2**20
    ratio = last["seconds"] / last["floor_seconds"]
    rows = [
        ("memory from the smallest to the largest, MiB", grown, "< 200"),
        ("time over products alone, largest", ratio, "< 2"),
    ]
    return checked(rows)


def main() -> None:
    """Measure every size, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=SIZES)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--depth", type=int, default=FUSED)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    found_commit = commit()
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for documents in chosen.documents:
            sizes.append(in_a_process(measure, documents, chosen.queries, chosen.depth, chosen.threads, folder))
            print(sizes[-1])
    content = {"seeds": [SEED], "figures": sizes, "targets": targets_of(sizes)}
    pages = [DOCS / "benchmarks.md"] if chosen.documents == SIZES else []
    publish("search", found_commit, content, table(sizes), pages)


if __name__ == "__main__":
    main()
