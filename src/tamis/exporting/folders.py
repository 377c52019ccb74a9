"""Hugging Face folders with a head of one label: what transformers, sentence-transformers and vLLM load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.errors import ModelError
from tamis.models.encoder import refuse_missing
from tamis.models.reranker import Reranker
from tamis.models.rows import TokenRow
from tamis.models.saving import save_classifier
from tamis.models.sequence import ClassifierModel, SequenceScorer, padded


def write_classifier(reranker: Reranker, scorer: SequenceScorer, folder: Path) -> None:
    """Write the reranker for transformers, sentence-transformers and vLLM, see `save_classifier`."""
    serializer, activation = scorer.rows.serializer, reranker.activation
    save_classifier(scorer.model, reranker.tokenizer, serializer, activation, reranker.deployment, folder)


def score_in_transformers(folder: Path, scorer: SequenceScorer, rows: Sequence[TokenRow]) -> np.ndarray:
    """Logits of `AutoModelForSequenceClassification`, of the folder as it was written: float32 [rows]."""
    from transformers import AutoModelForSequenceClassification

    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32
    )
    refuse_missing(folder, report["missing_keys"])
    for name in report["unexpected_keys"]:
        raise ModelError(f"{folder}: the export holds the tensor {name!r}, which {type(model).__name__} does not know")
    return in_batches(rows, scorer, lambda features: model.eval()(**features).logits[:, 0].float().numpy())


def in_batches(rows: Sequence[TokenRow], scorer: SequenceScorer, score: Any, size: int = 16) -> np.ndarray:
    """Score rows through another engine, `size` at a time: float32 [rows].

    Args:
        rows: What our tokenizer made of the pairs.
        scorer: Knows the padding and whether the body tells segments apart.
        score: Takes `input_ids`, `attention_mask` and perhaps `token_type_ids`, gives logits.
        size: Rows a batch.
    """
    parts = []
    for start in range(0, len(rows), size):
        ids, lengths, second = padded(rows[start : start + size], scorer.padding)
        place = torch.arange(ids.shape[1])
        features = {"input_ids": ids, "attention_mask": (place < lengths[:, None]).long()}
        if uses_types(scorer):
            features["token_type_ids"] = ((place >= second[:, None]) & (place < lengths[:, None])).long()
        with torch.inference_mode():
            parts.append(np.asarray(score(features), np.float32))
    return np.concatenate(parts)


def uses_types(scorer: SequenceScorer) -> bool:
    """Whether the body tells segments apart."""
    return isinstance(scorer.model, ClassifierModel) and scorer.model.uses_types
