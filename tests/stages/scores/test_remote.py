"""Rerankers and encoders behind a server: their protocols, and answers that are not what was asked for."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from tamis.errors import ModelError, RunError
from tamis.records import Tokens
from tamis.remote.budget import Wording
from tamis.remote.endpoint import Endpoint
from tamis.remote.settings import RequestsSettings
from tamis.stages.scores.settings import RemoteEncoderTeacher, RemoteRerankerTeacher
from tamis.stages.scores.teachers.cached import Group
from tamis.stages.scores.teachers.remote_encoder import encoder_codec
from tamis.stages.scores.teachers.remote_reranker import reranker_codec
from tests.remote.scripted_server import Reply, Script, ScriptedServer, Seen, scripted

WORDING = Wording("scores.teachers.1", "scores", "candidates.depth", "without /rerank", "batch and extra")
PATIENCE = RequestsSettings(concurrency=3, timeout=1.5, attempts=3, wait=0.01)
GROUP = Group("what is b?", ("a", "bb", "ccc"))


@contextmanager
def reranker(script: Script, **settings: Any) -> Iterator[tuple[ScriptedServer, Endpoint[Any, Any]]]:
    with scripted(script) as server:
        teacher = RemoteRerankerTeacher(kind="remote-reranker", url=server.url, model="rerank-1", **settings)
        with closing(Endpoint(teacher, reranker_codec(teacher), PATIENCE, Tokens(), WORDING)) as endpoint:
            yield server, endpoint


@contextmanager
def encoder(script: Script, **settings: Any) -> Iterator[tuple[ScriptedServer, Endpoint[Any, Any]]]:
    with scripted(script) as server:
        teacher = RemoteEncoderTeacher(kind="remote-encoder", url=server.url, model="embed-1", **settings)
        with closing(Endpoint(teacher, encoder_codec(teacher), PATIENCE, Tokens(), WORDING)) as endpoint:
            yield server, endpoint


def cohere(*rows: tuple[int, float]) -> dict[str, Any]:
    return {"id": "x", "results": [{"index": index, "relevance_score": score} for index, score in rows]}


def test_the_protocol_of_cohere_jina_and_vllm() -> None:
    told = {**cohere((1, 0.9), (2, 0.5), (0, 0.1)), "usage": {"total_tokens": 77}}
    with reranker(lambda *_: Reply(told), extra={"return_documents": False}) as (server, endpoint):
        (answer,) = endpoint.ask([GROUP])
    (seen,) = server.seen
    assert seen.path == "/v1/rerank"
    assert seen.body == {
        "model": "rerank-1",
        "query": "what is b?",
        "documents": ["a", "bb", "ccc"],
        "top_n": 3,
        "return_documents": False,
    }
    assert answer.value == (0.1, 0.9, 0.5)
    assert answer.tokens == Tokens(77, 0, 1)


def test_the_protocol_of_text_embeddings_inference() -> None:
    rows = [{"index": 2, "score": 3.5}, {"index": 0, "score": -1.0}, {"index": 1, "score": -7.25}]
    with reranker(lambda *_: Reply(rows), protocol="tei", extra={"truncate": True}) as (server, endpoint):
        (answer,) = endpoint.ask([GROUP])
    assert server.seen[0].path == "/v1/rerank"
    assert server.seen[0].body == {
        "query": "what is b?",
        "texts": ["a", "bb", "ccc"],
        "raw_scores": True,
        "truncate": True,
    }
    assert answer.value == (-1.0, -7.25, 3.5)
    assert answer.tokens == Tokens(3 * 4 + 3, 0, 1)  # estimated: the answer does not say


WRONG = [
    cohere((0, 0.1), (1, 0.2)),
    cohere((0, 0.1), (1, 0.2), (1, 0.3)),
    cohere((1, 0.1), (2, 0.2), (3, 0.3)),
    cohere((0, 0.1), (1, 0.2), (2, float("nan"))),
    {"results": [{"index": 0}]},
    {"results": None},
    {"results": [{"index": float("inf"), "relevance_score": 1.0}] * 3},
    {"results": [{"index": n, "relevance_score": 10**400} for n in range(3)]},
    {"detail": "warming up"},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_answer_that_does_not_score_every_document_is_asked_for_again(wrong: dict[str, Any]) -> None:
    def script(seen: Seen, before: int) -> Reply:
        return Reply(cohere((0, 1.0), (1, 2.0), (2, 3.0)) if before else wrong)

    with reranker(script) as (server, endpoint):
        (answer,) = endpoint.ask([GROUP])
    assert answer.value == (1.0, 2.0, 3.0)
    assert endpoint.failures == {"no score of every document in the answer": 1}
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply({}, 429, {"Retry-After": "0.05"}), "HTTP 429"),
        (Reply(b"overloaded", 503), "HTTP 503"),
        (Reply([], delay=2.0), "no answer in time"),
        (Reply([1, 2], cut=True), "broken connection"),
        (Reply({"error": "x"}), "malformed answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fails_once_is_asked_again(reply: Reply, reason: str) -> None:
    def script(seen: Seen, before: int) -> Reply:
        return Reply([{"index": n, "score": n} for n in range(3)]) if before else reply

    with reranker(script, protocol="tei") as (_, endpoint):
        (answer,) = endpoint.ask([GROUP])
    assert answer.value == (0.0, 1.0, 2.0)
    assert endpoint.failures == {reason: 1}


def test_a_refused_batch_names_the_settings_to_look_at() -> None:
    reply = Reply({"error": "batch size 64 > maximum allowed batch size 32", "error_type": "Validation"}, 422)
    with (
        reranker(lambda *_: reply, protocol="tei") as (server, endpoint),
        pytest.raises(
            ModelError, match=r"HTTP 422: .*maximum allowed batch size 32.*; check scores\.teachers\.1\.model"
        ),
    ):
        list(endpoint.ask([GROUP]))
    assert len(server.seen) == 1


def test_a_budget_in_money_counts_requests_that_have_a_price() -> None:
    script = lambda *_: Reply(cohere((0, 1.0), (1, 2.0), (2, 3.0)))  # noqa: E731
    found = []

    def ask_until_it_stops(endpoint: Endpoint[Any, Any]) -> None:
        for answer in endpoint.ask([GROUP] * 9):
            found.append(answer)  # noqa: PERF402  # what came before the error counts

    said = r"scores\.teachers\.1\.budget_money: .*finished scores are kept, raise it or low"
    with reranker(script, request_price=2.0, budget_money=0.0105) as (server, endpoint):
        with pytest.raises(RunError, match=said):
            ask_until_it_stops(endpoint)
        assert len([answer for answer in found if answer.value]) == len(server.seen) == 5
        assert endpoint.budget.money == pytest.approx(0.01)


def test_the_protocol_of_openais_embeddings_and_rows_of_norm_1() -> None:
    rows = [{"index": 1, "embedding": [0, 2.0]}, {"index": 0, "embedding": [3.0, 4.0]}]
    told = {"object": "list", "data": rows, "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    with encoder(lambda *_: Reply(told), extra={"dimensions": 2}) as (server, endpoint):
        (answer,) = endpoint.ask([("one", "two")])
    assert server.seen[0].path == "/v1/embeddings"
    assert server.seen[0].body == {
        "model": "embed-1",
        "input": ["one", "two"],
        "encoding_format": "float",
        "dimensions": 2,
    }
    np.testing.assert_allclose(answer.value, [[0.6, 0.8], [0.0, 1.0]], atol=1e-6)
    assert answer.value.dtype == np.float32
    assert answer.tokens == Tokens(5, 0, 1)


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [float("inf")]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": n, "embedding": [1.0]} for n in range(3)],
        [{"index": float("inf"), "embedding": [1.0]}] * 2,
        [{"index": n, "embedding": [10**400]} for n in range(2)],
        "none",
    ],
)
def test_vectors_that_are_none_are_asked_for_again(data: Any) -> None:
    good = [{"index": n, "embedding": [1.0]} for n in range(2)]
    with encoder(lambda _, before: Reply({"data": good if before else data})) as (server, endpoint):
        (answer,) = endpoint.ask([("one", "two")])
    assert answer.value.tolist() == [[1.0], [1.0]]
    assert len(server.seen) == 2


def test_a_cost_that_no_server_can_mean_is_taken_for_none() -> None:
    told = {**cohere((0, 1.0), (1, 2.0), (2, 3.0)), "usage": {"total_tokens": 10**400}}
    with reranker(lambda *_: Reply(told), prompt_price=1.0, budget_money=1.0) as (_, endpoint):
        (answer,) = endpoint.ask([GROUP])
    assert answer.tokens == Tokens(3 * 4 + 3, 0, 1)
