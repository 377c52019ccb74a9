"""The prompt of the language model, and how its runtime is asked. The runtime is a fake here."""

import sys
from types import SimpleNamespace

import pytest

from tamis.errors import MissingPartError, ModelError
from tamis.generators.llama import LlamaGenerator, few_shot_prompt, load_shots, prompt_hash, shot_queries
from tamis.records import Document

LANGUAGES = {"en", "de", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh", "es"}


class FakeServer:
    """Stands for the runtime's server: keeps the requests and answers with the next of `answers`."""

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


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "tiny-model.gguf"
    file.write_bytes(b"GGUF")
    return file


def test_there_are_three_distinct_shots_in_each_language():
    shots = load_shots()
    assert set(shots) == LANGUAGES
    assert all(len(entry.pairs) == 3 for entry in shots.values())
    assert len(shot_queries()) == 3 * len(LANGUAGES)


def test_the_prompt_holds_the_document_and_the_shots_of_its_language():
    shots = load_shots()
    prompt = few_shot_prompt(Document("d", "长城很长。\n它建于明朝。", "zh-cn"), shots)
    assert prompt.endswith("文章: 长城很长。它建于明朝。\n问题:")
    assert all(passage in prompt and question in prompt for passage, question in shots["zh"].pairs)
    assert prompt.count("\n\n") == 3


def test_a_language_without_shots_gets_the_english_ones():
    assert few_shot_prompt(Document("d", "Tere maailm.", "et"), load_shots()).startswith("Passage: ")


def test_a_long_passage_ends_with_a_sentence_after_at_most_700_characters():
    sentence = "Der Nil fließt durch elf Länder."
    prompt = few_shot_prompt(Document("d", " ".join([sentence] * 100), "de"), load_shots())
    passage = prompt.rsplit("Text: ", 1)[1].removesuffix("\nFrage:")
    assert 600 < len(passage) <= 700
    assert passage == " ".join([sentence] * (len(passage) // len(sentence)))


def test_a_single_long_sentence_is_cut():
    prompt = few_shot_prompt(Document("d", "長" * 5000, "ja"), load_shots())
    assert prompt.endswith("文章: " + "長" * 700 + "\n質問:")


def test_the_prompt_hash_is_12_hexadecimal_digits():
    assert len(prompt_hash()) == 12
    assert int(prompt_hash(), 16) >= 0


def test_the_model_is_asked_about_one_document_at_a_time(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "xllamacpp", fake_runtime(FakeServer))
    with LlamaGenerator(model, threads=2) as generator:
        server = generator._server
        assert generator.name == "tiny-model"
        assert generator.prompt == prompt_hash()
        assert generator(Document("1", "Alpha eins.", "de"), seed=4) == "wie lang ist der Nil"
        generator(Document("2", "Beta zwei.", "de"), seed=7)
    first, second = server.requests
    assert "Alpha" in first["prompt"]
    assert "Alpha" not in second["prompt"]
    assert (first["temperature"], first["seed"]) == (0.2, 4)
    assert (second["temperature"], second["seed"]) == (0.8, 7)
    assert first["stop"] == ["\n"]
    assert server.parameters.cpuparams.n_threads == 2
    assert generator._server is None


def test_an_answer_without_text_names_the_document(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "xllamacpp", fake_runtime(BrokenServer))
    generator = LlamaGenerator(model, threads=1)
    with pytest.raises(ModelError, match=r"tiny-model: no query for document 'd7', but .*context too small"):
        generator(Document("d7", "Text.", "de"), seed=0)


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
    with pytest.raises(MissingPartError, match=r"none\.gguf: no such file; expected a language model in GGUF form"):
        LlamaGenerator(tmp_path / "none.gguf", threads=1)
