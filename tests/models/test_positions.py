"""How long a row may be: the longest one that transformers itself can run, and no longer."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from tamis import Reranker
from tamis.errors import ModelError
from tamis.models.embedder import Embedder
from tamis.models.encoder import Encoder
from tamis.models.sequence_student import SequenceStudent
from tests.families import build_causal, lively, tokenizer
from tests.rerankers import refused

PLACES = 40
LONG = ("install", "install the package " * 60)
LOGIT = torch.nn.Identity()
OWN = {
    "longformer": {"attention_window": [4, 4]},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
}
FROM_PADDING = [
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
]  # fmt: skip
FROM_ZERO = ["bert", "nystromformer", "electra", "deberta-v2", "distilbert", "roformer"]
CAUSAL = ["gpt2", "opt", "biogpt", "openai-gpt"]


def build(folder, kind, encoder, padding=1, auto=AutoModelForSequenceClassification, longest=10**30, **more):
    """A body with positions for `PLACES` rows of its table, whose tokenizer knows no limit."""
    words = AutoTokenizer.from_pretrained(encoder)
    words.model_max_length = longest
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": PLACES}
    width = {"dim": 32, "hidden_dim": 64} if kind == "distilbert" else {"intermediate_size": 64}
    facts = {"vocab_size": len(words), "pad_token_id": padding, "num_labels": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, **facts | shape | width | OWN.get(kind, {}) | more)
    lively(auto.from_config(config), seed=5).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def longest_that_runs(folder):
    """Found by trying: rows of more and more tokens, until transformers raises."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for length in range(PLACES - 4, PLACES + 6):
        try:
            with torch.no_grad():
                model(input_ids=torch.full((1, length), 5))
        except (IndexError, RuntimeError):
            return length - 1
    raise AssertionError("no limit was found")


@pytest.mark.parametrize("kind", [*FROM_PADDING, *FROM_ZERO, *CAUSAL])
def test_the_longest_row_is_the_longest_that_transformers_runs(kind, tiny_encoder, tmp_path):
    folder = build(tmp_path, kind, tiny_encoder)
    reranker = Reranker(folder)
    expected = PLACES if kind in ("roformer", "deberta-v2") else longest_that_runs(folder)
    assert reranker.serializer.max_tokens == expected == PLACES - 2 * (kind in FROM_PADDING)
    scored = reranker.score_pairs([LONG])
    assert np.isfinite(scored.logits).all()
    assert scored.cut == 1


@pytest.mark.parametrize("padding", [0, 3])
def test_positions_begin_after_whatever_the_padding_token_is(tiny_encoder, tmp_path, padding):
    folder = build(tmp_path, "roberta", tiny_encoder, padding)
    assert Reranker(folder).serializer.max_tokens == longest_that_runs(folder) == PLACES - 1 - padding


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "bert", "mpnet"])
def test_a_padding_token_that_the_configuration_lost_is_the_tokenizers(kind, tiny_encoder, tmp_path):
    whole = build(tmp_path / "whole", kind, tiny_encoder)
    lost = shutil.copytree(whole, tmp_path / "lost")
    config = json.loads((lost / "config.json").read_text())
    (lost / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    pairs = [LONG, ("install", "packages")]
    model, words = AutoModelForSequenceClassification.from_pretrained(whole), AutoTokenizer.from_pretrained(whole)
    longest = Reranker(whole).serializer.max_tokens
    batch = words(pairs, padding=True, truncation="longest_first", max_length=longest, return_tensors="pt")
    with torch.no_grad():
        expected = model.eval()(**batch).logits[:, 0].numpy()
    np.testing.assert_allclose(Reranker(lost).predict(pairs, activation_fn=LOGIT), expected, atol=1e-4)


def test_without_any_padding_token_a_body_that_counts_from_it_is_refused(tiny_encoder, tmp_path):
    folder = build(tmp_path, "roberta", tiny_encoder)
    for name, field in (("config.json", "pad_token_id"), ("tokenizer_config.json", "pad_token")):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {field: None}))
    assert "counts positions from its padding token, but neither config.json (pad_token_id) nor" in refused(folder)


def test_more_tokens_than_there_are_positions_are_refused(tiny_encoder, tmp_path):
    folder = build(tmp_path, "mpnet", tiny_encoder)
    with pytest.raises(ModelError, match="max_tokens is 39, but this body has positions for 38 tokens; ask for fewer"):
        Reranker(folder, max_tokens=39)
    assert Reranker(folder, max_tokens=38).score_pairs([LONG]).cut == 1
    (folder / "tamis.json").write_text(json.dumps({"format": 2, "serializer": {"kind": "joined", "max_tokens": 99}}))
    assert "max_tokens is 99, but this body has positions for 38 tokens" in refused(folder)


def test_a_body_that_computes_positions_may_read_more_than_it_says(tmp_path):
    folder = build_causal(tmp_path)
    assert Reranker(folder, max_tokens=1024).score_pairs([("a", "b " * 700)]).cut == 0


def test_a_body_that_cannot_be_run_is_refused_in_one_line(tiny_encoder, tmp_path):
    folder = build(tmp_path, "xmod", tiny_encoder, default_language=None)
    assert "cannot be loaded as a reranker: Input language unknown" in refused(folder)


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "bert"])
def test_bi_encoders_and_encoders_cut_texts_to_their_positions(kind, tiny_encoder, tmp_path):
    folder = build(tmp_path, kind, tiny_encoder, auto=AutoModel)
    expected = PLACES if kind == "bert" else PLACES - 2
    embedder = Embedder(folder)
    assert embedder.positions == expected
    assert np.isfinite(embedder.embed([LONG[1]], "", 10_000)).all()
    if kind != "mpnet":
        encoder = Encoder.load(folder)
        assert encoder.positions == expected
        assert np.isfinite(encoder.embed([LONG[1]], "", 10_000)).all()


def test_a_student_on_a_causal_body_reads_no_more_than_its_positions(tmp_path):
    words = tokenizer(tmp_path)
    config = AutoConfig.for_model("gpt2", vocab_size=len(words), n_embd=32, n_layer=1, n_head=2, n_positions=64)
    lively(AutoModel.from_config(config), seed=1).save_pretrained(tmp_path)
    assert SequenceStudent.from_causal(tmp_path, 256, "float32", seed=1).serializer.max_tokens == 64
    assert SequenceStudent.from_causal(tmp_path, 50, "float32", seed=1).serializer.max_tokens == 50
