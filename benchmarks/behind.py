"""What tamis-base adds behind each engine of docs/behind: milliseconds of a search, and of reranking what it found.

    make bench-behind                                       # needs the packages of `tamis[engines]`
    python benchmarks/behind.py --questions 100 --postgresql "host=/run/postgresql dbname=mine"

The scripts in examples/behind, each in a process of its own, on the English part of the Debian FAQ: all its documents,
and some of its questions, drawn by hash. PostgreSQL is a server, which has to run already; its row is left out where no
address is given, and the page stays as it is. Elasticsearch and OpenSearch are not measured. Writes
benchmarks/results/behind.json and behind.md.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from machine import DOCS, ROOT, commit
from results import publish
from tamis.formulas.ranking import tie_key

SCRIPTS = ROOT.parent / "examples" / "behind"
MODEL, ENCODER = "tamis-base", "demo/models/e5-small"
ENGINES = {
    "postgresql": ("psycopg", "full text and vectors"),
    "qdrant": ("qdrant-client", "vectors"),
    "lancedb": ("lancedb", "full text and vectors"),
    "milvus": ("milvus-lite", "vectors"),
    "tantivy": ("tantivy", "BM25"),
}
"""By script: the package whose version is told, and how it searches."""


def english(source: Path, folder: Path, questions: int) -> Path:
    """The English documents of the FAQ, and some of the questions about them."""
    for name, most in (("corpus", None), ("queries", questions)):
        lines = [line for line in (source / f"{name}.jsonl").read_text("utf-8").split("\n") if line]
        rows = {json.loads(line)["_id"]: line for line in lines if json.loads(line)["metadata"]["lang"] == "en"}
        drawn = sorted(rows, key=lambda row_id: tie_key("question", row_id))[:most]
        (folder / f"{name}.jsonl").write_text("\n".join(rows[row_id] for row_id in drawn) + "\n", "utf-8")
    return folder


def measure(name: str, source: Path, out: Path, address: str) -> dict[str, Any]:
    """Run a script, and keep what it says."""
    told = [MODEL] if name == "tantivy" else [MODEL, ENCODER]
    script = [sys.executable, str(SCRIPTS / f"with_{name}.py"), str(source), str(out)]
    call = [*script, *told, *([address] if address else [])]
    said = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    queries, search_ms, rerank_ms = map(float, re.findall(r"\d+(?:\.\d+)?", said.split(":", 1)[1]))
    package, how = ENGINES[name]
    facts = {"engine": name, "version": f"{package} {version(package)}", "how": how}
    return facts | {"queries": int(queries), "search_ms": search_ms, "rerank_ms": rerank_ms}


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each engine."""
    lines = ["| engine | searches by | search, ms | reranking 20 documents, ms |", "|---|---|---:|---:|"]
    for row in rows:
        name = f"{row['engine']} ({row['version']})"
        lines.append(f"| {name} | {row['how']} | {row['search_ms']:.1f} | {row['rerank_ms']:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure engine by engine, then write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("demo/data/debian-faq"))
    options.add_argument("--questions", type=int, default=20)
    options.add_argument("--postgresql", default="", help="address of a server with pgvector, as libpq takes it")
    chosen = options.parse_args()
    start, found_commit = time.monotonic(), commit()
    addresses = {"postgresql": chosen.postgresql}
    names = [name for name in ENGINES if name != "postgresql" or chosen.postgresql]
    with tempfile.TemporaryDirectory() as folder:
        source = english(chosen.data, Path(folder), chosen.questions)
        rows = [measure(name, source, Path(folder) / name, addresses.get(name, "")) for name in names]
    content = {
        "seeds": [],
        "seconds": round(time.monotonic() - start, 1),
        "model": MODEL,
        "rows": rows,
    }
    pages = [DOCS / "behind/index.md"] if len(rows) == len(ENGINES) else []
    publish("behind", found_commit, content, table(rows), pages)


if __name__ == "__main__":
    main()
