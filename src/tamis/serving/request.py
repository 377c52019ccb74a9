"""What every dialect becomes: a request, its answer, or the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tamis.models.first_stage import FirstStageArgument
from tamis.models.serializer import DocumentText

Kind = Literal[
    "malformed", "empty", "too large", "unknown model", "not found", "wrong method", "unauthorized", "forbidden",
    "overloaded", "draining", "too slow", "too late", "failed", "not loaded",
]  # fmt: skip

STATUS: dict[Kind, int] = {
    "malformed": 422,
    "empty": 400,
    "too large": 413,
    "unknown model": 404,
    "not found": 404,
    "wrong method": 405,
    "unauthorized": 401,
    "forbidden": 403,
    "overloaded": 429,
    "draining": 503,
    "too slow": 408,
    "too late": 504,
    "failed": 500,
    "not loaded": 422,
}
"""HTTP status of each kind of refusal, where a dialect has no other."""


class RefusedError(Exception):
    """A request that is not answered with scores.

    Attributes:
        kind: Why, in one word; decides the status.
        message: One line for the client: the field, what came, what was expected.
        retry_after: Seconds after which another try may succeed; 0 where none is known.
    """

    def __init__(self, kind: Kind, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """One request, whatever it was written in.

    Attributes:
        model: Name or alias; None for the server's first model.
        queries: One for all documents, or one for each.
        documents: Strings, or mappings with `text` and `title`, or with an `id` alone; at least one.
        top: How many results are wanted, at least 1; None for all.
        echo: Whether results hold the document's text.
        raw: Whether the logit is wanted instead of the bounded score.
        instruction: For models that take one.
        document_tokens: Most tokens of a document; None for what the model reads.
        query_tokens: Likewise of a query.
        pair_tokens: Most tokens of a query and a document together, special ones included; None for what the model
            reads.
        windows: Most windows that are read of a document, of which the best counts; None for what the server does.
        cut: Whether pairs of which not all is read are taken; they are refused otherwise.
        first_stage: What is said of the first stage; None for what the server does by default. Only with one query.
        min_score: Lowest score of a result, on the scale of what is returned; None for what the server does by default.
        ids: What the client calls each document, None for those that it sends without; none of all where it is empty.
    """

    model: str | None
    queries: Sequence[str]
    documents: Sequence[DocumentText]
    top: int | None = None
    echo: bool = False
    raw: bool = False
    instruction: str | None = None
    document_tokens: int | None = None
    query_tokens: int | None = None
    pair_tokens: int | None = None
    windows: int | None = None
    cut: bool = True
    first_stage: FirstStageArgument | None = None
    min_score: float | None = None
    ids: Sequence[str | None] = ()

    def pairs(self) -> list[tuple[str, DocumentText]]:
        """(query, document) of each document, in order."""
        queries = self.queries if len(self.queries) > 1 else [self.queries[0]] * len(self.documents)
        return list(zip(queries, self.documents, strict=True))


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model made of a request.

    Attributes:
        id: Id of the request.
        model: The name of the model that answered; of a split the one that was drawn.
        created: Unix time in seconds.
        values: What ranks, bounded or on the scale of the logits, of each document in the order of the request.
        order: Indices of the documents that are not below the lowest score, best first.
        tokens: Tokens that were read of all pairs, special tokens included.
        cut: Indices of documents of which, or of whose query, something was not read.
        doubt: What the client should know about its first stage.
    """

    id: str
    model: str
    created: int
    values: Sequence[float]
    order: Sequence[int]
    tokens: int
    cut: Sequence[int]
    doubt: str | None = None


def text_of(document: DocumentText) -> str:
    """A document's text without its title, for the echo; its id where it is named by that alone."""
    return document if isinstance(document, str) else document.get("text", document.get("id", ""))


def warnings_of(answered: Answered) -> list[str]:
    """Sentences about what was cut and about the first stage; none where there is nothing to say."""
    found = []
    if answered.cut:
        shown = ", ".join(map(str, answered.cut[:10])) + (", ..." if len(answered.cut) > 10 else "")
        found.append(f"{len(answered.cut)} of {len(answered.values)} documents were too long and cut: {shown}")
    if answered.doubt:
        found.append(answered.doubt)
    return found
