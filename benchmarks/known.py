"""What an index of known documents costs and gains: bytes, pairs a second, and how far the ranking moves.

    make bench-known
    python benchmarks/known.py --set ../shared/data/xquad-de --questions 300 --engine openvino

tamis-base ranks the 20 best documents of BM25 for each question, by their texts and by their ids, from an index in
float16 and one in 8 bits a value. Speed is of one thread in processor seconds, tokenising included, so that neighbours
on the machine do not count; `texts` reads every document anew, as for a client whose texts are new. Writes
benchmarks/results/known.json and known.md.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from machine import DOCS, commit
from results import publish
from tamis.artifacts import ItemStore
from tamis.evaluation.candidates import Wanted, find
from tamis.evaluation.judged import Question
from tamis.evaluation.reading import read_set
from tamis.evaluation.sets import JudgedSet
from tamis.formulas.measures import measure_rankings, parse_measures
from tamis.formulas.ranking import kendall_tau, rank_order, tie_key
from tamis.models.engines.choosing import ScoringEngine
from tamis.models.known.indexing import index_corpus
from tamis.models.known.values import VALUES
from tamis.models.reranker import Reranker

MODEL, DEPTH, MEASURE = "tamis-base", 20, "nDCG@10"
TIMED = 3
"""Questions on which reading every document anew is timed."""

Candidates = Mapping[str, Sequence[str]]
Logits = dict[str, np.ndarray]


def draw(judged: JudgedSet, most: int) -> list[Question]:
    """Questions of a set, drawn by a hash of their ids."""
    return sorted(judged.questions.values(), key=lambda one: tie_key("known", one.query_id))[:most]


def ndcg(judged: JudgedSet, candidates: Candidates, logits: Logits) -> float:
    """Mean nDCG@10."""
    rankings = []
    for query_id, values in logits.items():
        order = rank_order(values.astype(np.float64), [tie_key(query_id, one) for one in candidates[query_id]])
        rankings.append((query_id, [candidates[query_id][place] for place in order]))
    grades = {query_id: judged.questions[query_id].relevant for query_id in logits}
    found = measure_rankings(rankings, grades, parse_measures([MEASURE]))[MEASURE]
    return float(np.mean(list(found.values())))


def rank_all(reranker: Reranker, questions: Sequence[Question], candidates: Candidates) -> tuple[Logits, float]:
    """Logits of each question's candidates by their ids, and pairs a processor second."""
    logits: Logits = {}
    started = time.process_time()
    for question in questions:
        ranked = reranker.rank(question.text, ids=candidates[question.query_id])
        logits[question.query_id] = np.array(
            [one["logit"] for one in sorted(ranked, key=lambda one: one["corpus_id"])], np.float32
        )
    pairs = sum(map(len, logits.values()))
    return logits, pairs / (time.process_time() - started)


def texts_of(judged: JudgedSet, question: Question, candidates: Candidates) -> list[tuple[str, str]]:
    """The pairs of a question."""
    return [(question.text, judged.documents[one].text) for one in candidates[question.query_id]]


def score_texts(
    reranker: Reranker, judged: JudgedSet, questions: Sequence[Question], candidates: Candidates
) -> tuple[Logits, float]:
    """Logits by the texts, each document read once; and pairs a processor second where each is read anew."""
    started = time.process_time()
    for question in questions[:TIMED]:
        reranker.score_pairs(texts_of(judged, question, candidates))
    pairs = sum(len(candidates[question.query_id]) for question in questions[:TIMED])
    rate = pairs / (time.process_time() - started)
    reranker.remember(2**31)
    return {one.query_id: reranker.score_pairs(texts_of(judged, one, candidates)).logits for one in questions}, rate


def compare(ours: Logits, theirs: Logits) -> dict[str, float]:
    """Largest and mean difference, and the mean of Kendall's tau."""
    apart = [np.abs(ours[query_id] - theirs[query_id]) for query_id in ours]
    taus = [kendall_tau(ours[query_id], theirs[query_id]) for query_id in ours]
    return {
        "largest": float(max(one.max() for one in apart)),
        "mean": float(np.concatenate(apart).mean()),
        "tau": float(np.nanmean(taus)),
    }


def table(rows: Sequence[Mapping[str, Any]], about: str) -> str:
    """A row for each form."""
    lines = [
        about,
        "",
        "| documents | bytes a passage | pairs/s | largest difference | mean | Kendall tau | nDCG@10 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        size = f"{row['bytes']:,.0f}" if row["bytes"] else ""
        apart = [f"{row[name]:.1e}" if name != "tau" else f"{row[name]:.4f}" for name in ("largest", "mean", "tau")]
        cells = [row["name"], size, f"{row['rate']:.1f}", *apart, f"{row['ndcg']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--set", type=Path, default=Path("../shared/data/xquad-de"))
    options.add_argument("--questions", type=int, default=300)
    options.add_argument("--engine", default="torch")
    given = options.parse_args()
    torch.set_num_threads(1)
    engine: ScoringEngine = given.engine
    (judged,) = read_set(str(given.set))
    questions = draw(judged, given.questions)
    with tempfile.TemporaryDirectory() as folder, closing(ItemStore(Path(folder) / "items.sqlite")) as items:
        found = find(judged, Wanted(["bm25"], {}, DEPTH, "any", None), items)["bm25"]
        candidates = {query_id: each.doc_ids for query_id, each in found.items()}
        questions = [question for question in questions if candidates.get(question.query_id)]
        reranker = Reranker(MODEL, engine=engine)
        expected, rate = score_texts(reranker, judged, questions, candidates)
        itself = {"largest": 0.0, "mean": 0.0, "tau": 1.0, "ndcg": ndcg(judged, candidates, expected)}
        rows: list[dict[str, Any]] = [{"name": "texts", "bytes": 0, "rate": rate, **itself}]
        for values in VALUES:
            out = Path(folder) / values
            told = index_corpus(Reranker(MODEL, engine=engine), given.set, out, values)
            logits, rate = rank_all(Reranker(MODEL, engine=engine, index=out), questions, candidates)
            facts = {"bytes": told.bytes / told.documents, "rate": rate, "ndcg": ndcg(judged, candidates, logits)}
            rows.append({"name": f"known, {values}", **facts, **compare(expected, logits)})
    tokens = told.tokens / told.documents
    about = (
        f"{MODEL} in {reranker.engine}, {given.set.name}: {len(questions)} questions with {DEPTH} candidates each, "
        f"passages of {tokens:.0f} tokens on average."
    )
    publish("known", commit(), {"tokens": tokens, "rows": rows}, table(rows, about), [DOCS / "known-documents.md"])


if __name__ == "__main__":
    main()
