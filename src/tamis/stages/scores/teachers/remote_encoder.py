"""A bi-encoder behind a server that speaks OpenAI's /embeddings."""

from typing import Any

import numpy as np

from tamis.records import Tokens
from tamis.remote.budget import estimated_tokens
from tamis.remote.client import Json
from tamis.remote.endpoint import RequestCodec, request_body
from tamis.stages.scores.settings import RemoteEncoderTeacher

TextBatch = tuple[str, ...]


def encoder_protocol(settings: RemoteEncoderTeacher) -> RequestCodec[TextBatch, np.ndarray]:
    """How texts are sent, and how their vectors are read: float32 [texts, dimensions], rows of norm 1."""

    def body(texts: TextBatch) -> dict[str, Any]:
        ours = {"model": settings.model, "input": list(texts), "encoding_format": "float"}
        return request_body(ours, settings.extra)

    def most(texts: TextBatch) -> Tokens:
        return Tokens(sum(map(estimated_tokens, texts)), 0, 1)

    def vectors(texts: TextBatch, answer: Json) -> np.ndarray | None:
        try:
            found = {int(row["index"]): row["embedding"] for row in answer["data"]}  # type: ignore[call-overload]
            rows = np.array([found[place] for place in range(len(texts))], np.float32)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        if rows.ndim != 2 or not rows.size or len(found) != len(texts) or not np.isfinite(rows).all():
            return None
        normed: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return normed

    return RequestCodec("/embeddings", dict, body, most, vectors, lambda _: 0, "vector of every text")
