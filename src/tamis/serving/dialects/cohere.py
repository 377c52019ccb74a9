"""Cohere: `/v2/rerank`, and what only its first version knows on `/v1/rerank`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from tamis.models.known.documents import is_named
from tamis.models.serializer import DocumentText
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
from tamis.serving.request import Answered, RefusedError, RerankRequest, text_of, warnings_of

DOCUMENTS_PER_UNIT = 100
"""Documents that Cohere bills as one search."""


class V2(Beside):
    """Strict, as Cohere is; `instruction`, `raw_scores`, `min_score` and the first stage are ours.

    LiteLLM always sends `return_documents`.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str
    query: str
    documents: Given
    top_n: Count | None = None
    return_documents: bool | None = False
    max_tokens_per_doc: Count | None = None
    priority: Annotated[int, Field(ge=0, le=999)] | None = None
    instruction: str | None = None
    raw_scores: bool | None = False


class V1(Beside):
    """The first version: documents may be objects of any fields, of which `rank_fields` are read.

    `max_chunks_per_doc` windows of a document are read, and the best one counts.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    query: str
    documents: Annotated[list[str | dict[str, Any]], Field(fail_fast=True)]
    model: str | None = None
    top_n: Count | None = None
    rank_fields: Annotated[list[str], Field(fail_fast=True)] | None = None
    return_documents: bool | None = False
    max_chunks_per_doc: Count | None = None
    max_tokens_per_doc: Count | None = None
    instruction: str | None = None
    raw_scores: bool | None = False


class CohereEcho(TypedDict):
    """A document in a result."""

    text: str


class CohereResult(TypedDict):
    """One document's score."""

    index: int
    relevance_score: float
    document: NotRequired[CohereEcho]


class Version(TypedDict):
    """Version of the interface."""

    version: Literal["1", "2"]
    is_experimental: bool


class Units(TypedDict):
    """Units that Cohere would bill."""

    search_units: int


class CohereTokens(TypedDict):
    """Tokens that were read."""

    input_tokens: int


class Meta(TypedDict):
    """Beside the results; `truncated`, the places of documents that were cut, is ours."""

    api_version: Version
    billed_units: Units
    tokens: CohereTokens
    warnings: NotRequired[list[str]]
    truncated: NotRequired[list[int]]


class CohereAnswer(TypedDict):
    """The answer of both versions."""

    id: str
    results: list[CohereResult]
    meta: Meta


def read_v2(body: V2) -> RerankRequest:
    """What a body of the second version asks for."""
    _check(body.query, body.documents)
    return RerankRequest(
        model=body.model,
        queries=[body.query],
        documents=documents_of(body.documents),
        top=body.top_n,
        echo=bool(body.return_documents),
        raw=bool(body.raw_scores),
        instruction=body.instruction,
        document_tokens=body.max_tokens_per_doc,
        first_stage=first_stage_in(body, body.documents),
        min_score=body.min_score,
        ids=ids_of(body.documents),
    )


def read_v1(body: V1) -> RerankRequest:
    """What a body of the first version asks for.

    Raises:
        RefusedError: a document without the fields that are to be read.
    """
    _check(body.query, body.documents)
    return RerankRequest(
        model=body.model,
        queries=[body.query],
        documents=[_fields(number, one, body.rank_fields) for number, one in enumerate(body.documents)],
        top=body.top_n,
        echo=bool(body.return_documents),
        raw=bool(body.raw_scores),
        instruction=body.instruction,
        document_tokens=body.max_tokens_per_doc,
        windows=body.max_chunks_per_doc,
        first_stage=first_stage_in(body, body.documents),
        min_score=body.min_score,
        ids=ids_of(body.documents),
    )


def _check(query: str, documents: list[Any]) -> None:
    try:
        check_texts(query, documents)
    except RefusedError as refused:
        raise RefusedError(refused.kind, f"invalid request: {refused.message}") from None


def _fields(number: int, document: str | dict[str, Any], wanted: list[str] | None) -> DocumentText:
    if isinstance(document, str):
        return document
    if not wanted and is_named(document):
        return {"id": document["id"]}
    values = []
    for name in dict.fromkeys(wanted or ["text"]):  # a field that is named a million times is read once
        value = document.get(name)
        if not isinstance(value, str):
            raise RefusedError("malformed", f"documents.{number}: expected a string in the field {name!r}")
        values.append(value)
    return "\n".join(values)


def meta(answered: Answered, version: Literal["1", "2"]) -> Meta:
    """The field `meta` beside the results."""
    units = -(-len(answered.values) // DOCUMENTS_PER_UNIT)
    found: Meta = {
        "api_version": {"version": version, "is_experimental": False},
        "billed_units": {"search_units": units},
        "tokens": {"input_tokens": answered.tokens},
    }
    if warnings := warnings_of(answered):
        found["warnings"] = warnings
    if answered.cut:
        found["truncated"] = list(answered.cut)
    return found


def results(asked: RerankRequest, answered: Answered) -> list[CohereResult]:
    """Results as Cohere and Jina have them, best first."""
    found: list[CohereResult] = []
    for index in answered.order[: asked.top]:
        one: CohereResult = {"index": index, "relevance_score": answered.values[index]}
        if asked.echo:
            one["document"] = {"text": text_of(asked.documents[index])}
        found.append(one)
    return found


def answer_v2(asked: RerankRequest, answered: Answered) -> CohereAnswer:
    """The second version's answer."""
    return {"id": answered.id, "results": results(asked, answered), "meta": meta(answered, "2")}


def answer_v1(asked: RerankRequest, answered: Answered) -> CohereAnswer:
    """The first version's answer."""
    return {"id": answered.id, "results": results(asked, answered), "meta": meta(answered, "1")}


def refuse(refused: RefusedError, status: int, request_id: str) -> dict[str, Any]:
    """A refusal."""
    return {"id": request_id, "message": refused.message}


COHERE_V2 = Dialect("cohere", V2, read_v2, answer_v2, CohereAnswer, refuse)
COHERE_V1 = Dialect("cohere-v1", V1, read_v1, answer_v1, CohereAnswer, refuse)
