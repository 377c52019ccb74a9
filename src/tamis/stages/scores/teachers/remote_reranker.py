"""A reranker behind a server: Cohere's, Jina's and vLLM's /rerank, or that of Text Embeddings Inference."""

import math
from typing import Any

from tamis.records import Tokens
from tamis.remote.attempts import RequestCodec
from tamis.remote.budget import estimated_tokens
from tamis.remote.client import Json
from tamis.remote.endpoint import request_body
from tamis.stages.scores.settings import RemoteRerankerTeacher
from tamis.stages.scores.teachers.cached import Group, GroupScores
from tamis.stages.scores.teachers.pair_server import PairServer
from tamis.stages.scores.teachers.teaching import Connection, Shared


def remote_reranker(settings: RemoteRerankerTeacher, place: int, shared: Shared) -> PairServer:
    """A reranker, asked about several documents at a time."""
    wording = ("without /rerank", f"protocol ({settings.protocol}), batch, max_chars and extra")
    server = Connection(settings, place, shared, reranker_codec(settings), wording)
    return PairServer(server, shared, settings.batch)


def reranker_codec(settings: RemoteRerankerTeacher) -> RequestCodec[Group, GroupScores]:
    """How the documents of a group are sent, and where their scores are in the answer."""
    tei = settings.protocol == "tei"

    def body(group: Group) -> dict[str, Any]:
        texts = list(group.documents)
        ours: dict[str, Any] = {"query": group.query}
        if tei:
            ours |= {"texts": texts, "raw_scores": True}  # probabilities of good rerankers are all but equal
        else:
            ours |= {"model": settings.model, "documents": texts, "top_n": len(texts)}
        return request_body(ours, settings.extra)

    def most(group: Group) -> Tokens:
        query = estimated_tokens(group.query)
        return Tokens(sum(query + estimated_tokens(document) for document in group.documents), 0, 1)

    def scores(group: Group, answer: Json) -> GroupScores | None:
        rows = answer if isinstance(answer, list) else answer.get("results")
        return _in_order(rows, "score" if tei else "relevance_score", len(group.documents))

    return RequestCodec("/rerank", list if tei else dict, body, most, scores, lambda _: 0, "score of every document")


def _in_order(rows: Any, field: str, count: int) -> GroupScores | None:
    """Scores by the index that stands beside each; None unless there is one finite score for every document."""
    try:
        found = {int(row["index"]): float(row[field]) for row in rows}
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    whole = len(rows) == count and found.keys() == set(range(count))
    if not whole or not all(map(math.isfinite, found.values())):
        return None
    return tuple(found[place] for place in range(count))
