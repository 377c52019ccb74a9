"""Jina: `/v1/rerank`. Its answer also holds what clients of Cohere's first version and of Voyage look for there."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from tamis.serving.dialects.cohere import CohereResult, Meta, meta, results
from tamis.serving.dialects.dialect import (
    Beside,
    Dialect,
    Given,
    LaxCount,
    LaxFlag,
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
    top_n: LaxCount | None = None
    top_k: LaxCount | None = None
    return_documents: LaxFlag | None = True
    max_tokens_per_doc: LaxCount | None = None
    truncation: LaxFlag | None = None
    instruction: str | None = None
    raw_scores: LaxFlag | None = False


class JinaUsage(TypedDict):
    """Tokens that were read."""

    total_tokens: int
    prompt_tokens: int


class VoyageResult(TypedDict):
    """One document's score as Voyage has it; the document is its text."""

    index: int
    relevance_score: float
    document: NotRequired[str]


class JinaAnswer(TypedDict):
    """Jina's answer, with Cohere's `id` and `meta`, and Voyage's `data`."""

    id: str
    model: str
    object: str
    usage: JinaUsage
    results: list[CohereResult]
    data: list[VoyageResult]
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
        raw=bool(body.raw_scores),
        instruction=body.instruction,
        document_tokens=body.max_tokens_per_doc,
        cut=body.truncation is not False,
        first_stage=first_stage_in(body, body.documents),
        min_score=body.min_score,
        ids=ids_of(body.documents),
    )


def answer(asked: RerankRequest, answered: Answered) -> JinaAnswer:
    """The answer. Voyage returns no document unless it is asked to: `data` tells places and scores."""
    found = results(asked, answered)
    return {
        "id": answered.id,
        "model": answered.model,
        "object": "list",
        "usage": {"total_tokens": answered.tokens, "prompt_tokens": answered.tokens},
        "results": found,
        "data": [{"index": one["index"], "relevance_score": one["relevance_score"]} for one in found],
        "meta": meta(answered, "1"),
    }


def answer_voyage(asked: RerankRequest, answered: Answered) -> JinaAnswer:
    """The same with the documents in `data`, where there are any."""
    whole = answer(asked, answered)
    for row, one in zip(whole["data"], whole["results"], strict=True):
        if "document" in one:
            row["document"] = one["document"]["text"]
    return whole


def refuse(refused: RefusedError, status: int, request_id: str) -> dict[str, Any]:
    """A refusal."""
    return {"detail": refused.message}


JINA = Dialect("jina", JinaRerank, read, answer, JinaAnswer, refuse, {"empty": 422})
VOYAGE = Dialect("voyage", JinaRerank, read, answer_voyage, JinaAnswer, refuse, {"empty": 422})
