"""First stages on judged sets in scripts that a naive splitter gets wrong, and across languages.

    make bench-first_stages                               # ten sets and debianfaq below ../shared/data
    python benchmarks/first_stages.py --data DIR --questions 0 xquad-th xquad-cross

recall@100 and nDCG@10 of BM25 over naive words, BM25 over our terms, e5-small, and the hybrid of the latter two.
Writes benchmarks/results/first_stages.json and first_stages.md.
"""

import argparse
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from machine import commit, machine, print_targets, write_results
from tamis.artifacts import ItemStore, item_key
from tamis.building.embedding import embed_missing
from tamis.formats.documents import read_documents
from tamis.models.encoder import Encoder
from tamis.models.precision import fastest_precision
from tamis.records import Candidates, Document, Query
from tamis.retrievers.bm25 import Bm25
from tamis.retrievers.shelf import Languages, Searching, fill_shelves
from tamis.stages.candidates import rank_candidates, search_shelves
from tamis.stages.corpus import clean
from tamis.stages.evaluate import Question, draw_questions, macro_mean, measure, read_questions

ROOT = Path(__file__).resolve().parent
ENCODER = ROOT.parent / "demo" / "models" / "e5-small"
PREFIXES = {"query": "query: ", "document": "passage: "}
DEPTH = 100
MAX_LENGTH = 256
"""Tokens of a text that are embedded, as in recipes/general.yaml."""

SETS = {
    "tydiqa-ar": "ar",
    "xquad-ar": "ar",
    "xquad-hi": "hi",
    "tydiqa-te": "te",
    "tydiqa-bn": "bn",
    "xquad-th": "th",
    "tydiqa-ko": "ko",
    "jsquad-ja": "ja",
    "cmrc2018-zh": "zh",
    "xquad-zh": "zh",
}
"""Name and language of each set that is searched in its own language."""

CROSSED = {"debianfaq": "cross.tsv", "xquad-cross": "test.tsv"}
"""Sets whose questions are answered in other languages than their own, and their judgements."""

SYSTEMS = {"naive": "BM25, `\\w+`", "bm25": "BM25, ours", "dense": "e5-small", "hybrid": "hybrid"}


def naive(text: str) -> list[str]:
    """Runs of what Python counts as word characters."""
    return re.findall(r"\w+", text.lower())


def recall(ranked: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Share of the relevant documents that are found."""
    wanted = {doc_id for doc_id, grade in relevant.items() if grade > 0}
    return len(wanted.intersection(ranked)) / len(wanted)


class Bench:
    """The encoder, and what it embedded before."""

    def __init__(self, questions: int, folder: Path) -> None:
        self.questions = questions
        folder.mkdir(parents=True, exist_ok=True)
        self.items = ItemStore(folder / "items.sqlite")
        self.precision = fastest_precision()
        self.encoder = Encoder.load(ENCODER, self.precision, 2048)

    def measure(self, folder: Path, language: str, judgements: str, languages: Languages) -> dict[str, Any]:
        """nDCG@10 and recall@100 of every first stage on a set, means over its languages."""
        documents = [d for d in clean(read_documents(folder, "target"), 1_000_000) if isinstance(d, Document)]
        if language:
            documents = [replace(d, language=language) for d in documents]
        tags = {d.doc_id: d.language for d in documents}
        judged, _ = read_questions(folder / "queries.jsonl", folder / "qrels" / judgements, tags, languages)
        share = self.questions if language else -(-self.questions // len({q.language for q in judged}))
        questions = draw_questions(judged, share)
        vectors = self._embed("document", {d.doc_id: d.text for d in documents})
        query_vectors = self._embed("query", {q.query_id: q.text for q in questions})
        shelves = fill_shelves(documents, vectors, Searching(languages=languages))
        queries = [Query(q.query_id, q.text, q.language, "target", "", "question") for q in questions]
        wanted = [name for name in SYSTEMS if name != "naive"]
        found: dict[str, dict[str, Candidates]] = {name: {} for name in SYSTEMS}
        for query, ranked in search_shelves(queries, query_vectors, shelves, DEPTH, wanted):
            for name, candidates in ranked.items():
                found[name][query.query_id] = candidates
        if languages == "same":
            found["naive"] = search_naively(documents, questions)
        else:
            del found["naive"]
        runs = {name: {q: list(c.doc_ids) for q, c in ranked.items()} for name, ranked in found.items()}
        ndcg = measure(runs, questions)
        recalls = {
            name: {q.query_id: recall(run[q.query_id], q.relevant) for q in questions} for name, run in runs.items()
        }
        return {
            "documents": len(documents),
            "questions": len(questions),
            "ndcg10": {name: macro_mean(values, questions)["mean"] for name, values in ndcg.items()},
            "recall100": {name: macro_mean(values, questions)["mean"] for name, values in recalls.items()},
        }

    def _embed(self, kind: str, texts: Mapping[str, str]) -> Mapping[str, Any]:
        embed: Callable[[Sequence[str]], np.ndarray] = lambda some: self.encoder.embed(some, PREFIXES[kind], MAX_LENGTH)  # noqa: E731
        identity = item_key("e5-small", PREFIXES[kind], MAX_LENGTH, self.precision)
        return embed_missing(texts, identity, embed, self.items, f"embedding {kind} texts")


def search_naively(documents: Sequence[Document], questions: Sequence[Question]) -> dict[str, Candidates]:
    """BM25 of the documents of one language, over naive words."""
    index = Bm25((d.text for d in documents), 0.9, 0.4, naive)
    doc_ids = tuple(d.doc_id for d in documents)
    return {q.query_id: rank_candidates(q.query_id, doc_ids, index.scores(q.text), DEPTH) for q in questions}


def table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """A row per set: nDCG@10 and recall@100 of every first stage."""
    heads = [f"{title}, {what}" for what in ("nDCG@10", "recall@100") for title in SYSTEMS.values()]
    lines = ["| set, questions of documents | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for name, found in sets.items():
        figures = [found[what].get(system) for what in ("ndcg10", "recall100") for system in SYSTEMS]
        cells = " | ".join("" if figure is None else f"{figure:.3f}" for figure in figures)
        lines.append(f"| {name}, {found['questions']:,} of {found['documents']:,} | {cells} |")
    return "\n".join(lines) + "\n"


def targets_of(sets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Our splitting is nowhere worse than the naive one; dense search carries what crosses languages."""
    rows = []
    for what, title in (("ndcg10", "nDCG@10"), ("recall100", "recall@100")):
        split = {name: 100 * (f[what]["bm25"] - f[what]["naive"]) for name, f in sets.items() if "naive" in f[what]}
        crossed = {name: 100 * (f[what]["dense"] - f[what]["bm25"]) for name, f in sets.items() if name in CROSSED}
        for gains, label in (
            (split, "BM25 with our terms over naive words"),
            (crossed, "dense over BM25 across languages"),
        ):
            if gains:
                worst = min(gains, key=lambda name: gains[name])
                rows.append((f"{label}, {title}, points, worst set ({worst})", gains[worst], ">= 0"))
    return [{"name": n, "value": round(v, 4), "bound": b, "met": v >= 0} for n, v, b in rows]


def main() -> None:
    """Measure every set, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=[*SETS, "debianfaq"])
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    parser.add_argument("--questions", type=int, default=150, help="of each set, drawn by hash; 0 for all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("demo") / "bench-first_stages", help="for the embeddings")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found_commit, start = commit(), time.monotonic()
    bench = Bench(chosen.questions, chosen.cache)
    sets = {}
    for name in chosen.sets:
        crossed = name in CROSSED
        how: Languages = "cross" if crossed else "same"
        sets[name] = bench.measure(chosen.data / name, SETS.get(name, ""), CROSSED.get(name, "test.tsv"), how)
        print(name, {what: {s: round(v, 4) for s, v in sets[name][what].items()} for what in ("ndcg10", "recall100")})
    content: dict[str, Any] = {
        "benchmark": "first_stages",
        "commit": found_commit,
        "machine": machine(),
        "seeds": [],
        "depth": DEPTH,
        "precision": bench.precision,
        "seconds": time.monotonic() - start,
        "figures": sets,
        "targets": targets_of(sets),
    }
    write_results("first_stages", content, table(sets))
    print(table(sets))
    print_targets(content["targets"])


if __name__ == "__main__":
    main()
