"""How long one request takes: passages of equal length, one request at a time, all systems in turns.

A part of `make bench-scoring`, which says what is measured; nothing is kept between requests, and each ranks other
passages than the one before.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoring_engines import SMALL, Pair, open_reranker
from tamis import Reranker
from tamis.models.known.indexing import index_corpus

SIZES: Final = (20, 50, 100)
"""Passages of a request."""

TOKENS: Final = 150
"""Of a passage."""

KEPT: Final = 300
"""Different passages, of which each request takes the next ones."""

Ask = Callable[[str, Sequence[int]], object]
"""Ranks the passages at some places for a query."""


def passages_of(texts: Sequence[str], tokenizer: Any, tokens: int, most: int) -> list[str]:
    """Passages of so many tokens each, cut one behind the other out of texts; what is left of a text is left out."""
    found: list[str] = []
    for text in texts:
        places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        for start in range(0, len(places) - tokens + 1, tokens):
            found.append(text[places[start][0] : places[start + tokens - 1][1]].strip())
            if len(found) == most:
                return found
    return found


def latencies(
    systems: Mapping[str, Ask], questions: Sequence[str], passages: int, sizes: Sequence[int], requests: int
) -> dict[str, dict[int, list[float]]]:
    """Seconds of every request, by system and number of passages.

    Args:
        systems: By name; they take turns, request by request.
        questions: Asked one after the other.
        passages: How many there are.
        sizes: Passages of a request.
        requests: Of each size that are timed, after one that is not.
    """
    found: dict[str, dict[int, list[float]]] = {name: {size: [] for size in sizes} for name in systems}
    asked, places = cycle(questions), cycle(range(passages))
    for size in sizes:
        for number in range(requests + 1):
            question, chosen = next(asked), list(islice(places, size))
            for name, ask in systems.items():
                started = time.perf_counter()
                ask(question, chosen)
                if number:
                    found[name][size].append(time.perf_counter() - started)
        print(f"  {size} passages: {requests} requests each", file=sys.stderr)
    return found


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 of some requests."""
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "requests": len(seconds)}


def write_corpus(passages: Sequence[str], folder: Path) -> Path:
    """A folder of documents with their places as ids."""
    folder.mkdir()
    lines = [json.dumps({"_id": str(place), "text": text}) + "\n" for place, text in enumerate(passages)]
    (folder / "corpus.jsonl").write_text("".join(lines), "utf-8")
    return folder


def systems_of(small: Path, base: str, passages: Sequence[str], question: str, work: Path) -> dict[str, Ask]:
    """What answers: tamis by its own choice of engine and precision, and sentence-transformers as it is by default.

    Args:
        small: Folder of `tamis-small`, or of what stands in its place.
        base: A warm model.
        passages: See `passages_of`.
        question: On which, with some passages, `auto` chooses.
        work: Empty folder, for an index.
    """
    from sentence_transformers import CrossEncoder

    pairs: list[Pair] = [(question, passage) for passage in passages[:32]]
    index = work / "index"
    index_corpus(Reranker(base, device="cpu"), write_corpus(passages, work / "corpus"), index)
    stock, cold = (open_reranker(model, "auto", "auto", pairs=pairs) for model in (str(small), base))
    known = open_reranker(base, "auto", "auto", index=index, pairs=pairs)
    plain = CrossEncoder(str(small), device="cpu")

    def texts(places: Sequence[int]) -> list[str]:
        return [passages[place] for place in places]

    return {
        SMALL: lambda query, places: stock.rank(query, texts(places)),
        base: lambda query, places: cold.rank(query, texts(places)),
        f"{base}, known documents": lambda query, places: known.rank(query, ids=[str(place) for place in places]),
        f"sentence-transformers, {SMALL}": lambda query, places: plain.rank(query, texts(places)),
    }


def latency_table(figures: Mapping[str, Mapping[int, Mapping[str, float]]]) -> list[str]:
    """Lines of a Markdown table: seconds, p50 and p99 by number of passages."""
    sizes = list(next(iter(figures.values())))
    heads = [f"{size} passages, {name}" for size in sizes for name in ("p50", "p99")]
    lines = ["| one request | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for name, row in figures.items():
        cells = [f"{row[size][part]:.2f} s" for size in sizes for part in ("p50", "p99")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
