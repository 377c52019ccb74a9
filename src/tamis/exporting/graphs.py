"""Computation graphs for engines that need no torch: ONNX Runtime and OpenVINO.

What they take and give: `tamis.models.engines.graphs`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tamis.errors import ModelError, TamisError
from tamis.exporting.folders import in_batches
from tamis.models.engines.engine import GraphEngine
from tamis.models.engines.graphs import sequence_graph
from tamis.models.reranker import Reranker
from tamis.models.rows import TokenRow
from tamis.models.saving import prepare_to_save, save_tokenizer
from tamis.models.sequence import ClassifierModel, LastTokenModel, SequenceScorer


def write_graph(engine: GraphEngine, reranker: Reranker, scorer: SequenceScorer, folder: Path) -> None:
    """Write the graph, the tokenizer and the configuration.

    Raises:
        MissingPartError: the engine is not installed.
        ModelError: the body cannot be written as a graph.
    """
    engine.require(f"--to {engine.name}")
    model, causal = scorer.model, isinstance(scorer.model, LastTokenModel)
    whole: Any = model.classifier if isinstance(model, ClassifierModel) else model.body
    # First: the body may get a row for its padding token.
    tokenizer = prepare_to_save(whole, reranker.tokenizer, scorer.rows.serializer, reranker.activation, causal)
    graph = sequence_graph(scorer)
    with _traced(str(reranker.path), engine):
        engine.write(graph, folder / engine.file_of(graph.name))
    whole.config.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


@contextmanager
def _traced(model: str, engine: GraphEngine) -> Iterator[None]:
    """Turn whatever torch's tracing raises of a body into a `ModelError` of one line."""
    try:
        yield
    except (TamisError, OSError):  # the latter is about the disk
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise ModelError(f"{model}: its body cannot be written as a graph of {engine.title}: {why}") from None


def score_in_engine(engine: GraphEngine, folder: Path, scorer: SequenceScorer, rows: Sequence[TokenRow]) -> np.ndarray:
    """Logits of what `write_graph` wrote, computed in float32: float32 [rows]."""
    run = engine.open(folder / engine.file_of("model"), 0, "float32")

    def score(features: dict[str, Tensor]) -> np.ndarray:
        return run({name: tensor.numpy() for name, tensor in features.items()})[:, 0]

    return in_batches(rows, scorer, folder, score)
