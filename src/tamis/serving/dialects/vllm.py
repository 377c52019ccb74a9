"""vLLM: `/rerank` and `/score`, under any version."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from tamis.models.first_stage import NONE, FirstStageArgument
from tamis.serving.dialects.dialect import (
    Beside,
    Dialect,
    DialectId,
    DialectText,
    Given,
    Item,
    LaxCountOrAll,
    LaxFlag,
    check_texts,
    documents_of,
    first_stage_in,
    ids_of,
)
from tamis.serving.request import Answered, Kind, RefusedError, RerankRequest, text_of

ERROR_TYPES = {
    400: "BadRequestError",
    403: "ForbiddenError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    408: "TimeoutError",
    413: "RequestEntityTooLargeError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
    504: "TimeoutError",
}
STATUSES: dict[Kind, int] = {"malformed": 400, "empty": 400}

ONLY_HERE = frozenset({"max_tokens_per_query", "truncate_prompt_tokens", "truncation_side", "use_activation", "user"})
"""Fields that tell a body of vLLM from one of Cohere or Jina."""

Most = Annotated[int, Field(strict=False, ge=-(2**31), le=2**31)]

OneOfSide = str | DialectText | DialectId
Side = Given | Item


class Knobs(Beside):
    """What `/rerank` and `/score` share; `raw_scores`, `min_score` and the first stage are ours.

    Unknown fields are ignored, as vLLM does. `truncate_prompt_tokens` are those of a pair, special ones included; -1 is
    what the model reads, and so is nothing, for which vLLM refuses long texts.
    """

    model: str | None = None
    truncate_prompt_tokens: Annotated[int, Field(strict=False, ge=-1, le=2**31)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    use_activation: LaxFlag | None = None
    instruction: str | None = None
    max_tokens_per_doc: LaxCountOrAll | None = 0
    max_tokens_per_query: LaxCountOrAll | None = 0
    raw_scores: LaxFlag | None = False


class VllmRerank(Knobs):
    """A query and its documents; a `top_n` of 0, or below, is all."""

    query: str
    documents: Given
    top_n: Most | None = 0
    top_k: Most | None = 0


class VllmScore(Knobs):
    """Two sides, one to one, one to many, or many to as many."""

    text_1: Side | None = None
    text_2: Side | None = None
    queries: Side | None = None
    documents: Side | None = None
    items: Side | None = None
    data_1: Side | None = None
    data_2: Side | None = None


class VllmUsage(TypedDict):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class ScoreUsage(VllmUsage):
    """Beside them, none that were written."""

    completion_tokens: int


class VllmEcho(TypedDict):
    """A document in a result."""

    text: str
    multi_modal: None


class VllmResult(TypedDict):
    """One document's score."""

    index: int
    document: VllmEcho
    relevance_score: float


class RerankAnswer(TypedDict):
    """The answer of `/rerank`."""

    id: str
    model: str
    usage: VllmUsage
    results: list[VllmResult]


class ScoreResult(TypedDict):
    """One pair's score."""

    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(TypedDict):
    """The answer of `/score`."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreResult]
    usage: ScoreUsage


def read_rerank(body: VllmRerank) -> RerankRequest:
    """What a body of `/rerank` asks for."""
    check_texts(body.query, body.documents)
    said = first_stage_in(body, body.documents)
    most = body.top_n or body.top_k or 0
    return _asked(body, [body.query], body.documents, said, most if most > 0 else None)


def read_score(body: VllmScore) -> RerankRequest:
    """What a body of `/score` asks for.

    Raises:
        RefusedError: sides that are missing or do not fit each other, or a first stage of several queries.
    """
    if body.min_score is not None:
        raise RefusedError("malformed", "min_score: every pair is answered here; ask /rerank to leave documents out")
    first = _one_of(body, ("text_1", "queries", "data_1"))
    second = _one_of(body, ("text_2", "documents", "items", "data_2"))
    queries = [_query(one) for one in _as_list(first)]
    documents = _as_list(second)
    if not queries or not documents:
        raise RefusedError("empty", "both sides need at least one text")
    if len(queries) not in (1, len(documents)):
        raise RefusedError("malformed", f"{len(queries)} texts on the first side, {len(documents)} on the second")
    for query in queries:
        check_texts(query, documents)
    said = first_stage_in(body, documents)
    if len(queries) > 1 and said not in (None, NONE):
        raise RefusedError("malformed", f"first_stage: expected one query for all documents, got {len(queries)}")
    return _asked(body, queries, documents, said or NONE)  # pairs count by themselves, unless they are a ranking


def _query(one: OneOfSide) -> str:
    if isinstance(one, DialectId):
        raise RefusedError("malformed", "the first side: expected texts, got an id")
    return one if isinstance(one, str) else one.text


def _as_list(side: list[OneOfSide] | OneOfSide) -> list[OneOfSide]:
    return side if isinstance(side, list) else [side]


def _one_of(body: VllmScore, names: tuple[str, ...]) -> list[OneOfSide] | OneOfSide:
    for name in names:
        side: list[OneOfSide] | OneOfSide | None = getattr(body, name)
        if side is not None:
            return side
    raise RefusedError("malformed", f"{names[0]}: missing; {' or '.join(names[1:])} will do too")


def _asked(
    body: Knobs,
    queries: list[str],
    documents: list[OneOfSide],
    said: FirstStageArgument | None,
    top: int | None = None,
) -> RerankRequest:
    if body.truncation_side == "left":
        raise RefusedError("malformed", "truncation_side: texts are cut on the right only")
    if body.truncate_prompt_tokens == 0:
        raise RefusedError("malformed", "truncate_prompt_tokens: got 0, expected at least 1, or -1")
    pair_tokens = body.truncate_prompt_tokens if body.truncate_prompt_tokens != -1 else None
    return RerankRequest(
        model=body.model,
        queries=queries,
        documents=documents_of(documents),
        top=top,
        echo=True,
        raw=bool(body.raw_scores) or body.use_activation is False,
        instruction=body.instruction,
        document_tokens=body.max_tokens_per_doc or None,
        query_tokens=body.max_tokens_per_query or None,
        pair_tokens=pair_tokens,
        first_stage=said,
        min_score=body.min_score,
        ids=ids_of(documents),
    )


def answer_rerank(asked: RerankRequest, answered: Answered) -> RerankAnswer:
    """The answer of `/rerank`, best first."""
    return {
        "id": f"score-{answered.id}",
        "model": answered.model,
        "usage": {"prompt_tokens": answered.tokens, "total_tokens": answered.tokens},
        "results": [
            {
                "index": index,
                "document": {"text": text_of(asked.documents[index]), "multi_modal": None},
                "relevance_score": answered.values[index],
            }
            for index in answered.order[: asked.top]
        ],
    }


def answer_score(asked: RerankRequest, answered: Answered) -> ScoreAnswer:
    """The answer of `/score`, in the order of the request."""
    return {
        "id": f"score-{answered.id}",
        "object": "list",
        "created": answered.created,
        "model": answered.model,
        "data": [{"index": index, "object": "score", "score": value} for index, value in enumerate(answered.values)],
        "usage": {"prompt_tokens": answered.tokens, "total_tokens": answered.tokens, "completion_tokens": 0},
    }


def refuse(refused: RefusedError, status: int, request_id: str) -> dict[str, Any]:
    """A refusal."""
    if refused.kind == "unauthorized":
        return {"error": "Unauthorized"}
    kind = ERROR_TYPES.get(status, "BadRequestError")
    return {"error": {"message": refused.message, "type": kind, "param": None, "code": status}}


VLLM_RERANK = Dialect("vllm", VllmRerank, read_rerank, answer_rerank, RerankAnswer, refuse, STATUSES)
VLLM_SCORE = Dialect("vllm-score", VllmScore, read_score, answer_score, ScoreAnswer, refuse, STATUSES)
