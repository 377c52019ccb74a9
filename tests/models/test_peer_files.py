"""Folders of cross-encoders that sentence-transformers wrote, with all that it keeps in files of its own."""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.modules import Dense, LogitScore, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoTokenizer, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from tamis import Reranker
from tamis.exporting.export import export
from tests.conftest import TOPICS
from tests.families import build_encoder, lively, qwen3_config, tokenizer
from tests.rerankers import refused

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
PAIRS += [("clock", "set the clock " * 60)]
LOGIT = torch.nn.Identity()
ROLE = '{{ messages | selectattr("role", "eq", "%s") | map(attribute="content") | first%s }}'
TEMPLATE = (
    f"<|im_start|>{ROLE % ('system', ' | default(' + chr(34) + 'Is it right?' + chr(34) + ')')}\n"
    f"{ROLE % ('query', '')}\nText: {ROLE % ('document', '')}<|im_end|>\nAnswer:"
)
PART = '{{ (messages | selectattr("role", "eq", "%s") | first).content[0].text }}'
STRUCTURED = f"Query: {PART % 'query'}<|im_end|>{PART % 'document'}<|im_end|>\nAnswer:"


def same(folder, peer, pairs=PAIRS):
    """Ours of the folder are theirs, and say something."""
    expected = peer.predict(pairs, activation_fn=LOGIT)
    np.testing.assert_allclose(Reranker(folder).predict(pairs, activation_fn=LOGIT), expected, atol=2e-4)
    np.testing.assert_allclose(Reranker(folder).predict(pairs), peer.predict(pairs), atol=1e-5)
    assert np.ptp(expected) > 0.05


@pytest.fixture(scope="module")
def bert(tiny_encoder, tmp_path_factory):
    return build_encoder(tmp_path_factory.mktemp("peers") / "bert", "bert", tiny_encoder)


def causal(folder, template, kind=Qwen3ForCausalLM):
    """A causal body behind a tokenizer that reads 128 tokens, with a chat template or without."""
    words = tokenizer(folder, longest=128)
    words.chat_template = template
    words.save_pretrained(folder)
    lively(kind(qwen3_config(words, num_labels=1)), seed=6).save_pretrained(folder)
    return folder


def test_the_default_prompt_stands_before_each_query_and_is_exported(bert, tmp_path):
    peer = CrossEncoder(str(bert), device="cpu", prompts={"ask": "package: "}, default_prompt_name="ask")
    peer.save_pretrained(str(tmp_path / "saved"))
    same(tmp_path / "saved", peer)
    plain = Reranker(bert).predict(PAIRS, activation_fn=LOGIT)
    assert np.abs(plain - peer.predict(PAIRS, activation_fn=LOGIT)).max() > 0.05
    export(tmp_path / "saved", tmp_path / "out", "transformers", PAIRS[:4])
    same(tmp_path / "out", peer)
    same(tmp_path / "out", CrossEncoder(str(tmp_path / "out"), device="cpu"))


def test_a_length_and_small_letters_that_are_kept_beside_the_modules_count(bert, tmp_path):
    CrossEncoder(str(bert), device="cpu").save_pretrained(str(tmp_path))
    words = tmp_path / "tokenizer.json"
    content = json.loads(words.read_text())
    words.write_text(json.dumps(content | {"normalizer": None}))
    file = tmp_path / "sentence_bert_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_seq_length": 24, "do_lower_case": True}))
    same(tmp_path, CrossEncoder(str(tmp_path), device="cpu"))
    assert Reranker(tmp_path).serializer.max_tokens == 24


@pytest.mark.parametrize(
    ("answers", "template", "prompt"),
    [
        (("1", "0"), TEMPLATE, None),
        (("y",), TEMPLATE, "Find it."),
        (("1", "0"), STRUCTURED, None),
        (("yes", "no"), None, "Find it. "),
    ],
)
def test_a_language_model_answers_with_the_words_of_its_own_module(tmp_path, answers, template, prompt):
    first = CrossEncoder(str(causal(tmp_path / "lm", template)), device="cpu")[0]
    ids = [first.tokenizer.convert_tokens_to_ids(answer) for answer in answers]
    how = {"prompts": {"told": prompt}, "default_prompt_name": "told"} if prompt else {}
    peer = CrossEncoder(modules=[first, LogitScore(*ids)], device="cpu", **how)
    peer.save_pretrained(str(tmp_path / "saved"))
    same(tmp_path / "saved", CrossEncoder(str(tmp_path / "saved"), device="cpu"))


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("kind", [Qwen3ForCausalLM, Qwen3ForSequenceClassification])
def test_a_chat_template_for_pairs_is_used(tmp_path, kind, saved):
    folder = causal(tmp_path / "plain", TEMPLATE, kind)
    peer = CrossEncoder(str(folder), device="cpu")
    if saved:
        folder = tmp_path / "saved"
        peer.save_pretrained(str(folder))
    same(folder, peer)
    told = Reranker(folder).predict(PAIRS, prompt="Find it.", activation_fn=LOGIT)
    np.testing.assert_allclose(told, peer.predict(PAIRS, prompt="Find it.", activation_fn=LOGIT), atol=2e-4)


def test_what_a_chat_template_is_given_and_a_length_of_its_texts_count(tmp_path):
    folder = causal(tmp_path / "lm", TEMPLATE + "{% if add_generation_prompt %}{{ wanted }}{% endif %}")
    given = {"chat_template": {"add_generation_prompt": True, "wanted": " right:"}, "text": {"max_length": 60}}
    first = Transformer(str(folder), transformer_task="text-generation", processing_kwargs=given)
    ids = first.tokenizer.convert_tokens_to_ids(["1", "0"])
    peer = CrossEncoder(modules=[first, LogitScore(*ids)], device="cpu")
    peer.save_pretrained(str(tmp_path / "saved"))
    same(tmp_path / "saved", peer)
    assert Reranker(tmp_path / "saved").serializer.max_tokens == 60


def test_a_chat_template_without_both_texts_is_refused_unless_tamis_json_says_how(tmp_path):
    folder = causal(tmp_path / "lm", TEMPLATE)
    CrossEncoder(str(folder), device="cpu").save_pretrained(str(tmp_path / "saved"))
    words = AutoTokenizer.from_pretrained(tmp_path / "saved")
    words.chat_template = "{{ messages[0].content }}"
    words.save_pretrained(tmp_path / "saved")
    assert "its chat template does not put a query and then a document into one text" in refused(tmp_path / "saved")
    serializer = {"kind": "template", "template": "{query}: {document}"}
    (tmp_path / "saved" / "tamis.json").write_text(json.dumps({"format": 2, "serializer": serializer}))
    assert Reranker(tmp_path / "saved").serializer.template == "{query}: {document}"


def test_modules_that_score_in_another_way_are_refused_by_name(bert, tmp_path):
    head = Dense(32, 1, activation_function=LOGIT, module_output_name="scores")
    CrossEncoder(modules=[Transformer(str(bert)), Pooling(32), head], device="cpu").save_pretrained(str(tmp_path))
    assert "sentence-transformers scores with the modules Transformer, Pooling, Dense" in refused(tmp_path)
