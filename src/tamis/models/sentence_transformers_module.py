"""The module through which sentence-transformers' `CrossEncoder` scores a warm tamis folder.

Loaded by name from the folder's `modules.json`. Since its version 6, sentence-transformers imports modules of other
packages only when told to: `CrossEncoder(folder, trust_remote_code=True)`. What it imports is this file of the
installed tamis package; the folder itself holds no code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from tamis.models.checkpoint import Deployment, load_warm, read_facts
from tamis.models.saving import save_student
from tamis.models.warm import WarmCrossEncoder


class WarmModule(InputModule):  # type: ignore[misc]  # sentence-transformers is untyped here
    """Takes (query, document) pairs, gives `scores`: the logits of `WarmCrossEncoder`."""

    def __init__(self, student: WarmCrossEncoder, deployment: Deployment) -> None:
        super().__init__()
        self.student = student
        self.deployment = deployment

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the body."""
        return self.student.encoder.tokenizer

    def preprocess(self, inputs: Sequence[tuple[str, str]], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Token ids of both texts of each pair, padded with -1: int64 [pairs, tokens] each."""
        serializer, tokenise = self.student.serializer, self.student.encoder.tokenise
        queries = tokenise([(prompt or "") + q for q, _ in inputs], serializer.query_prefix, serializer.query_tokens)
        documents = tokenise([d for _, d in inputs], serializer.document_prefix, serializer.document_tokens)
        return {"query_ids": _padded(queries), "document_ids": _padded(documents)}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds `scores` [pairs, 1] to the features."""
        encoder = self.student.encoder
        lower = encoder.layers - self.student.joint_layers
        queries = encoder.states([[t for t in row if t >= 0] for row in features["query_ids"].tolist()], lower)
        documents = encoder.states([[t for t in row if t >= 0] for row in features["document_ids"].tolist()], lower)
        features["scores"] = self.student(queries, documents)[:, None]  # [pairs, 1]
        return features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the folder as tamis does."""
        save_student(self.student, Path(output_path), self.deployment)

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> "WarmModule":
        """Load a local folder that tamis saved."""
        facts = read_facts(model_name_or_path)
        student = load_warm(model_name_or_path, facts, "float32", 8192)
        return cls(student, facts.deployment)


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[-1] * (longest - len(row))] for row in rows])
