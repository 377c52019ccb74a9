"""Documents that are longer than the model reads: what each dialect's fields do, against the offline reranker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer

from tamis import Reranker
from tamis.models.windows import Windows
from tamis.serving.limits import Limits
from tests.conftest import TOPICS
from tests.serving.running import Running, served

QUERY = "How do I install a package?"
ANSWERS = [answer for _, answer in TOPICS["en"]]
LONG = " ".join([*ANSWERS[1:], *ANSWERS[1:], ANSWERS[0], *ANSWERS[1:]])
DOCUMENTS = [ANSWERS[3], LONG, ANSWERS[0], " ".join(ANSWERS)]


@pytest.fixture(scope="module")
def rerankers(warm_folder: Path, stock_folder: Path) -> dict[str, Reranker]:
    return {"warm": Reranker(warm_folder), "stock": Reranker(stock_folder, max_tokens=64)}


@pytest.fixture(scope="module")
def cutting(warm_folder: Path, stock_folder: Path) -> Iterator[Running]:
    with served({"warm": warm_folder, "stock": Reranker(stock_folder, max_tokens=64)}) as running:
        yield running


@pytest.fixture(scope="module")
def reading(warm_folder: Path, stock_folder: Path) -> Iterator[Running]:
    models = {"warm": warm_folder, "stock": Reranker(stock_folder, max_tokens=64)}
    with served(models, queue_pairs=100, long="windows") as running:
        yield running


@pytest.fixture(params=["warm", "stock"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def windows(reranker: Reranker, document: Any, query: str = QUERY) -> list[tuple[str, str]]:
    return Windows(reranker.serializer, reranker.tokenizer)(query, document)


def scores(hits: list[dict[str, Any]], field: str = "relevance_score") -> list[float]:
    """In the order of the documents."""
    return [hit[field] for hit in sorted(hits, key=lambda hit: hit["index"])]


def asked(name: str, **more: Any) -> dict[str, Any]:
    return {"model": name, "query": QUERY, "documents": DOCUMENTS, **more}


def tokens_of(reranker: Reranker, pairs: list[tuple[str, str]]) -> int:
    """By transformers' tokenizer, of pairs that fit."""
    words, reads = AutoTokenizer.from_pretrained(reranker.path), reranker.serializer
    if reranker.family == "warm":
        texts = [text for q, d in pairs for text in (reads.query_prefix + q, reads.document_prefix + d)]
        return sum(len(words(text)["input_ids"]) for text in texts)
    return sum(len(words(*pair)["input_ids"]) for pair in pairs)


# Cohere


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_so_many_chunks_of_a_document_are_read_and_the_best_counts(cutting: Running, rerankers, name, most):
    offline = rerankers[name]
    answer = cutting.post("/v1/rerank", asked(name, max_chunks_per_doc=most)).json()
    kept = [windows(offline, one)[:most] for one in DOCUMENTS] if most > 1 else [[(QUERY, one)] for one in DOCUMENTS]
    expected = [offline.predict(pairs).max() for pairs in kept]
    assert scores(answer["results"]) == pytest.approx(expected, abs=1e-5)
    cut = [n for n, one in enumerate(DOCUMENTS) if len(windows(offline, one)) > most]
    assert answer["meta"].get("truncated", []) == cut
    if most > 1:
        assert answer["meta"]["tokens"]["input_tokens"] == tokens_of(offline, [pair for of in kept for pair in of])


def test_the_second_version_refuses_chunks_and_takes_tokens(cutting: Running, reading: Running, rerankers):
    answer = cutting.post("/v2/rerank", asked("stock", max_chunks_per_doc=3))
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        "unknown field: parameter 'max_chunks_per_doc' is not a valid field",
    )
    offline, words = rerankers["stock"], AutoTokenizer.from_pretrained(rerankers["stock"].path)
    for tokens in (20, 90):
        ends = words(LONG, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        start = LONG[: ends[tokens - 1][1]]
        answer = reading.post("/v2/rerank", asked("stock", documents=[LONG, "a b"], max_tokens_per_doc=tokens)).json()
        expected = offline.predict([(QUERY, start), (QUERY, "a b")], long="windows")
        assert scores(answer["results"]) == pytest.approx(expected, abs=1e-5)
        assert answer["meta"]["truncated"] == [0]


def test_a_title_stands_in_every_window_of_a_document_that_is_cut_to_its_tokens(reading: Running, rerankers):
    document = {"title": "kernel modules", "text": LONG}
    words = AutoTokenizer.from_pretrained(rerankers["stock"].path)
    ends = words(LONG, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    of_title = len(words(document["title"], add_special_tokens=False)["input_ids"])
    start = {**document, "text": LONG[: ends[90 - of_title - 1][1]]}
    found = reading.post("/v1/rerank", asked("stock", documents=[document], max_tokens_per_doc=90)).json()["results"]
    assert scores(found) == pytest.approx([rerankers["stock"].predict((QUERY, start), long="windows")], abs=1e-5)


# A server that reads windows


def test_windows_are_read_for_whoever_asks(reading: Running, rerankers, name):
    offline = rerankers[name]
    ranked = offline.rank(QUERY, DOCUMENTS, long="windows")
    order, expected = [hit["corpus_id"] for hit in ranked], [hit["score"] for hit in ranked]
    for path, more in (("/v2/rerank", {}), ("/v1/rerank", {"truncation": False}), ("/rerank", {})):
        found = reading.post(path, asked(name, **more)).json()["results"]
        assert [hit["index"] for hit in found] == order
        assert [hit["relevance_score"] for hit in found] == pytest.approx(expected, abs=1e-5)
    tei = {"model": name, "query": QUERY, "texts": DOCUMENTS, "truncate": False}
    assert [hit["index"] for hit in reading.post("/rerank", tei).json()] == order
    pairs = [pair for one in DOCUMENTS for pair in windows(offline, one)]
    answer = reading.post("/score", {"model": name, "text_1": QUERY, "text_2": DOCUMENTS})
    assert scores(answer.json()["data"], "score") == pytest.approx(
        offline.predict([(QUERY, one) for one in DOCUMENTS], long="windows"), abs=1e-5
    )
    assert answer.json()["usage"]["total_tokens"] == tokens_of(offline, pairs)
    assert answer.headers["x-truncated-docs"] == "0"
    one = reading.post("/v1/rerank", asked(name, max_chunks_per_doc=1)).json()
    assert scores(one["results"]) == pytest.approx(offline.predict([(QUERY, d) for d in DOCUMENTS]), abs=1e-5)


def test_what_a_model_does_with_long_documents_is_told(cutting: Running, reading: Running):
    for running, long in ((cutting, "first"), (reading, "windows")):
        assert {model["long"] for model in running.get("/v1/models").json()["data"]} == {long}


def test_windows_count_in_the_queue(reading: Running):
    answer = reading.post("/v2/rerank", asked("stock", documents=[f" {n} ".join(LONG.split()) for n in range(30)]))
    assert answer.status_code == 422
    assert answer.json()["message"] == (
        "the documents are read in more than 100 windows, as many as may wait; send fewer or shorter ones, or limit "
        "their windows"
    )
    assert {engine.pairs for engine in reading.service.engines.values()} == {0}


# vLLM, Voyage, TEI


@pytest.mark.parametrize("tokens", [12, 40, 64])
def test_the_prompt_is_cut_as_transformers_cuts_it(cutting: Running, stock_folder: Path, tokens: int):
    answer = cutting.post("/rerank", asked("stock", truncate_prompt_tokens=tokens)).json()
    pairs = [(QUERY, one) for one in DOCUMENTS]
    expected = CrossEncoder(str(stock_folder), max_length=tokens).predict(pairs)
    assert scores(answer["results"]) == pytest.approx(expected, abs=1e-5)
    words = AutoTokenizer.from_pretrained(stock_folder)
    read = sum(len(words(*pair, truncation=True, max_length=tokens)["input_ids"]) for pair in pairs)
    assert answer["usage"]["prompt_tokens"] == read


def test_no_more_of_the_prompt_than_was_said_is_read_where_texts_are_read_apart(reading: Running):
    answer = reading.post("/score", {"model": "warm", "text_1": QUERY, "text_2": LONG, "truncate_prompt_tokens": 25})
    assert answer.json()["usage"]["total_tokens"] == 25
    assert answer.headers["x-truncated-docs"] == "1"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (0, "truncate_prompt_tokens: got 0, expected at least 1, or -1"),
        (-2, "truncate_prompt_tokens: expected greater than or equal to -1"),
        (65, "truncate_prompt_tokens: got 65, expected at most 64, which is all that the model reads, or -1 for that"),
        (3, "3 tokens of a pair are too few, expected at least 6"),
    ],
)
def test_prompts_of_a_length_that_cannot_be(cutting: Running, tokens: int, message: str):
    answer = cutting.post("/rerank", asked("stock", truncate_prompt_tokens=tokens))
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def test_minus_one_and_truncation_cut_where_the_model_reads_no_more(cutting: Running, rerankers, name):
    expected = rerankers[name].predict([(QUERY, one) for one in DOCUMENTS])
    for path, more in (("/rerank", {"truncate_prompt_tokens": -1}), ("/v1/rerank", {"truncation": True})):
        answer = cutting.post(path, asked(name, **more))
        assert scores(answer.json()["results"]) == pytest.approx(expected, abs=1e-5)
        assert answer.headers["x-truncated-docs"] == "2"
    refused = cutting.post("/v1/rerank", asked(name, truncation=False))
    assert (refused.status_code, refused.json()) == (
        422,
        {"detail": "document 1 is too long, and truncation was not allowed"},
    )


@pytest.mark.parametrize(
    ("path", "field", "value", "message"),
    [
        ("/rerank", "max_chunks_per_doc", 3, "max_chunks_per_doc: unknown field in a body of vllm; what is read, say "),
        ("/rerank", "truncation", False, "truncation: unknown field in a body of vllm; what is read, say "),
        ("/score", "truncate", False, "truncate: unknown field in a body of vllm-score; what is read, say "),
        ("/v1/rerank", "truncate", False, "truncate: unknown field in a body of jina; what is read, say "),
        ("/rerank", "truncation_side", "left", "truncation_side: texts are cut on the right only"),
    ],
)
def test_fields_about_what_is_read_are_never_ignored(cutting: Running, path, field, value, message):
    body = asked("warm", **{field: value}) | {"items": DOCUMENTS, "queries": QUERY}
    answer = cutting.post(path, body)
    assert answer.status_code in (400, 422)
    told = answer.json().get("detail") or answer.json()["error"]["message"]
    assert told.startswith(message)
    if "unknown" in message:
        assert "max_tokens_per_doc" in told
    tei = cutting.post("/rerank", {"query": QUERY, "texts": DOCUMENTS, "truncation_direction": "Left"})
    assert (tei.status_code, tei.json()["error"]) == (422, "truncation_direction: texts are cut on the right only")


# More characters than the server takes


@pytest.fixture(scope="module")
def narrow(stock_folder: Path) -> Iterator[Running]:
    with served({"stock": Reranker(stock_folder)}, Limits(characters=60)) as running:
        yield running


def test_a_document_of_too_many_characters_is_cut_to_them_and_told_as_its_service_does(narrow: Running, rerankers):
    """Cohere and Jina cut long documents, TEI and Voyage do unless they are told not to."""
    documents = [ANSWERS[0][:50], "x" * 20 + " " + ANSWERS[1] * 3]
    expected = Reranker(rerankers["stock"].path).predict([(QUERY, one[:60]) for one in documents])
    asked = {"model": "stock", "query": QUERY, "documents": documents}
    for path in ("/v2/rerank", "/v1/rerank"):
        answer = narrow.post(path, {**asked, "return_documents": True})
        assert scores(answer.json()["results"]) == pytest.approx(expected, abs=1e-5)
        assert answer.json()["meta"]["truncated"] == [1]
        assert answer.json()["meta"]["warnings"] == ["1 of 2 documents were too long and cut: 1"]
        echoed = {hit["index"]: hit["document"]["text"] for hit in answer.json()["results"]}
        assert echoed == dict(enumerate(documents))  # what came, not what was read
    tei = narrow.post("/rerank", {"query": QUERY, "texts": documents, "truncate": True})
    assert scores(tei.json(), "score") == pytest.approx(expected, abs=1e-5)
    assert tei.headers["x-truncated-docs"] == "1"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"texts": ["a", "x" * 61], "truncate": False}, "error"),
        ({"documents": ["a", "x" * 61], "truncation": False}, "detail"),
    ],
)
def test_who_forbids_cutting_is_refused_by_the_number_of_characters(narrow: Running, body, field):
    answer = narrow.post("/v1/rerank", {"query": QUERY, **body})
    assert answer.status_code == 422
    assert answer.json()[field] == "document 1 has 61 characters, at most 60 are taken, and truncation was not allowed"
