"""Hugging Face folders with a head of one label: what transformers, sentence-transformers and vLLM load."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.errors import ModelError
from tamis.models.encoder import refuse_missing
from tamis.models.reranker import Reranker
from tamis.models.rows import TokenRow
from tamis.models.saving import ST_ACTIVATIONS, save_classifier
from tamis.models.sequence import SequenceScorer, padded


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
    return in_batches(rows, scorer, folder, lambda features: model.eval()(**features).logits[:, 0].float().numpy())


def written_activation(folder: Path) -> str:
    """What an engine makes bounded scores with: sentence-transformers and vLLM look into `config.json`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stored: str = config.get("sentence_transformers", {}).get("activation_fn", ST_ACTIVATIONS["sigmoid"])
    return next(name for name, path in ST_ACTIVATIONS.items() if path == stored)


def in_batches(
    rows: Sequence[TokenRow], scorer: SequenceScorer, folder: Path, score: Any, size: int = 16
) -> np.ndarray:
    """Score rows through another engine, `size` at a time, padded with the token that the export says: float32 [rows].

    Args:
        rows: What our tokenizer made of the pairs.
        scorer: Knows whether the body tells segments apart.
        folder: The export.
        score: Takes `input_ids`, `attention_mask` and perhaps `token_type_ids`, gives logits.
        size: Rows a batch.
    """
    from transformers import AutoTokenizer

    parts, padding = [], AutoTokenizer.from_pretrained(folder).pad_token_id
    for start in range(0, len(rows), size):
        ids, lengths, second = padded(rows[start : start + size], padding)
        place = torch.arange(ids.shape[1])
        features = {"input_ids": ids, "attention_mask": (place < lengths[:, None]).long()}
        if scorer.uses_types:
            features["token_type_ids"] = ((place >= second[:, None]) & (place < lengths[:, None])).long()
        with torch.inference_mode():
            parts.append(np.asarray(score(features), np.float32))
    return np.concatenate(parts)
