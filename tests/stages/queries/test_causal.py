"""A causal language model in this process: a tiny real one, made here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from tamis.errors import ModelError
from tamis.records import Document, Prompt, QueryRequest
from tamis.stages.queries.writers.causal import CausalGenerator, draw
from tests.families import lively, qwen3_config, tokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = ["install a package", "print", "Wie drucke ich ein Dokument? Das Dokument geht an den Drucker.", "root " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-causal"
    words = tokenizer(folder)
    model = lively(Qwen3ForCausalLM(qwen3_config(words)), seed=1)
    with torch.no_grad():
        model.lm_head.weight.mul_(4)  # type: ignore[union-attr,operator]  # tied: sharp enough to differ from chance
    model.save_pretrained(folder)  # type: ignore[operator]
    return folder


def load(folder: Path, mode: Any = "completion", budget: int = 2048) -> CausalGenerator:
    return CausalGenerator(folder, mode, "float32", torch.device("cpu"), budget)


def requests(temperature: float) -> list[QueryRequest]:
    return [
        QueryRequest(n, Document(f"d{n}", text, "en"), 11 * n + seed, "question", Prompt(text, "h"), temperature)
        for n, (text, seed) in enumerate((text, seed) for text in TEXTS for seed in range(2))
    ]


def written(generator: CausalGenerator, asked: list[QueryRequest]) -> list[str]:
    answers = {answer.place: answer.text for answer in generator.write(asked)}
    assert len(answers) == len(asked)
    return [answers[request.place] for request in asked]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_document_and_seed_decide_the_query_whatever_the_batch(folder: Path, temperature: float) -> None:
    asked = requests(temperature)
    together = written(load(folder), asked)
    assert written(load(folder, budget=64), asked[::-1]) == together[::-1]  # one or two at a time
    assert len(set(together)) > (4 if temperature else 1)
    if temperature:
        assert len(set(together[:2])) > 1  # other seeds, other queries
    else:
        assert len(set(together[:2])) == 1


def test_without_heat_it_writes_what_transformers_writes(folder: Path) -> None:
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    for request, text in zip(requests(0.0)[::4], written(load(folder), requests(0.0)[::4]), strict=True):
        ids = words(request.prompt.text, return_tensors="pt")
        found = model.generate(**ids, max_new_tokens=64, do_sample=False, pad_token_id=0)[0, ids.input_ids.shape[1] :]
        assert text == words.decode(found, skip_special_tokens=True).partition("\n")[0].strip()


def test_a_chat_is_asked_in_the_models_own_form(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no chat template; set queries\.transformers\.mode to completion"):
        load(folder, "chat")
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    words.chat_template = CHAT_TEMPLATE
    for part in (words, model):
        part.save_pretrained(tmp_path / "chatty")
    generator = load(tmp_path / "chatty", "chat")
    (request,) = requests(0.0)[:1]
    shown = words.decode(generator._tokens(request))
    assert shown == "<|im_start|>user\ninstall a package<|im_end|>\n<|im_start|>assistant\n"
    assert written(generator, [request]) == written(generator, [request])
    assert generator.name == "chatty"


def test_the_draws_follow_the_model(folder: Path) -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, -9.0]])
    heat, count = 0.7, 4000
    uniforms = torch.rand(count, generator=torch.Generator().manual_seed(1)).tolist()
    drawn = draw(logits.expand(count, -1), [heat] * count, uniforms)
    found = torch.bincount(drawn, minlength=5)
    expected = torch.softmax(logits[0].double() / heat, -1)
    expected[expected < 0.05 * expected.max()] = 0
    assert found[expected == 0].sum() == 0
    kept = expected > 0
    expected = expected[kept] / expected[kept].sum() * count
    assert stats.chisquare(found[kept].numpy(), expected.numpy()).pvalue > 0.001


def test_a_draw_stays_within_the_vocabulary_and_no_heat_takes_the_best() -> None:
    logits = torch.tensor([[0.0, 3.0, -50.0]] * 3)
    assert draw(logits, [0.0, 1.0, 1.0], [0.999999, 0.0, 1 - 1e-16]).tolist()[0] == 1
    assert all(token < 2 for token in draw(logits, [0.0, 1.0, 1.0], [0.999999, 0.0, 1 - 1e-16]).tolist())


def test_a_prompt_that_does_not_fit_is_refused(folder: Path) -> None:
    long = QueryRequest(0, Document("d9", "x", "en"), 1, "question", Prompt("xyz " * 500, "h"), 0.2)
    with pytest.raises(
        ModelError, match=r"tiny-causal: reads 512 tokens, and the prompt for document 'd9' has \d+ and"
    ):
        list(load(folder).write([long]))


def test_pickled_weights_and_other_things_are_refused(folder: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled: no \.safetensors weights in this folder"):
        load(pickled)
    with pytest.raises(ModelError, match="not a model folder"):
        load(tmp_path / "none")
    with pytest.raises(ModelError, match=str(tiny_encoder)):
        load(tiny_encoder)
