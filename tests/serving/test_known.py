"""Documents by id in every dialect, beside texts, from the index of the model that is asked."""

import json

import pytest

from tamis import Reranker
from tamis.errors import InputError
from tamis.models.known.indexing import index_corpus
from tamis.serving.loading import load_models
from tamis.serving.metrics import Metrics
from tamis.serving.settings import Settings
from tests.serving.running import served
from tests.serving.test_first_stage import DIALECTS, DOCUMENTS, QUERY

MIXED = [{"id": "doc-0"}, DOCUMENTS[1], {"id": "doc-2"}, *DOCUMENTS[3:]]


@pytest.fixture(scope="module")
def index(weighed_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    rows = (json.dumps({"_id": f"doc-{n}", "text": text}) + "\n" for n, text in enumerate(DOCUMENTS))
    (folder / "corpus.jsonl").write_text("".join(rows), encoding="utf-8")
    index_corpus(Reranker(weighed_folder), folder / "corpus.jsonl", folder / "index")
    return folder / "index"


@pytest.fixture(scope="module")
def server(weighed_folder, stock_folder, index):
    with served({"weighed": Reranker(weighed_folder, index=index), "plain": stock_folder}) as running:
        yield running


@pytest.mark.parametrize("dialect", DIALECTS)
def test_documents_by_id_are_ranked_beside_texts(server, dialect):
    path, body, name, read = DIALECTS[dialect]
    body = {key: value for key, value in body.items() if key != "rank_fields"}
    if dialect == "cohere-v1":
        body["max_chunks_per_doc"] = 1  # what only its first version knows
    texts, mixed = (server.post(path, {**body, name: given}) for given in (DOCUMENTS, MIXED))
    assert mixed.status_code == 200, mixed.text
    assert [index for index, _ in read(mixed.json())] == [index for index, _ in read(texts.json())]
    assert dict(read(mixed.json())) == pytest.approx(dict(read(texts.json())), abs=2e-3)


def test_the_answer_holds_the_text_of_an_id(server):
    answer = server.post(
        "/v1/rerank", {"query": QUERY, "documents": [{"id": "doc-3", "score": 2}, {"id": "doc-4", "score": 1}]}
    )
    found = {one["index"]: one["document"]["text"] for one in answer.json()["results"]}
    assert found == {0: DOCUMENTS[3], 1: DOCUMENTS[4]}


def test_an_object_with_a_text_is_its_text_whatever_id_it_has(server):
    given = [{"id": "doc-0", "text": DOCUMENTS[5]}, {"id": "of the client", "text": DOCUMENTS[0]}]
    plain = [DOCUMENTS[5], DOCUMENTS[0]]
    found, expected = (server.post("/v1/rerank", {"query": QUERY, "documents": one}).json() for one in (given, plain))
    assert found["results"] == expected["results"]


@pytest.mark.parametrize("beside", [{"text": DOCUMENTS[5], "title": 5}, {"text": 5}])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_text_beside_an_id_is_never_passed_over(server, dialect, beside):
    path, body, name, _ = DIALECTS[dialect]
    if dialect == "cohere-v1":
        return  # takes any fields that `rank_fields` does not name
    refused = server.post(path, {**body, name: ["a", {"id": "doc-0", **beside}]})
    assert refused.status_code in (400, 422), refused.text
    assert f"{name}.1: " in refused.text


def test_texts_embeddings_inference_has_no_objects_with_a_text(server):
    refused = server.post("/rerank", {"query": QUERY, "texts": ["a", {"id": "doc-0", "text": DOCUMENTS[5]}]})
    assert refused.status_code == 422
    assert refused.json()["error"] == "texts.1: expected a valid string or an object with an id and no text"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_id_that_is_not_known_is_named(server, dialect):
    path, body, name, _ = DIALECTS[dialect]
    body = {key: value for key, value in body.items() if key != "rank_fields"}
    refused = server.post(path, {**body, name: ["a", {"id": "doc-99"}]})
    assert refused.status_code in (400, 422)
    assert "document 1 is named by its id 'doc-99', but it is not in the index" in refused.text
    refused = server.post(path, {**body, "model": "plain", name: [{"id": "doc-1"}]})
    assert "there is no index of documents" in refused.text


def test_a_query_is_no_id(server):
    refused = server.post("/score", {"text_1": {"id": "doc-0"}, "text_2": ["a"]})
    assert refused.status_code == 400
    assert "expected texts, got an id" in refused.text


def test_the_list_of_models_says_how_many_documents_each_knows(server):
    found = {one["id"]: one["known_documents"] for one in server.get("/v1/models").json()["data"]}
    assert found == {"weighed": len(DOCUMENTS), "plain": 0}


def test_each_index_goes_to_its_model_and_one_of_none_is_refused(weighed_folder, stock_folder, index):
    folders = {"stock": str(stock_folder), "warm": str(weighed_folder)}
    models = load_models(folders, Settings(index=(index,)), Metrics())
    engines = {name: one.engine for name, one in models.items()}
    assert engines["stock"].reranker.index is None
    assert len(engines["warm"].reranker.index) == len(DOCUMENTS)
    for engine in engines.values():
        engine.close()
    with pytest.raises(InputError, match=r"it is of .* as it was when it read the documents, of none of stock"):
        load_models({"stock": str(stock_folder)}, Settings(index=(index,)), Metrics())
