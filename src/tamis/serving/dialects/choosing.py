"""Which dialect a request is written in: the path says most of it, a field or two the rest."""

from collections.abc import Mapping
from typing import Any

from tamis.serving.dialects.cohere import COHERE_V1, COHERE_V2
from tamis.serving.dialects.dialect import Dialect
from tamis.serving.dialects.jina import JINA, VOYAGE
from tamis.serving.dialects.tei import TEI
from tamis.serving.dialects.vllm import ONLY_HERE, VLLM_RERANK, VLLM_SCORE

PATHS: dict[str, tuple[Dialect, ...]] = {
    "/v2/rerank": (COHERE_V2, VLLM_RERANK),
    "/v1/rerank": (JINA, VOYAGE, COHERE_V1, VLLM_RERANK, TEI),
    "/rerank": (VLLM_RERANK, TEI),
    "/v1/score": (VLLM_SCORE,),
    "/score": (VLLM_SCORE,),
}
"""Dialects of each path; the first one answers where the body cannot be read."""


NO_LIMIT = ("top_n", "top_k", "max_tokens_per_doc")
"""Fields that vLLM's clients send as 0, its default, or as -1 for all; Cohere and Jina know neither."""


def _is_all(value: Any) -> bool:
    return type(value) is int and value <= 0


def choose(path: str, body: Mapping[str, Any]) -> Dialect:
    """The dialect of a body that was sent to one of `PATHS`."""
    if path == "/rerank":
        return TEI if "texts" in body else VLLM_RERANK
    if path == "/v1/rerank" and "texts" in body and "documents" not in body:
        return TEI  # llama.cpp's server reads both forms on each of its paths
    if path in ("/v1/rerank", "/v2/rerank"):
        if path == "/v1/rerank" and "truncation" in body and ONLY_HERE.isdisjoint(body):
            return VOYAGE  # before its top_k is looked at: Voyage's client reads no refusal but one with `detail`
        if not ONLY_HERE.isdisjoint(body) or any(_is_all(body.get(name)) for name in NO_LIMIT):
            return VLLM_RERANK
        if path == "/v1/rerank" and ("rank_fields" in body or "max_chunks_per_doc" in body):
            return COHERE_V1
        if path == "/v1/rerank" and "top_k" in body:
            return VOYAGE
    return PATHS[path][0]
