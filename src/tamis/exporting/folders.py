"""Hugging Face folders with a head of one label: what transformers, sentence-transformers and vLLM load."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.errors import ModelError
from tamis.models.checkpoint import save_tokenizer, write_facts
from tamis.models.encoder import refuse_missing
from tamis.models.reranker import Reranker
from tamis.models.rows import Row
from tamis.models.sequence import ClassifierModel, SequenceScorer, padded
from tamis.models.serializer import Template

ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}


def write_classifier(reranker: Reranker, scorer: SequenceScorer, folder: Path) -> None:
    """Write the reranker as `...ForSequenceClassification` with one label, its tokenizer, its text and its activation.

    The head of a causal classifier has no bias in transformers and vLLM: a bias is left out, which moves every logit by
    the same constant and no ranking.

    Raises:
        ModelError: a body for which transformers has no classifier.
    """
    model = scorer.model
    classifier = model.classifier if isinstance(model, ClassifierModel) else _causal_classifier(model)
    # The activation lies in config.json for vLLM and in a file of its own for sentence-transformers.
    activation = f"torch.nn.modules.activation.{ACTIVATIONS[reranker.activation]}"
    if reranker.activation == "identity":
        activation = "torch.nn.modules.linear.Identity"
    classifier.config.sentence_transformers = {"activation_fn": activation}
    classifier.save_pretrained(folder)
    serializer = scorer.rows.serializer
    tokenizer = reranker.tokenizer
    tokenizer.model_max_length = serializer.max_tokens
    if isinstance(serializer, Template):
        tokenizer.chat_template = chat_template(serializer)
    save_tokenizer(tokenizer, folder)
    family = "encoder" if isinstance(model, ClassifierModel) else "causal"
    write_facts(folder, family, serializer, reranker.activation, reranker.deployment)


def _causal_classifier(model: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    config = type(model.body.config).from_dict(model.body.config.to_dict() | {"num_labels": 1})
    for name in ("auto_map", "architectures"):
        if hasattr(config, name):
            delattr(config, name)
    try:
        with torch.device("meta"):
            classifier = AutoModelForSequenceClassification.from_config(config)
    except ValueError:
        raise ModelError(f"transformers has no classifier for bodies of type {config.model_type}") from None
    setattr(classifier, classifier.base_model_prefix, model.body)
    classifier.score = torch.nn.Linear(len(model.weight), 1, bias=False, dtype=model.body.dtype)
    classifier.score.weight.data = model.weight[None].to(model.body.dtype)
    return classifier


def chat_template(serializer: Template) -> str:
    """The template as a chat template: messages of the roles query and document, and system for an instruction.

    This is how sentence-transformers and vLLM's score endpoints hand over a pair.
    """

    def said(role: str) -> str:
        return f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'

    instruction = f"{{{{ {said('system')} | default({json.dumps(serializer.instruction)}) }}}}"
    text = serializer.template.replace("{instruction}", instruction)
    text = text.replace("{query}", f"{{{{ {said('query')} }}}}").replace("{document}", f"{{{{ {said('document')} }}}}")
    # Jinja drops one line break at the end of a template.
    return serializer.prefix + text + serializer.suffix + ("\n" if serializer.suffix.endswith("\n") else "")


def score_in_transformers(folder: Path, scorer: SequenceScorer, rows: Sequence[Row]) -> np.ndarray:
    """Logits of `AutoModelForSequenceClassification`, of the folder as it was written: float32 [rows]."""
    from transformers import AutoModelForSequenceClassification

    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32
    )
    refuse_missing(folder, report["missing_keys"])
    for name in report["unexpected_keys"]:
        raise ModelError(f"{folder}: the export holds the tensor {name!r}, which {type(model).__name__} does not know")
    return in_batches(rows, scorer, lambda features: model.eval()(**features).logits[:, 0].float().numpy())


def in_batches(rows: Sequence[Row], scorer: SequenceScorer, score: Any, size: int = 16) -> np.ndarray:
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
