"""tamis-base in the scoring benchmark: cold and with known documents, by engine and precision."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from latency import write_corpus
from scoring_engines import AbsentError, Contestant, Pair, Scored, Wanted, open_reranker
from tamis import Reranker
from tamis.models.engines.choosing import ScoringEngine
from tamis.models.known.indexing import index_corpus

MODEL: Final = "tamis-base"
COLD: Final = "torch, float32, cold"
"""What the others are compared with."""

BY: Final[Sequence[tuple[ScoringEngine, Wanted]]] = (
    ("torch", "float32"),
    ("torch", "auto"),
    ("openvino", "float32"),
    ("openvino", "auto"),
)
"""Engines and precisions."""

Rank = Callable[[str, list[str]], Sequence[float] | np.ndarray]
"""Logits of documents, in their order."""


def question_by_question(rank: Rank) -> Callable[[Sequence[Pair]], Scored]:
    """An engine that is asked once for each question: a document that two questions share is read for both."""

    def score(pairs: Sequence[Pair]) -> Scored:
        started = time.perf_counter()
        found = [
            np.asarray(rank(query, [document for _, document in group]), np.float32)
            for query, group in groupby(pairs, lambda pair: pair[0])
        ]
        return np.concatenate(found), time.perf_counter() - started

    return score


def in_given_order(ranked: Sequence[Mapping[str, Any]]) -> list[float]:
    """Logits in the order in which the documents were given."""
    found = {one["corpus_id"]: one["logit"] for one in ranked}
    return [found[place] for place in range(len(ranked))]


def contestants_of(pairs: Sequence[Pair], work: Path) -> tuple[list[Contestant], dict[str, str]]:
    """Every engine in every precision, cold and with known documents; and why some are absent.

    Args:
        pairs: All that will be scored; their documents are put into the index.
        work: Empty folder, for the index.
    """
    texts = list(dict.fromkeys(document for _, document in pairs))
    ids = {text: str(place) for place, text in enumerate(texts)}
    index = work / "index"
    index_corpus(Reranker(MODEL, device="cpu"), write_corpus(texts, work / "corpus"), index)
    found: list[Contestant] = []
    absent: dict[str, str] = {}
    for engine, precision in BY:
        name = f"{engine}, {precision}"
        try:
            cold, known = (open_reranker(MODEL, engine, precision, index=one) for one in (None, index))
        except AbsentError as error:
            absent |= {f"{name}, cold": str(error), f"{name}, known documents": str(error)}
            continue
        found += [
            Contestant(f"{name}, cold", question_by_question(_by_texts(cold))),
            Contestant(f"{name}, known documents", question_by_question(_by_ids(known, ids))),
        ]
    for one in found:
        one.score(pairs[:64])  # warm up
    return found, absent


def _by_texts(reranker: Reranker) -> Rank:
    return lambda query, texts: reranker.score_pairs([(query, text) for text in texts]).logits


def _by_ids(reranker: Reranker, ids: dict[str, str]) -> Rank:
    return lambda query, texts: in_given_order(reranker.rank(query, ids=[ids[text] for text in texts]))
