"""How fast and how exactly rerankers score: tamis beside its peers, the same weights, the same pairs, one run.

    make bench-scoring
    python benchmarks/scoring.py --questions 300 --peers .venv-peers/bin/python

Writes benchmarks/results/scoring.json and scoring.md. It takes some 25 minutes on two quiet cores, 10 GB of memory and
8 GB of disk: half of the time for tamis-small, which all engines score; the rest for all-MiniLM-L6-v2, tamis-base,
latency, and installing tamis anew. `--questions 2 --requests 1` tries every path in a few minutes.

The pairs are real questions and answers of the Debian FAQ in ten languages: each question with the best 10 of BM25 in
its language, the answer among them. Documents are cut beforehand to what the model reads, so that all engines read the
same tokens. Engines take turns, block by block; of speeds the median of the blocks counts, of ratios that of the same
block. Beside the speed stands what it costs: Kendall's tau and the change of nDCG@10 against float32, with the standard
error over the questions. An engine that cannot score here is a row that says why.

1. tamis-small, a stock model of one label: sentence-transformers in torch, with its onnx and openvino backends,
   fastembed, FlashRank, llama.cpp and tamis, on the same weights, each with its defaults. Peers whose libraries do not
   go with tamis' stand in an environment of their own (scoring_peers.txt); each runs in a process of its own.
2. all-MiniLM-L6-v2 with a random head: right for speed, senseless for quality; on fewer questions.
3. tamis-base, cold and with known documents, by engine and precision, asked question by question.
4. Latency: passages of 150 tokens, one request at a time (latency.py).
5. Seconds from `pip install` to the first ranked answer (first_answer.py).

infinity is in `make bench-serving`. The floor is the machine's rate of matrix products, measured in the same run.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from first_answer import first_answer
from latency import KEPT, SIZES, TOKENS, latencies, latency_table, passages_of, summary, systems_of
from machine import DOCS, commit, matrix_rates
from results import checked, publish, targets_table
from scoring_bodies import against_the_published_wrapper, mixture_of_experts
from scoring_engines import (
    AUTO,
    BASE,
    DEMO,
    SMALL,
    Exports,
    Pair,
    fitted,
    open_all,
    openers,
    small_model,
    stock_model,
)
from scoring_known import COLD, MODEL, contestants_of
from scoring_turns import Grades, Turns, blocks_of, question_ndcgs, rows_of, table_of, take_turns
from tamis import Reranker
from tamis.models.batching import token_batches
from tamis.models.packing import pays
from tamis.models.sequence import SequenceScorer

DEPTH = 10
BLOCK = 30
"""Questions of a block."""

OF_BASE, OF_MINILM = 150, 24
"""Questions for tamis-base and for all-MiniLM-L6-v2, at most."""

CALIBRATING = 60
"""Questions after those: half of them calibrate int8, half check it."""

PEERS = Path(".venv-peers/bin/python")

OURS = "tamis, torch, float32"


def real_pairs(questions: int) -> tuple[list[Pair], list[list[float]]]:
    """Pairs of the FAQ, `DEPTH` a question, the languages in turn; and the grade of each document.

    Questions are those whose answer is among the candidates: of others nDCG cannot change.
    """
    from tamis.retrievers.bm25 import Bm25

    folder = DEMO / "data" / "debian-faq"
    documents: dict[str, dict[str, str]] = {}
    for entry in read_lines(folder / "corpus.jsonl"):
        text = f"{entry['title']}\n{entry['text']}" if entry.get("title") else entry["text"]
        documents.setdefault(entry["metadata"]["lang"], {})[entry["_id"]] = text
    by_language: dict[str, list[dict[str, Any]]] = {language: [] for language in documents}
    for question in read_lines(folder / "queries.jsonl"):
        by_language.get(question["metadata"]["lang"], []).append(question)
    rows = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]]
    relevant = {(query, document) for query, document, grade in rows if int(grade) > 0}
    indexes = {language: Bm25(list(texts.values()), 1.2, 0.75) for language, texts in documents.items()}
    pairs: list[Pair] = []
    grades: list[list[float]] = []
    for question in in_turns(list(by_language.values())):
        language = question["metadata"]["lang"]
        ids = list(documents[language])
        best = np.argsort(-indexes[language].scores(question["text"]), kind="stable")[:DEPTH]
        found = [float((question["_id"], ids[place]) in relevant) for place in best]
        if any(found):
            pairs += [(question["text"], documents[language][ids[place]]) for place in best]
            grades.append(found)
        if len(grades) == questions:
            break
    return pairs, grades


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Objects of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def in_turns(groups: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The first of each group, then the second of each, until the longest one ends."""
    return [one for row in zip_longest(*groups) for one in row if one is not None]


def work_of(model: Path, pairs: Sequence[Pair]) -> dict[str, float]:
    """Tokens, padding and floating point operations of the pairs in an encoder of this shape."""
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


def compare(
    model: Path,
    pairs: Sequence[Pair],
    grades: Grades,
    peers: Path,
    work: Path,
    title: str,
    calibrating: Sequence[Pair] = (),
) -> dict[str, Any]:
    """Speed and quality of every engine on one model; `calibrating` pairs make one of int8, too."""
    print(title, file=sys.stderr)
    shape = work_of(model, pairs)
    with ExitStack() as stack:
        found = openers(model, Exports(model, work, pairs, calibrating), peers, work, pairs)
        contestants, absent = open_all(found, stack, pairs[:64])
        if BASE in absent:
            raise SystemExit(f"{BASE}: {absent[BASE]}; nothing can be compared")
        turns = take_turns(contestants, blocks_of(pairs, BLOCK * DEPTH), absent)
    absent = {name: why.replace(str(model), title).replace(f"{work}/", "") for name, why in turns.absent.items()}
    figures = _figures(turns, BASE, grades)
    for row in figures["engines"].values():
        row["gflops"] = shape["operations"] / shape["pairs"] * row["pairs_per_second"] / 1e9
    return {"model": title, "work": shape, **figures, "absent": absent}


def compare_known(pairs: Sequence[Pair], grades: Grades, work: Path) -> dict[str, Any]:
    """tamis-base by engine and precision, cold and with known documents."""
    print(MODEL, file=sys.stderr)
    contestants, absent = contestants_of(pairs, work)
    turns = take_turns(contestants, blocks_of(pairs, BLOCK // 2 * DEPTH), absent)
    return {"model": MODEL, "pairs": len(pairs), **_figures(turns, COLD, grades), "absent": dict(turns.absent)}


def _figures(turns: Turns, base: str, grades: Grades) -> dict[str, Any]:
    ndcg = float(question_ndcgs(turns.scores[base], grades).mean())
    return {"engines": rows_of(turns, base, grades), "ndcg10": ndcg, "questions": len(grades)}


def measure(
    small: Path,
    pairs: Sequence[Pair],
    grades: Grades,
    calibrating: Sequence[Pair],
    chosen: argparse.Namespace,
    work: Path,
) -> dict[str, Any]:
    """Everything, part by part; each part has a folder of its own."""
    peers = chosen.peers.absolute()
    folders = {name: work / name for name in ("small", "minilm", "known", "latency", "bodies", "first")}
    for folder in folders.values():
        folder.mkdir()
    reads = Reranker(small, device="cpu")
    fit, others = fitted(reads, pairs), fitted(reads, calibrating)
    models = [compare(small, fit, grades, peers, folders["small"], SMALL, others)]
    minilm = small_model(folders["minilm"] / "all-MiniLM-L6-v2")
    if minilm is not None:
        few, some = fitted(Reranker(minilm, device="cpu"), pairs[: OF_MINILM * DEPTH]), grades[:OF_MINILM]
        models.append(compare(minilm, few, some, peers, folders["minilm"], minilm.name))
    known = compare_known(pairs[: OF_BASE * DEPTH], grades[:OF_BASE], folders["known"])
    latency = measure_latency(small, pairs, chosen.requests, folders["latency"])
    ranks = MODEL if chosen.model else SMALL
    first = first_answer(folders["first"], f"torch=={torch.__version__.split('+')[0]}", ranks) | {"model": ranks}
    return {
        "models": models,
        "known": known,
        "latency": latency,
        "first_answer": first,
        "published_wrapper": against_the_published_wrapper(folders["bodies"], list(pairs)),
        "mixture_of_experts": mixture_of_experts(folders["bodies"]),
    }


def measure_latency(small: Path, pairs: Sequence[Pair], requests: int, work: Path) -> dict[str, Any]:
    """p50 and p99 by system and number of passages."""
    print("latency", file=sys.stderr)
    questions = list(dict.fromkeys(question for question, _ in pairs))
    texts = [entry["text"] for entry in read_lines(DEMO / "data" / "debian-faq" / "corpus.jsonl")]
    passages = passages_of(texts, Reranker(small, device="cpu").tokenizer, TOKENS, KEPT)
    systems = systems_of(small, MODEL, passages, questions[0], work)
    found = latencies(systems, questions, len(passages), SIZES, requests)
    return {name: {size: summary(seconds) for size, seconds in row.items()} for name, row in found.items()}


def targets_of(found: dict[str, Any], rates: dict[str, float]) -> list[dict[str, Any]]:
    """What was asked for, and what was reached."""
    small, wrapper, latency = found["models"][0], found["published_wrapper"], found["latency"]
    engines = small["engines"]
    exact, auto = engines[OURS], engines[AUTO]
    fastest = max(row["ratio"] for row in engines.values()) / auto["ratio"]
    of_hundred = {name: row[SIZES[-1]]["p50"] for name, row in latency.items()}
    known = of_hundred[f"{MODEL}, known documents"]
    share = exact["gflops"] / rates["float32"]
    rows: list[tuple[str, float, str]] = [
        (f"{SMALL} against sentence-transformers' default, ratio", auto["ratio"], ">= 6"),
        ("nDCG@10 change of that", auto["ndcg10_change"], "within 0.003"),
        ("the fastest of all engines against that, ratio", fastest, "<= 1.05"),
        (f"{SMALL}, 100 passages, p50 seconds", of_hundred[SMALL], "<= 1.0"),
        (f"{MODEL}, 100 passages, p50 seconds", of_hundred[MODEL], "<= 2.5"),
        (f"{MODEL}, 100 known documents, p50 seconds", known, "<= 0.4"),
        ("float32 against sentence-transformers' float32, ratio", exact["ratio"], ">= 1"),
        ("largest difference of float32 logits", exact["largest_difference"], "<= 1e-4"),
        ("against mteb's wrapper, ratio", wrapper["ratio"], ">= 15"),
        ("largest difference to mteb's wrapper", wrapper["largest_difference"], "<= 1e-4"),
        ("padding, share of tokens", small["work"]["padding"], "< 0.03"),
        ("share of the float32 matrix-product rate", share, ">= 0.65"),
    ]
    if "why" not in (first := found["first_answer"]):
        taken = first["install"] + first["answer"]
        rows.append(("seconds from pip install to the first answer", taken, "<= 60"))
    return checked(rows)


def markdown(content: dict[str, Any]) -> str:
    """The tables."""
    lines: list[str] = []
    for model in content["models"]:
        work = model["work"]
        about = f"**{model['model']}**, {model['questions']} questions, {work['pairs']} pairs of"
        lines += [f"{about} {work['mean_tokens']:.0f} tokens on average", ""]
        lines += [*table_of(model["engines"], model["absent"]), ""]
    base = content["known"]
    lines += [f"**{base['model']}**, {base['questions']} questions, {base['pairs']} pairs, question by question", ""]
    lines += [*table_of(base["engines"], base["absent"]), "", *notes_of(content["versions"]), ""]
    requests = next(iter(content["latency"].values()))[SIZES[0]]["requests"]
    lines += [f"Passages of {TOKENS} tokens, {requests} requests of each size, one at a time:", ""]
    lines += [*latency_table(content["latency"]), "", _of_installing(content["first_answer"]), ""]
    rates = content["matrix_product_gflops"]
    floor = f"{rates['float32']:.0f} GFLOP/s in float32, {rates['bfloat16']:.0f} in bfloat16"
    lines.append(f"Matrix products here: {floor}.")
    for row in content["mixture_of_experts"]:
        lines.append(
            f"A body with {row['experts']} experts, 4 active: {row['parameters'] / 1e6:.0f} M parameters, "
            f"{row['active_parameters'] / 1e6:.0f} M active, {row['tokens_per_second']:.0f} tokens/s."
        )
    return "\n".join([*lines, "", *targets_table(content["targets"])]) + "\n"


def notes_of(versions: dict[str, str]) -> list[str]:
    """What a reader has to know of the tables of engines."""
    own = (
        f"sentence-transformers in torch is {versions['sentence_transformers']}, with transformers "
        f"{versions['transformers']}. Its onnx and openvino backends need optimum, which wants a transformers below "
        "4.58: they stand in an environment of their own, with the versions of benchmarks/scoring_peers.txt."
    )
    others = (
        "FlashRank gives sigmoids alone, so that its difference is of those. llama.cpp reads GGUF by tamis export; "
        "what GGUF cannot hold, such as BERT that tells texts apart by token types, is a row that says so. OpenVINO "
        "under sentence-transformers computes in its own precision, bfloat16 where the processor can."
    )
    return [own, "", others]


def _of_installing(first: dict[str, Any]) -> str:
    if "why" in first:
        return f"From `pip install` to the first answer: not measured, {first['why']}."
    return (
        f"From `pip install` to the first answer, wheels at hand: {first['install']:.0f} s for the installation, "
        f"{first['answer']:.0f} s for the first `tamis rerank {first['model']}`."
    )


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help=f"folder of a one-label encoder in place of {SMALL}, to try")
    parser.add_argument("--peers", type=Path, default=PEERS, help="Python of the peers' environment")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--requests", type=int, default=20, help="of each number of passages")
    chosen = parser.parse_args()
    small = stock_model(chosen.model)
    found, graded = real_pairs(chosen.questions + CALIBRATING)
    pairs, grades = found[: chosen.questions * DEPTH], graded[: chosen.questions]
    calibrating = found[chosen.questions * DEPTH :]
    with tempfile.TemporaryDirectory() as folder:
        rates = matrix_rates()
        measured = measure(small, pairs, grades, calibrating, chosen, Path(folder))
    rates = {name: max(rate, matrix_rates()[name]) for name, rate in rates.items()}
    content = {
        "versions": {name: __import__(name).__version__ for name in ("torch", "transformers", "sentence_transformers")},
        "seeds": [17],
        "matrix_product_gflops": rates,
        **measured,
        "targets": targets_of(measured, rates),
    }
    publish("scoring", commit(), content, markdown(content), [DOCS / "models.md"])


if __name__ == "__main__":
    main()
