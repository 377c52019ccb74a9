"""A tamis reranker as an mteb model.

Example:
    >>> import mteb  # doctest: +SKIP
    >>> mteb.evaluate(TamisCrossEncoder("demo/model"), mteb.get_tasks(["AskUbuntuDupQuestions"]))  # doctest: +SKIP
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from mteb.models.model_meta import ModelMeta

from tamis.models.reranker import Reranker


class TamisCrossEncoder:
    """What `mteb.evaluate` takes for a cross-encoder.

    Attributes:
        reranker: What scores.
        mteb_model_meta: What mteb writes beside the results.
    """

    def __init__(
        self, model_name: str | Path, revision: str | None = None, device: str | None = None, **settings: Any
    ) -> None:
        """Load a checkpoint.

        Args:
            model_name: Folder or hub name, as for `Reranker`.
            revision: Written beside the results.
            device: See `Reranker`.
            settings: Further arguments of `Reranker`.
        """
        self.reranker = Reranker(model_name, device=device, **settings)
        # mteb wants organisation/name.
        name = f"tamis/{Path(model_name).resolve().name}" if Path(model_name).is_dir() else str(model_name)
        facts = {"name": name, "revision": revision, "loader": TamisCrossEncoder, "model_type": ["cross-encoder"]}
        self.mteb_model_meta = ModelMeta.create_empty(overwrites=facts)

    def predict(self, inputs1: Iterable[Any], inputs2: Iterable[Any], **kwargs: Any) -> np.ndarray:
        """float32 logits, [pairs]; batch by batch in, windows of pairs through the model.

        mteb puts a task's instruction behind the query, for models without a place of their own for one. A model whose
        template has such a place gets it there, and the query without it.

        Args:
            inputs1: Batches with `text`, the queries, and perhaps `instruction`, and `query`, the text without it.
            inputs2: Batches with `text`, the documents.
            kwargs: What else mteb tells; nothing of it changes a score.
        """
        apart = "{instruction}" in getattr(self.reranker.serializer, "template", "")
        told = groupby(_pairs(inputs1, inputs2, apart), key=lambda entry: entry[0])
        parts = [
            window.logits
            for instruction, entries in told
            for window in self.reranker.score_windows((pair for _, pair in entries), instruction)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _pairs(
    queries: Iterable[Any], documents: Iterable[Any], apart: bool
) -> Iterator[tuple[str | None, tuple[str, str]]]:
    """(instruction, (query, document)) of every pair; no instruction but where the model reads it apart."""
    for asked, told in zip(queries, documents, strict=True):
        instructions = (asked.get("instruction") if apart else None) or [None] * len(asked["text"])
        texts = asked.get("query", asked["text"]) if any(instructions) else asked["text"]
        for instruction, query, document in zip(instructions, texts, told["text"], strict=True):
            yield instruction or None, (query, document)
