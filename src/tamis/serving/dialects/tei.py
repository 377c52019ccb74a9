"""Text Embeddings Inference: `/rerank` with `texts`, a bare array as the answer."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from tamis.serving.dialects.dialect import (
    Beside,
    Count,
    Dialect,
    DialectId,
    check_texts,
    documents_of,
    first_stage_in,
    ids_of,
)
from tamis.serving.request import Answered, Kind, RefusedError, RerankRequest, text_of

ERROR_TYPES: dict[Kind, str] = {
    "empty": "Empty",
    "overloaded": "Overloaded",
    "draining": "Unhealthy",
    "failed": "Backend",
    "too late": "Backend",
}
"""`error_type` of refusals; all others are `Validation`."""


class TeiRerank(Beside):
    """Long texts are cut unless `truncate` is false.

    `top_n` is llama.cpp's, whose server takes this form, too. `model`, `instruction`, `min_score`, ids and the first
    stage are ours.
    """

    query: str
    texts: Annotated[list[Annotated[str | DialectId, Field(union_mode="left_to_right")]], Field(fail_fast=True)]
    truncate: bool | None = None
    truncation_direction: Literal["left", "Left", "right", "Right"] = "right"
    raw_scores: bool = False
    return_text: bool = False
    top_n: Count | None = None
    model: str | None = None
    instruction: str | None = None


class Rank(TypedDict):
    """One text's score."""

    index: int
    score: float
    text: NotRequired[str]


def read(body: TeiRerank) -> RerankRequest:
    """What a body asks for.

    Raises:
        RefusedError: texts are to be cut on the left.
    """
    check_texts(body.query, body.texts, ("query", "texts"))
    if body.truncation_direction.lower() == "left":
        raise RefusedError("malformed", "truncation_direction: texts are cut on the right only")
    return RerankRequest(
        model=body.model,
        queries=[body.query],
        documents=documents_of(body.texts),
        top=body.top_n,
        echo=body.return_text,
        raw=body.raw_scores,
        instruction=body.instruction,
        cut=body.truncate is not False,
        first_stage=first_stage_in(body, body.texts),
        min_score=body.min_score,
        ids=ids_of(body.texts),
    )


def answer(asked: RerankRequest, answered: Answered) -> list[Rank]:
    """The answer, best first."""
    found: list[Rank] = []
    for index in answered.order[: asked.top]:
        one: Rank = {"index": index, "score": answered.values[index]}
        if asked.echo:
            one["text"] = text_of(asked.documents[index])
        found.append(one)
    return found


def refuse(refused: RefusedError, status: int, request_id: str) -> dict[str, Any] | None:
    """A refusal; a wrong key is told by the status alone."""
    if refused.kind == "unauthorized":
        return None
    return {"error": refused.message, "error_type": ERROR_TYPES.get(refused.kind, "Validation")}


TEI = Dialect("tei", TeiRerank, read, answer, list[Rank], refuse)
