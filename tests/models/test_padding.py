"""Causal checkpoints and their padding tokens: what is saved scores in sentence-transformers as it scores here."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from tamis import Reranker
from tamis.exporting import export as exporting
from tamis.exporting.export import export
from tamis.exporting.graphs import write_graph
from tamis.models.checkpoint import Deployment
from tamis.models.engines.engine import ONNX
from tamis.models.padding import NEW
from tamis.models.saving import save_student
from tamis.models.sequence_student import SequenceStudent
from tests.conftest import TOPICS
from tests.families import build_causal, lively, qwen3_config, tokenizer
from tests.rerankers import logits

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
PAIRS += [("clock", ""), ("clock", "set the clock " * 20)]
LOGIT = torch.nn.Identity()


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def words_of(folder, padding, end="<|im_end|>", others=True):
    """The tiny causal tokenizer without `[CLS]` and with other special tokens; without others it knows its end only."""
    tokenizer(folder)
    content = json.loads((folder / "tokenizer.json").read_text().replace("[CLS]", "<|cls|>"))
    content["added_tokens"] = [one for one in content["added_tokens"] if others or one["content"] == end]
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token=end,
        model_max_length=512,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        **({"pad_token": padding} if padding else {}),
    )
    words.save_pretrained(folder)
    return words


def one_by_one(folder, words):
    """Logits of transformers, which scores several pairs at once only with a padding token."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return np.array([model(**words([pair], return_tensors="pt")).logits.item() for pair in PAIRS])


@pytest.fixture
def causal(tmp_path):
    """A causal classifier as hubs hold many: no padding token in its configuration, none in its tokenizer."""
    folder = build_causal(tmp_path / "causal")
    words_of(folder, padding=None)
    edit(folder / "config.json", pad_token_id=None)
    return folder


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_causal_classifier_without_a_padding_token_is_exported(causal, tmp_path, engine):
    expected = one_by_one(causal, AutoTokenizer.from_pretrained(causal))
    np.testing.assert_allclose(Reranker(causal).predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)
    assert export(causal, tmp_path / "out", engine, PAIRS[:4]).largest <= 1e-4
    peer = CrossEncoder(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(peer.predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)
    np.testing.assert_allclose(Reranker(tmp_path / "out").predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)


@pytest.mark.parametrize("traced", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_graph_comes_with_a_tokenizer_that_pads(causal, tmp_path, monkeypatch, traced):
    if traced:
        pytest.importorskip("onnxscript")
    else:
        engine = replace(ONNX, write=lambda graph, file: file.touch(), packages=())
        faked = partial(write_graph, engine), lambda folder, scorer, rows: scorer.logits(rows)
        monkeypatch.setitem(exporting.ENGINES, "onnx", faked)
    export(causal, tmp_path / "out", "onnx", PAIRS[:4])
    words = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert words.padding_side == "right"
    assert words.pad_token_id == AutoConfig.from_pretrained(tmp_path / "out").pad_token_id is not None


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize(
    ("padding", "end", "others"),
    [
        (None, "<|im_end|>", True),
        ("<|im_end|>", "<|im_end|>", True),  # the token at which every row ends
        ("<|endoftext|>", "<|im_end|>", True),
        (None, "<|endoftext|>", False),  # as GPT-2: one special token for everything
        ("<|endoftext|>", "<|endoftext|>", False),
    ],
)
def test_a_stock_student_of_a_causal_body_scores_the_same_in_sentence_transformers(
    tmp_path, kind, padding, end, others
):
    body = tmp_path / "body"
    words = words_of(body, padding, end, others)
    shape = {"vocab_size": len(words), "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 256}
    config = qwen3_config(words) if kind == "qwen3" else AutoConfig.for_model("gpt2", **shape)
    config.pad_token_id = None
    lively(AutoModel.from_config(config), seed=1).save_pretrained(body)
    student = SequenceStudent.from_causal(body, 128, "float32", seed=1)
    expected = logits(student, PAIRS)
    save_student(student, tmp_path / "saved", Deployment({}, {}))
    peer = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    assert student.serializer.suffix == end != peer.tokenizer.pad_token
    assert (peer.tokenizer.pad_token == NEW) == (not others)
    np.testing.assert_allclose(peer.predict(PAIRS, activation_fn=LOGIT), expected, atol=2e-4)
    np.testing.assert_allclose(Reranker(tmp_path / "saved").predict(PAIRS, activation_fn=LOGIT), expected, atol=2e-4)
    assert np.ptp(expected) > 0.01


def test_a_padding_token_without_a_row_in_the_table_pads_nothing_and_is_given_one_when_saved(stock_folder, tmp_path):
    """As `tokenizer.add_special_tokens({"pad_token": ...})` leaves a checkpoint where nobody resized the table."""
    folder = shutil.copytree(stock_folder, tmp_path / "model")
    words = AutoTokenizer.from_pretrained(folder)
    words.add_special_tokens({"pad_token": "[NEW]"})
    words.save_pretrained(folder)
    expected = Reranker(stock_folder).predict(PAIRS, activation_fn=LOGIT)
    np.testing.assert_allclose(Reranker(folder).predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-5)
    export(folder, tmp_path / "out", "transformers", PAIRS[:4])
    peer = CrossEncoder(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(peer.predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    words = words_of(tmp_path / "body", None, "<|endoftext|>", others=False)
    lively(AutoModel.from_config(qwen3_config(words)), seed=1).save_pretrained(tmp_path / "body")
    student = SequenceStudent.from_causal(tmp_path / "body", 128, "float32", seed=1)
    for name in ("a", "b"):
        save_student(student, tmp_path / name, Deployment({}, {}))
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("named", [True, False])
def test_a_row_that_its_tokenizer_closes_is_read_where_transformers_reads_it(tmp_path, named):
    """A tokenizer that closes rows with the token that it pads with: transformers reads the token before, if told."""
    folder = build_causal(tmp_path / "causal")
    words = words_of(folder, padding="<|im_end|>")
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|im_end|>", pair="$A $B <|im_end|>", special_tokens=[("<|im_end|>", words.eos_token_id)]
    )
    words.save_pretrained(folder)
    edit(folder / "config.json", pad_token_id=words.pad_token_id if named else None)
    expected = one_by_one(folder, words)
    np.testing.assert_allclose(Reranker(folder).predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)
    export(folder, tmp_path / "out", "transformers", PAIRS[:4])
    peer = CrossEncoder(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(peer.predict(PAIRS, activation_fn=LOGIT), expected, atol=1e-4)
