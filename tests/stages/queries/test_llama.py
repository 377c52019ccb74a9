"""How llama.cpp is asked in this process. The runtime is a fake here; `test_real_model.py` has a real one."""

import sys
from types import SimpleNamespace

import pytest

from tamis.errors import MissingPartError, ModelError
from tamis.records import Document, Prompt, QueryAnswer, QueryRequest
from tamis.stages.queries.writers.llama import LlamaGenerator


class FakeServer:
    """Stands for the runtime's server: keeps the requests and answers with a query."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.requests = []

    def handle_completions(self, request):
        self.requests.append(request)
        return {"choices": [{"text": " wie lang ist der Nil "}]}


class BrokenServer(FakeServer):
    def handle_completions(self, request):
        return {"error": {"message": "context too small"}}


def fake_runtime(server):
    def parameters():
        return SimpleNamespace(
            model=SimpleNamespace(path=""), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
        )

    return SimpleNamespace(CommonParams=parameters, Server=server)


def request(place, doc_id, seed, temperature):
    return QueryRequest(
        place, Document(doc_id, "Text.", "de"), seed, "question", Prompt(f"{doc_id}:", "h"), temperature
    )


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "tiny-model.gguf"
    file.write_bytes(b"GGUF")
    return file


def test_the_model_is_asked_about_one_document_at_a_time(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "xllamacpp", fake_runtime(FakeServer))
    with LlamaGenerator(model, threads=2) as generator:
        server = generator._server
        assert generator.name == "tiny-model"
        answers = list(generator.write([request(0, "alpha", 4, 0.2), request(1, "beta", 7, 0.8)]))
    assert answers == [QueryAnswer(place, "wie lang ist der Nil") for place in (0, 1)]
    assert server.requests == [
        {"prompt": "alpha:", "max_tokens": 64, "temperature": 0.2, "seed": 4, "stop": ["\n"]},
        {"prompt": "beta:", "max_tokens": 64, "temperature": 0.8, "seed": 7, "stop": ["\n"]},
    ]
    assert server.parameters.cpuparams.n_threads == 2
    assert generator._server is None


def test_an_answer_without_text_names_the_document(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "xllamacpp", fake_runtime(BrokenServer))
    generator = LlamaGenerator(model, threads=1)
    with pytest.raises(ModelError, match=r"tiny-model: no query for document 'd7', but .*context too small"):
        list(generator.write([request(0, "d7", 0, 0.2)]))


def test_a_file_that_cannot_be_loaded_is_named(monkeypatch, model):
    def server(parameters):
        raise RuntimeError("bad magic")

    monkeypatch.setitem(sys.modules, "xllamacpp", fake_runtime(server))
    with pytest.raises(ModelError, match=r"tiny-model\.gguf: cannot be loaded .*bad magic.*check the file"):
        LlamaGenerator(model, threads=1)


def test_a_missing_runtime_says_what_to_install(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingPartError, match=r"pip install 'tamis\[llm\]'"):
        LlamaGenerator(model, threads=1)


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(MissingPartError, match=r"none\.gguf not found; name a GGUF file"):
        LlamaGenerator(tmp_path / "none.gguf", threads=1)
