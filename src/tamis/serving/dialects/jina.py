"""Jina: `/v1/rerank`. Its answer also holds what clients of Cohere's first version look for, who share the path."""

from typing import Any

from typing_extensions import TypedDict

from tamis.serving.dialects.cohere import CohereResult, Meta, meta, results
from tamis.serving.dialects.dialect import (
    Beside,
    Count,
    Dialect,
    Given,
    check_texts,
    documents_of,
    first_stage_in,
    ids_of,
)
from tamis.serving.request import Answered, RefusedError, RerankRequest


class JinaRerank(Beside):
    """`top_k` and `truncation` are Voyage's; `instruction`, `raw_scores`, `min_score` and the first stage are ours.

    Long texts are cut unless `truncation` is false.
    """

    query: str
    documents: Given
    model: str | None = None
    top_n: Count | None = None
    top_k: Count | None = None
    return_documents: bool | None = True
    max_tokens_per_doc: Count | None = None
    truncation: bool | None = None
    instruction: str | None = None
    raw_scores: bool = False


class JinaUsage(TypedDict):
    """Tokens that were read."""

    total_tokens: int
    prompt_tokens: int


class JinaAnswer(TypedDict):
    """Jina's answer, with Cohere's `id` and `meta`."""

    id: str
    model: str
    object: str
    usage: JinaUsage
    results: list[CohereResult]
    meta: Meta


def read(body: JinaRerank) -> RerankRequest:
    """What a body asks for."""
    check_texts(body.query, body.documents)
    return RerankRequest(
        model=body.model,
        queries=[body.query],
        documents=documents_of(body.documents),
        top=body.top_n or body.top_k,
        echo=body.return_documents is not False,
        raw=body.raw_scores,
        instruction=body.instruction,
        document_tokens=body.max_tokens_per_doc,
        cut=body.truncation is not False,
        first_stage=first_stage_in(body, body.documents),
        min_score=body.min_score,
        ids=ids_of(body.documents),
    )


def answer(asked: RerankRequest, answered: Answered) -> JinaAnswer:
    """The answer."""
    return {
        "id": answered.id,
        "model": answered.model,
        "object": "list",
        "usage": {"total_tokens": answered.tokens, "prompt_tokens": answered.tokens},
        "results": results(asked, answered),
        "meta": meta(answered, "1"),
    }


def refuse(refused: RefusedError, status: int, request_id: str) -> dict[str, Any]:
    """A refusal."""
    return {"detail": refused.message}


JINA = Dialect("jina", JinaRerank, read, answer, JinaAnswer, refuse, {"empty": 422})
