"""A warm student for engines that need no torch: in one graph, and in two, so that each text is read once."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from tamis.models.engines.compiled import CompiledWarm, pad_rows, row_mask
from tamis.models.engines.engine import GraphEngine, RunGraph
from tamis.models.engines.graphs import Graph, warm_graph, warm_parts
from tamis.models.reranker import Reranker
from tamis.models.saving import save_tokenizer, write_json
from tamis.models.warm import WarmCrossEncoder
from tamis.models.warm_scorer import ApartRow, WarmScorer

ABOUT = "graphs.json"
"""What whoever runs the graphs has to know: prefixes, lengths, and what each takes and gives."""

BATCH = 16
"""Pairs that are compared at once."""


def write_warm(engine: GraphEngine, reranker: Reranker, student: WarmCrossEncoder, folder: Path) -> None:
    """Write the graphs `model`, `states` and `joint`, the tokenizer, and `graphs.json`.

    Raises:
        MissingPartError: the engine is not installed.
    """
    engine.require(f"--to {engine.name}")
    graphs = [warm_graph(student), *warm_parts(student)]
    for graph in graphs:
        engine.write(graph, folder / engine.file_of(graph.name))
    student.encoder.body.config.save_pretrained(folder)
    save_tokenizer(reranker.tokenizer, folder)
    described = {graph.name: _described(engine, graph) for graph in graphs}
    write_json(folder / ABOUT, {**_text(student), "activation": reranker.activation, "graphs": described})


def _text(student: WarmCrossEncoder) -> dict[str, Any]:
    """How texts become tokens."""
    apart, encoder = student.serializer, student.encoder
    masks = encoder.encodings(["a"], "", encoder.positions)[0].special_tokens_mask
    return {
        "format": 1,
        "tokenizer": "tokenizer.json",
        "pad_id": encoder.padding,
        "pad_token": encoder.tokenizer.pad_token,
        "closing_tokens": len(list(takewhile(bool, reversed(masks)))),
        "title": apart.title,
        "query": {"prefix": apart.query_prefix, "max_tokens": min(apart.query_tokens, encoder.positions)},
        "document": {"prefix": apart.document_prefix, "max_tokens": min(apart.document_tokens, encoder.positions)},
    }


def _described(engine: GraphEngine, graph: Graph) -> dict[str, Any]:
    """File, inputs and output of a graph."""
    inputs = {
        name: {"type": str(example.dtype).removeprefix("torch."), "shape": ["rows", "tokens", *example.shape[2:]]}
        for name, example in graph.example.items()
    }
    return {"file": engine.file_of(graph.name), "inputs": inputs, "output": graph.output}


def score_whole(engine: GraphEngine, folder: Path, rows: Sequence[ApartRow], padding: int) -> np.ndarray:
    """Logits of the graph `model`, computed in float32: float32 [rows]."""
    run = engine.open(folder / engine.file_of("model"), 0, "float32")
    parts = [_whole(run, rows[start : start + BATCH], padding) for start in range(0, len(rows), BATCH)]
    return np.concatenate(parts)


def _whole(run: RunGraph, rows: Sequence[ApartRow], padding: int) -> np.ndarray:
    def sides() -> Iterator[tuple[str, np.ndarray]]:
        for side, texts in (("query", [row.query for row in rows]), ("document", [row.document for row in rows])):
            ids = [np.array(text, np.int64) for text in texts]
            yield f"{side}_ids", pad_rows(ids, padding, 1)
            yield f"{side}_mask", row_mask(ids, 1)

    return run(dict(sides()))[:, 0]


def score_in_parts(
    engine: GraphEngine, folder: Path, student: WarmCrossEncoder, rows: Sequence[ApartRow], token_budget: int
) -> np.ndarray:
    """Logits of the graphs `states` and `joint`, computed in float32: float32 [rows]."""
    states, joint = (engine.open(folder / engine.file_of(name), 0, "float32") for name in ("states", "joint"))
    return WarmScorer(CompiledWarm(states, joint, student), token_budget).logits(rows)
