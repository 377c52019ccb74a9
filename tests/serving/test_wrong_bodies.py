"""Whatever is sent, the answer is JSON in the dialect's shape, never a fault of the server, and the server goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tamis.serving.dialects.choosing import PATHS
from tamis.serving.dialects.dialect import Dialect
from tests.serving.running import Running, served

GOOD: dict[str, Any] = {
    "model": "m",
    "query": "a user",
    "documents": ["one", {"text": "two", "title": "three", "score": None}],
    "texts": ["one"],
    "text_1": "a user",
    "text_2": ["one", "two"],
    "top_n": 1,
    "top_k": 1,
    "return_documents": True,
    "return_text": False,
    "truncate": True,
    "raw_scores": False,
    "max_tokens_per_doc": 3,
    "max_tokens_per_query": 3,
    "instruction": "",
    "rank_fields": ["text"],
    "priority": 3,
    "first_stage": "bm25",
    "first_stage_scores": [1.5, 2],
    "truncation_side": "right",
    "truncation_direction": "right",
}
REQUIRED = {"/v2/rerank": {"model", "query", "documents"}, "/rerank": {"query"}, "/v1/rerank": {"query", "documents"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def nearly_good(draw: st.DrawFn, path: str) -> bytes:
    """A good body of which a few fields are left out, and one or two hold anything."""
    names = draw(st.sets(st.sampled_from(sorted(GOOD)), max_size=4)) | REQUIRED.get(path, {"text_1", "text_2"})
    body = {name: GOOD[name] for name in sorted(names)}
    for name in draw(st.sets(st.sampled_from(sorted(names)), max_size=2)):
        body[name] = draw(JSON)
    return json.dumps(body).encode()  # also NaN and halves of surrogate pairs, as bad clients write them


@pytest.fixture(scope="module")
def server(stock_folder: Path) -> Iterator[Running]:
    with served({"m": stock_folder}) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
def test_wrong_bodies_are_told_in_the_dialects_own_shape(server: Running, path: str):
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(nearly_good(path) | JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20))
    def send(content: bytes) -> None:
        answer = server.client.post(path, content=content)
        assert answer.status_code in (200, 400, 404, 422), answer.text
        found = answer.json()
        if answer.status_code != 200:
            said = found.get("message") or found.get("detail") or found["error"]
            assert said
        elif isinstance(found, list):
            assert all(isinstance(rank["score"], float) for rank in found)
        else:
            assert found["id"]

    send()
    assert server.get("/health").status_code == 200
    assert server.service.engines["m"].pairs == 0


@pytest.mark.parametrize("value", [[], None, 123, [1, 2, 3], "text", {}, [[]], [None], [{}], [{"text": 1}]])
def test_documents_that_are_none(server: Running, value: Any):
    for path, name in [("/rerank", "documents"), ("/rerank", "texts"), ("/v1/rerank", "documents")]:
        answer = server.post(path, {"query": "a user", name: value})
        assert answer.status_code in (400, 422)
    assert server.post("/v2/rerank", {"model": "m", "query": "a", "documents": value}).status_code in (400, 422)


DIALECTS = {dialect.name: dialect for of_path in PATHS.values() for dialect in of_path}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_the_first_wrong_item_of_a_list_ends_the_check(dialect: Dialect):
    """A body may hold millions of them; each one's own complaint held the server up for minutes."""
    for name in dialect.body.model_fields:
        with pytest.raises(ValidationError) as wrong:
            dialect.body.model_validate(GOOD | {name: [None] * 1000})
        of_field = [error for error in wrong.value.errors() if error["loc"][0] == name]
        assert 1 <= len(of_field) <= 8, name


def test_what_is_wrong_with_one_side_of_pairs_is_told_in_our_own_words(server: Running):
    for side, said in [
        (["a", 1], "text_2.1: expected a valid string or an object"),
        (
            ["a", {}],
            "text_2.1: expected a valid string or an object with the field 'text' or an object with the field 'id'",
        ),
        (1, "text_2: expected a valid list or a valid string or an object"),
    ]:
        answer = server.post("/score", {"text_1": "a user", "text_2": side})
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, said)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_description_holds_what_the_server_does(server: Running):
    """schemathesis sends what the description allows and what it does not; answers must be as described."""
    import schemathesis
    from schemathesis.checks import not_a_server_error, response_schema_conformance, status_code_conformance

    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    for operation in described.get_all_operations():

        @settings(max_examples=40, suppress_health_check=list(HealthCheck))
        @given(operation.ok().as_strategy())
        def send(case: Any) -> None:
            case.call_and_validate(checks=[not_a_server_error, response_schema_conformance, status_code_conformance])

        send()
