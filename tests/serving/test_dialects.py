"""Bodies as real clients send them, over a real socket, against the offline reranker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import httpx2
import numpy as np
import pytest

from tamis import Reranker
from tests.conftest import TOPICS
from tests.families import build_yes_no
from tests.serving.running import Running, served

QUERY = "How do I install a package?"
DOCUMENTS = [answer for _, answer in TOPICS["en"]]
LONG = " ".join(DOCUMENTS)


@pytest.fixture(scope="module")
def offline(warm_folder: Path) -> Reranker:
    return Reranker(warm_folder)


@pytest.fixture(scope="module")
def yes_no(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_yes_no(tmp_path_factory.mktemp("serving") / "yes-no")


@pytest.fixture(scope="module")
def server(warm_folder: Path, yes_no: Path) -> Iterator[Running]:
    with served({"tiny": warm_folder, "instructed": yes_no}) as running:
        yield running


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """What cohere's client sends with; it leaves one of its own open."""
    with httpx.Client() as client:
        yield client


@pytest.fixture(scope="module")
def expected(offline: Reranker) -> np.ndarray:
    found: np.ndarray = offline.predict([(QUERY, document) for document in DOCUMENTS])
    return found


@pytest.fixture(scope="module")
def best_first(offline: Reranker) -> list[int]:
    return [hit["corpus_id"] for hit in offline.rank(QUERY, DOCUMENTS)]


def body(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "query": QUERY, "documents": DOCUMENTS, **more}


def test_the_real_cohere_client_gets_the_offline_scores_and_order(server: Running, http, expected, best_first):
    client = cohere.ClientV2("no key", base_url=server.url, httpx_client=http)
    found = client.rerank(model="tiny", query=QUERY, documents=DOCUMENTS, top_n=3)
    assert [hit.index for hit in found.results] == best_first[:3]
    assert [hit.relevance_score for hit in found.results] == pytest.approx(expected[best_first[:3]], abs=1e-5)
    assert found.meta.api_version.version == "2"
    assert found.meta.billed_units.search_units == 1


def test_the_first_version_of_the_cohere_client_reads_answers_in_jinas_place(
    server: Running, http, expected, best_first
):
    client = cohere.Client("no key", base_url=server.url, httpx_client=http)
    found = client.rerank(model="tiny", query=QUERY, documents=DOCUMENTS, return_documents=True)
    assert [hit.index for hit in found.results] == best_first
    assert found.results[0].document.text == DOCUMENTS[best_first[0]]
    objects = [{"title": "x", "body": text} for text in DOCUMENTS]
    found = client.rerank(model="tiny", query=QUERY, documents=objects, rank_fields=["body"])
    assert [hit.relevance_score for hit in found.results] == pytest.approx(expected[best_first], abs=1e-5)
    assert found.results[0].document is None


def test_what_litellm_sends_is_understood(server: Running, expected, best_first):
    """Its Cohere transformation always asks the second version for the documents."""
    answer = server.post("/v2/rerank", body(return_documents=True, top_n=1)).json()
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[best_first[0]]}
    assert "document" not in server.post("/v2/rerank", body()).json()["results"][0]


def test_a_field_that_is_named_often_is_read_once(server: Running):
    fields = {"documents": [{"a": "one", "b": "two"}], "return_documents": True}
    answer = server.post("/v1/rerank", body(**fields, rank_fields=["b", "a", "b"] * 1000)).json()
    assert answer["results"][0]["document"] == {"text": "two\none"}


def test_cohere_errors(server: Running, http):
    with pytest.raises(cohere.UnprocessableEntityError) as unknown:
        cohere.ClientV2("no key", base_url=server.url, httpx_client=http).rerank(
            model="tiny", query=QUERY, documents=DOCUMENTS, request_options={"additional_body_parameters": {"top_k": 3}}
        )
    assert unknown.value.body["message"] == "unknown field: parameter 'top_k' is not a valid field"
    assert unknown.value.body.keys() == {"id", "message"}
    for change, message in [
        ({"documents": []}, "invalid request: list of documents must not be empty"),
        ({"query": " "}, "invalid request: query must not be empty or be only whitespace"),
    ]:
        answer = server.post("/v2/rerank", body(**change))
        assert (answer.status_code, answer.json()["message"]) == (400, message)
    answer = server.post("/v2/rerank", body(model="rerank-v9"))
    assert answer.status_code == 404
    assert answer.json()["message"] == "model 'rerank-v9' is not served here; there are tiny, instructed"


def test_jina_echoes_documents_unless_told_otherwise(server: Running, expected, best_first):
    documents = [{"text": text} if place % 2 else text for place, text in enumerate(DOCUMENTS)]
    answer = server.post("/v1/rerank", body(documents=documents, top_n=2)).json()
    assert [hit["document"]["text"] for hit in answer["results"]] == [DOCUMENTS[i] for i in best_first[:2]]
    assert answer["results"][0]["relevance_score"] == pytest.approx(expected[best_first[0]], abs=1e-5)
    assert answer["model"] == "tiny"
    assert answer["usage"]["total_tokens"] > len(DOCUMENTS)
    silent = server.post("/v1/rerank", body(return_documents=False, top_k=1)).json()
    assert silent["results"] == [{"index": best_first[0], "relevance_score": answer["results"][0]["relevance_score"]}]
    assert server.post("/v1/rerank", body(documents=["a", 3])).json() == {
        "detail": "documents.1: expected a valid string or an object"
    }
    assert server.post("/v1/rerank", body(documents=[])).status_code == 422


def test_voyages_client_finds_what_it_reads(server: Running, expected, best_first):
    """Its reference: `data` with index, score and, if asked for, the document's text; `usage.total_tokens`."""
    sent = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS, "top_k": None, "truncation": True}  # its package's
    answer = server.post("/v1/rerank", sent).json()
    assert answer["object"] == "list"
    assert [hit["index"] for hit in answer["data"]] == best_first
    assert [hit["relevance_score"] for hit in answer["data"]] == pytest.approx(expected[best_first], abs=1e-5)
    assert answer["usage"]["total_tokens"] > 0
    best = server.post("/v1/rerank", sent | {"top_k": 1, "return_documents": True}).json()["data"]
    score = answer["data"][0]["relevance_score"]
    assert best == [{"index": best_first[0], "relevance_score": score, "document": DOCUMENTS[best_first[0]]}]
    plain = server.post("/v1/rerank", body(top_n=1)).json()  # perhaps Voyage's: documents come once
    assert plain["data"] == [{"index": best_first[0], "relevance_score": score}]


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
@pytest.mark.parametrize("number", ["2", 2.0])
def test_servers_in_python_read_numbers_and_flags_from_texts(server: Running, path: str, number: Any, best_first):
    """Theirs are pydantic's types, which do; RAGFlow sends `return_documents: "true"` to any server like Xinference."""
    answer = server.post(path, body(top_n=number, return_documents="true", return_len="true", raw_scores="false"))
    assert [hit["index"] for hit in answer.json()["results"]] == best_first[:2]
    for wrong in ({"top_n": "two"}, {"top_n": 1.5}, {"raw_scores": "perhaps"}):
        assert server.post(path, body(**wrong)).status_code == (422 if path == "/v1/rerank" else 400)
    assert server.post("/v2/rerank", body(top_n="2")).status_code == 422  # Cohere's own refuses it


def test_what_is_null_is_as_if_it_were_not_there(server: Running, best_first):
    nothing = {"top_n": None, "return_documents": None, "raw_scores": None, "max_tokens_per_doc": None}
    for path, more in [("/v2/rerank", {}), ("/v1/rerank", {"max_chunks_per_doc": None}), ("/rerank", {"user": None})]:
        answer = server.post(path, body(**nothing, **more))
        assert [hit["index"] for hit in answer.json()["results"]] == best_first


def test_tei_answers_a_bare_array(server: Running, offline: Reranker, expected, best_first):
    answer = server.post("/rerank", {"query": QUERY, "texts": DOCUMENTS, "return_text": True}).json()
    assert [rank["index"] for rank in answer] == best_first
    assert [rank["score"] for rank in answer] == pytest.approx(expected[best_first], abs=1e-5)
    assert answer[0]["text"] == DOCUMENTS[best_first[0]]
    raw = server.post("/rerank", {"query": QUERY, "texts": DOCUMENTS, "raw_scores": True}).json()
    logits = offline.score_pairs([(QUERY, text) for text in DOCUMENTS]).logits
    assert [rank["score"] for rank in raw] == pytest.approx(logits[best_first], abs=1e-5)
    assert raw[0].keys() == {"index", "score"}


def test_tei_errors(server: Running):
    empty = server.post("/rerank", {"query": QUERY, "texts": []})
    assert (empty.status_code, empty.json()) == (
        400,
        {"error": "list of texts must not be empty", "error_type": "Empty"},
    )
    wrong = server.post("/rerank", {"query": QUERY, "texts": [1]})
    assert (wrong.status_code, wrong.json()) == (
        422,
        {"error": "texts.0: expected a valid string or an object", "error_type": "Validation"},
    )
    long = server.post("/rerank", {"query": QUERY, "texts": [DOCUMENTS[0], LONG], "truncate": False})
    assert (long.status_code, long.json()["error"]) == (
        422,
        "document 1 is too long, and truncation was not allowed",
    )


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_vllm_reranks_under_any_version(server: Running, path: str, expected, best_first):
    answer = server.post(path, body(user="me", top_n=0, nonsense=1)).json()
    assert answer["id"].startswith("score-")
    assert [hit["index"] for hit in answer["results"]] == best_first
    assert answer["results"][0] == {
        "index": best_first[0],
        "document": {"text": DOCUMENTS[best_first[0]], "multi_modal": None},
        "relevance_score": pytest.approx(expected[best_first[0]], abs=1e-5),
    }
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize(
    ("one", "other"), [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")]
)
def test_vllm_scores_in_the_order_of_the_request(server: Running, path, one, other, expected):
    answer = server.post(path, {one: QUERY, other: DOCUMENTS}).json()
    assert [one["index"] for one in answer["data"]] == list(range(len(DOCUMENTS)))
    assert [one["score"] for one in answer["data"]] == pytest.approx(expected, abs=1e-5)
    assert answer["object"] == "list"
    assert answer["data"][0]["object"] == "score"


def test_vllm_scores_as_many_to_as_many(server: Running, offline: Reranker):
    queries = [question for question, _ in TOPICS["en"]]
    answer = server.post("/score", {"text_1": queries, "text_2": DOCUMENTS}).json()
    expected = offline.predict(list(zip(queries, DOCUMENTS, strict=True)))
    assert [one["score"] for one in answer["data"]] == pytest.approx(expected, abs=1e-5)
    wrong = server.post("/score", {"text_1": queries[:2], "text_2": DOCUMENTS[:3]})
    assert wrong.status_code == 400
    assert wrong.json() == {
        "error": {
            "message": "2 texts on the first side, 3 on the second",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    }


def test_instructions_reach_the_models_that_take_one(server: Running, yes_no: Path):
    asked = body(model="instructed", instruction="Find the opposite", documents=DOCUMENTS[:3])
    found = {hit["index"]: hit["relevance_score"] for hit in server.post("/v2/rerank", asked).json()["results"]}
    pairs = [(QUERY, text) for text in DOCUMENTS[:3]]
    expected = Reranker(yes_no).predict(pairs, prompt="Find the opposite")
    assert [found[i] for i in range(3)] == pytest.approx(expected, abs=1e-5)
    assert (
        server.post("/v2/rerank", body(instruction="Find"))
        .json()["message"]
        .startswith("this model takes no instruction")
    )


def test_documents_that_are_cut_are_reported(server: Running, offline: Reranker):
    answer = server.post("/v2/rerank", body(documents=["short", LONG]))
    assert answer.json()["meta"]["warnings"] == ["1 of 2 documents were too long and cut: 1"]
    assert answer.headers["x-truncated-docs"] == "1"
    answer = server.post("/v2/rerank", body(documents=DOCUMENTS[:2], max_tokens_per_doc=3))
    first_words = [" ".join(text.split()[:3]) for text in DOCUMENTS[:2]]
    expected = offline.predict([(QUERY, text) for text in first_words])
    found = {hit["index"]: hit["relevance_score"] for hit in answer.json()["results"]}
    assert [found[0], found[1]] == pytest.approx(expected, abs=1e-5)
    assert answer.headers["x-truncated-docs"] == "2"
    cut_query = server.post("/rerank", body(documents=DOCUMENTS[:1], max_tokens_per_query=2)).json()
    assert cut_query["results"][0]["relevance_score"] == pytest.approx(
        offline.predict((" ".join(QUERY.split()[:2]), DOCUMENTS[0])), abs=1e-5
    )


def test_titles_are_read_as_offline(server: Running, offline: Reranker):
    document = {"title": "kernel modules", "text": DOCUMENTS[0]}
    found = server.post("/v1/rerank", body(documents=[document], raw_scores=True)).json()["results"][0]
    assert found["relevance_score"] == pytest.approx(offline.score_pairs([(QUERY, document)]).logits[0], abs=1e-5)
    assert found["document"] == {"text": DOCUMENTS[0]}


def test_models_health_metrics_and_description(server: Running):
    models = server.get("/v1/models").json()
    assert [(model["id"], model["family"]) for model in models["data"]] == [("tiny", "warm"), ("instructed", "yes-no")]
    assert server.get("/health").json() == server.get("/ready").json() == {"status": "ok"}
    server.post("/v2/rerank", body())
    lines = server.get("/metrics").text.splitlines()
    counted = [
        line for line in lines if line.startswith('tamis_requests_total{dialect="cohere",model="tiny",status="200')
    ]
    assert float(counted[0].split()[-1]) >= 1
    described = server.get("/openapi.json").json()
    assert {"/v2/rerank", "/v1/rerank", "/rerank", "/score", "/v1/score"} <= described["paths"].keys()


def test_other_paths_and_methods_are_told_in_json(server: Running):
    assert server.get("/v3/rerank").json()["error"]["code"] == 404
    wrong = server.get("/v2/rerank")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["message"] == "GET /v2/rerank: expected POST"


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/v2/rerank/", "localhost", 200),
        ("/v2/rerank/", "elsewhere.example", 403),
        ("/health/", "localhost", 405),
        ("/elsewhere/", "elsewhere.example", 403),
    ],
)
def test_nobody_is_led_to_another_host(server: Running, path: str, host: str, status: int):
    answer = server.client.post(path, json=body(), headers={"host": host})
    assert (answer.status_code, answer.headers.get("location")) == (status, None)


def test_a_request_id_is_given_back(server: Running):
    answer = httpx2.post(f"{server.url}/v2/rerank", json=body(), headers={"x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == answer.json()["id"] == "abc-1"
    odd = httpx2.post(f"{server.url}/v2/rerank", json=body(), headers={"x-request-id": 'a"b'})
    assert odd.headers["x-request-id"] != 'a"b'


def test_texts_are_read_as_llama_cpps_server_reads_them(server: Running, expected, best_first):
    """Its README: `/v1/rerank` takes TEI's form, too, and cuts the answer to `top_n`."""
    for path in ("/rerank", "/v1/rerank"):
        answer = server.post(path, {"query": QUERY, "texts": DOCUMENTS, "top_n": 2, "return_text": True}).json()
        assert [hit["index"] for hit in answer] == best_first[:2]
        assert [hit["text"] for hit in answer] == [DOCUMENTS[place] for place in best_first[:2]]
        assert [hit["score"] for hit in answer] == pytest.approx(expected[best_first[:2]], abs=1e-5)


def test_clients_of_tei_find_what_they_split_by(server: Running, offline: Reranker):
    """Fields of its `/info` that clients read: what the server is, and how much one request may hold."""
    answer = server.get("/info").json()
    assert answer["model_id"] == "tiny"
    assert "reranker" in answer["model_type"]
    assert answer["max_input_length"] == offline.serializer.pair_tokens
    assert answer["auto_truncate"] is True
    most = answer["max_client_batch_size"]
    assert server.post("/rerank", {"query": QUERY, "texts": ["a"] * (most + 1)}).status_code == 422
    assert server.post("/rerank", {"query": QUERY, "texts": ["a"] * most}).status_code == 200


@pytest.mark.parametrize("top_k", [0, -3])
def test_what_voyages_client_sends_is_refused_so_that_it_can_read_it(server: Running, top_k: int):
    """Its package raises by `detail` alone; without `truncation`, a top_k of 0 is vLLM's for all."""
    answer = server.post("/v1/rerank", body(top_k=top_k, truncation=True))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("top_k: ")
