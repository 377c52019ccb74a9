"""Jina: `/v1/rerank`. Its answer also holds what clients of Cohere's first version look for, who share the path."""

from typing import Any

from typing_extensions import TypedDict

from tamis.serving.dialects.cohere import Meta, Result, meta, results
from tamis.serving.dialects.dialect import Beside, Count, Dialect, Given, check_texts, documents_of, first_stage_in
from tamis.serving.request import Answered, Asked, RefusedError


class Rerank(Beside):
    """`top_k` is Voyage's word for `top_n`; `instruction`, `raw_scores` and the first stage are ours."""

    query: str
    documents: Given
    model: str | None = None
    top_n: Count | None = None
    top_k: Count | None = None
    return_documents: bool | None = True
    max_tokens_per_doc: Count | None = None
    instruction: str | None = None
    raw_scores: bool = False


class Usage(TypedDict):
    """Tokens that were read."""

    total_tokens: int
    prompt_tokens: int


class Answer(TypedDict):
    """Jina's answer, with Cohere's `id` and `meta`."""

    id: str
    model: str
    object: str
    usage: Usage
    results: list[Result]
    meta: Meta


def read(body: Rerank) -> Asked:
    """What a body asks for."""
    check_texts(body.query, body.documents)
    return Asked(
        model=body.model,
        queries=[body.query],
        documents=documents_of(body.documents),
        top=body.top_n or body.top_k,
        echo=body.return_documents is not False,
        raw=body.raw_scores,
        instruction=body.instruction,
        document_tokens=body.max_tokens_per_doc,
        first_stage=first_stage_in(body, body.documents),
    )


def answer(asked: Asked, answered: Answered) -> Answer:
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


JINA = Dialect("jina", Rerank, read, answer, Answer, refuse, {"empty": 422})
