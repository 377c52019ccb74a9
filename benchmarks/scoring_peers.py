"""One peer of the scoring benchmark, in a process and mostly an environment of its own: pairs in, scores out.

    python benchmarks/scoring_peers.py fastembed FOLDER

Reads one JSON object a line, `{"pairs": [[query, document], ...]}`, and answers each by one line, `{"scores": [...],
"seconds": s}`, or `{"error": "..."}` where the peer raised. The first line it writes is `{"peer": "name version"}`, or
an `error`. It imports nothing of tamis and nothing of what else the peers need.

FOLDER holds what `tamis export` wrote: for fastembed and FlashRank its `onnx`, for llama.cpp its `gguf`, for
sentence-transformers its `transformers`, of which optimum makes its own graph. Every peer has its own defaults. Those
that take a query and its documents are called once for each query.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

Pair = tuple[str, str]
Score = Callable[[Sequence[Pair]], Sequence[float]]
ByQuery = Callable[[str, list[str]], Sequence[float]]

TOKENS = 640
"""Most tokens of a pair in llama.cpp: it cuts nothing, and is given pairs that fit a model of 512 positions."""

AT_ONCE = 8
"""Pairs that llama.cpp computes in one step."""


def query_by_query(rank: ByQuery) -> Score:
    """Scores of pairs by a function of one query and its documents."""

    def score(pairs: Sequence[Pair]) -> Sequence[float]:
        found: list[float] = []
        for query, group in groupby(pairs, lambda pair: pair[0]):
            found += rank(query, [document for _, document in group])
        return found

    return score


def in_order(ranked: Sequence[dict[str, Any]], place: str, score: str) -> list[float]:
    """Scores in the order of the documents, of results that lie in the order of their ranks."""
    by_place = {int(one[place]): float(one[score]) for one in ranked}
    return [by_place[number] for number in range(len(ranked))]


def open_fastembed(folder: Path) -> Score:
    """The cross-encoder of fastembed on a graph that is not of its list: the logits, in batches of 64 pairs."""
    from fastembed.common.model_description import ModelSource
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    data = [file.name for file in folder.glob("*.onnx.data")]
    TextCrossEncoder.add_custom_model("local/model", ModelSource(hf="local/model"), "model.onnx", additional_files=data)
    model = TextCrossEncoder("local/model", specific_model_path=str(folder))
    return lambda pairs: list(model.rerank_pairs(list(pairs)))


def write_special_tokens(folder: Path) -> None:
    """Write the file of special tokens that transformers 4 wrote, and FlashRank reads, from the one that has them."""
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    tokens = {name: value for name, value in settings.items() if name.endswith("_token") and isinstance(value, str)}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens), "utf-8")


def open_flashrank(folder: Path) -> Score:
    """FlashRank's ranker on a graph that is not of its list: sigmoids of the logits."""
    from flashrank import Ranker, RerankRequest
    from flashrank.Config import model_file_map

    write_special_tokens(folder)
    model_file_map[folder.name] = "model.onnx"
    ranker = Ranker(folder.name, cache_dir=str(folder.parent), log_level="ERROR")

    def rank(query: str, documents: list[str]) -> list[float]:
        passages = [{"id": place, "text": text} for place, text in enumerate(documents)]
        return in_order(ranker.rerank(RerankRequest(query, passages)), "id", "score")

    return query_by_query(rank)


def open_sentence_transformers(backend: str, folder: Path) -> Score:
    """sentence-transformers with a graph that optimum makes: the logits, in batches of 32 pairs."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", backend=backend)
    logit = torch.nn.Identity()
    return lambda pairs: model.predict(list(pairs), activation_fn=logit).tolist()


def open_llama(folder: Path) -> Score:
    """llama.cpp's server within this process, on a GGUF of an encoder: the logits."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(folder / "model.gguf")
    settings.embedding = True
    settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    settings.n_parallel = AT_ONCE
    settings.n_ctx = settings.n_batch = settings.n_ubatch = TOKENS * AT_ONCE
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    settings.verbosity = -1
    server = xllamacpp.Server(settings)

    def rank(query: str, documents: list[str]) -> list[float]:
        answer = server.handle_rerank({"query": query, "documents": documents})
        if "results" not in answer:
            raise RuntimeError(str(answer))
        return in_order(answer["results"], "index", "relevance_score")

    return query_by_query(rank)


PEERS: dict[str, tuple[str, Callable[[Path], Score]]] = {
    "fastembed": ("fastembed", open_fastembed),
    "flashrank": ("FlashRank", open_flashrank),
    "sentence-transformers-onnx": (
        "sentence-transformers",
        lambda folder: open_sentence_transformers("onnx", folder),
    ),
    "sentence-transformers-openvino": (
        "sentence-transformers",
        lambda folder: open_sentence_transformers("openvino", folder),
    ),
    "llama.cpp": ("xllamacpp", open_llama),
}
"""By name: the package whose version is told, and what opens the peer."""


def told(error: BaseException) -> str:
    """An exception in one line of at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def answer(score: Score, line: str) -> dict[str, Any]:
    """What is answered to one line."""
    pairs = [(query, document) for query, document in json.loads(line)["pairs"]]
    started = time.perf_counter()
    try:
        scores = [float(one) for one in score(pairs)]
    except Exception as error:  # whatever the peer raises
        return {"error": told(error)}
    return {"scores": scores, "seconds": time.perf_counter() - started}


def serve(name: str, folder: Path, asked: TextIO, answers: TextIO) -> None:
    """Open a peer and answer until there is nothing more to read."""

    def say(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    package, opens = PEERS[name]
    try:
        score = opens(folder)
    except Exception as error:  # whatever the peer raises
        say({"error": told(error)})
        return
    say({"peer": f"{package} {version(package)}"})
    for line in asked:
        say(answer(score, line))


if __name__ == "__main__":
    # What a library prints goes to standard error, so that standard output holds answers alone.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        serve(sys.argv[1], Path(sys.argv[2]).resolve(), sys.stdin, answers)
