import copy
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel

from tamis.errors import ModelError
from tamis.models.encoder import Encoder
from tests.conftest import TOPICS

TEXTS = [text for topics in TOPICS.values() for pair in topics for text in pair]
SOME = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def reference(tiny_encoder):
    """Hidden states of one text, by transformers alone: one tensor [tokens, hidden] a layer, embeddings first."""
    body = AutoModel.from_pretrained(tiny_encoder, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)

    def states(text):
        with torch.no_grad():
            output = body(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        return [hidden[0] for hidden in output.hidden_states]

    return states


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_states_after_each_layer_are_those_of_transformers(encoder, reference, layers):
    states = encoder.states(encoder.tokenise(TEXTS[:6], "", 128), layers)
    for text, ours in zip(TEXTS, states, strict=False):
        torch.testing.assert_close(ours, reference(text)[layers], atol=1e-5, rtol=0)


def test_embeddings_are_normalised_means_of_the_last_hidden_state(encoder, reference):
    means = np.stack([reference("query: " + text)[-1].mean(0).numpy() for text in TEXTS])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.embed(TEXTS, "query: ", 128), expected, atol=1e-5)


@given(texts=SOME, budget=st.integers(1, 300))
@settings(max_examples=30)
def test_the_embedding_of_a_text_does_not_depend_on_its_company_order_or_budget(encoder, texts, budget):
    narrow = Encoder(encoder.body, encoder.tokenizer, token_budget=budget)
    alone = np.concatenate([encoder.embed([text], "", 128) for text in texts])
    np.testing.assert_allclose(narrow.embed(texts, "", 128), alone, atol=1e-5)
    np.testing.assert_allclose(narrow.embed(texts[::-1], "", 128)[::-1], alone, atol=1e-5)


@pytest.mark.parametrize(("config", "model"), [(RobertaConfig, RobertaModel), (XLMRobertaConfig, XLMRobertaModel)])
def test_bodies_that_count_positions_past_the_padding_run_as_in_transformers(encoder, config, model):
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    body = model(config(vocab_size=50, pad_token_id=1, max_position_embeddings=14, **size), add_pooling_layer=False)
    ours = Encoder(body, encoder.tokenizer)
    rows = [[0, 7, 9, 2], [0, 11, 12, 13, 14, 15, 2], [0, *range(20, 30), 2]]
    assert ours.positions == 12
    for row, states in zip(rows, ours.states(rows, 2), strict=True):
        with torch.no_grad():
            expected = body(torch.tensor([row])).last_hidden_state[0]
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=0)


def test_no_texts_make_no_vectors(encoder):
    assert encoder.embed([], "", 128).shape == (0, 32)
    assert encoder.states([], 3) == []


def test_a_long_text_is_cut_at_its_end_with_the_special_tokens_kept(encoder):
    whole = encoder.tokenise([TEXTS[1]], "", 128)[0]
    cut = encoder.tokenise([TEXTS[1]], "", 6)[0]
    assert cut == [*whole[:5], whole[-1]]


def test_a_text_is_never_longer_than_the_positions_of_the_body(encoder):
    assert len(encoder.tokenise(["install " * 500], "", 512)[0]) == encoder.positions == 128
    assert np.isfinite(encoder.embed(["install " * 500], "", 512)).all()


def test_progress_adds_up_to_the_texts(encoder):
    counts = []
    encoder.embed(TEXTS, "", 128, counts.append)
    assert sum(counts) == len(TEXTS)


def test_bfloat16_stays_near_float32(encoder):
    low = Encoder(encoder.body, encoder.tokenizer, "bfloat16")
    cosines = (low.embed(TEXTS, "", 128) * encoder.embed(TEXTS, "", 128)).sum(1)
    assert cosines.min() > 0.99


def test_the_body_is_frozen(encoder):
    assert not any(parameter.requires_grad for parameter in encoder.body.parameters())
    assert not encoder.body.training


@pytest.fixture
def copied(tiny_encoder, tmp_path):
    return shutil.copytree(tiny_encoder, tmp_path / "copy")


def refused(path):
    """The one line that says why a folder is refused; it names the folder."""
    with pytest.raises(ModelError) as caught:
        Encoder.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    assert "not a model folder" in refused(tmp_path / "nothing")
    (tmp_path / "file").write_text("text")
    assert "not a model folder" in refused(tmp_path / "file")


def test_a_hub_name_that_cannot_be_fetched_is_refused():
    assert "cannot be loaded as an encoder" in refused("someone/no-such-model")


def test_pickled_weights_are_refused_and_what_was_found_is_named(copied):
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    assert "no .safetensors weights" in refused(copied)
    assert "pytorch_model.bin" in refused(copied)


def test_another_kind_of_body_is_refused(copied):
    (copied / "config.json").write_text('{"model_type": "distilbert"}')
    assert "'distilbert' is not one of bert" in refused(copied)


def test_truncated_weights_are_refused(copied):
    content = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "cannot be loaded as an encoder" in refused(copied)


def test_weights_with_a_tensor_left_out_are_refused_and_not_made_up(copied):
    tensors = load_file(copied / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    assert "lacks the tensor 'encoder.layer.1.output.dense.weight'" in refused(copied)


def test_a_broken_tokenizer_is_refused(copied):
    (copied / "tokenizer.json").write_text("{")
    assert "cannot be loaded as an encoder" in refused(copied)


class _Casts(TorchDispatchMode):
    """Counts matrices that are turned into bfloat16."""

    def __init__(self):
        super().__init__()
        self.matrices = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and isinstance(args[0], torch.nn.Parameter) and args[0].ndim == 2:
            self.matrices += 1
        return func(*args, **(kwargs or {}))


def test_in_bfloat16_frozen_matrices_are_cast_once_and_nothing_else_changes(encoder):
    body = copy.deepcopy(encoder.body)
    low = Encoder(body, encoder.tokenizer, "bfloat16")
    ids = low.tokenise(TEXTS[:6], "", 128)
    low.states(ids, low.layers)
    with _Casts() as casts:
        found = low.states(ids, low.layers)
    assert casts.matrices == 0
    assert {weight.dtype for weight in body.parameters()} == {torch.float32}

    body.encoder.layer.requires_grad_(True)  # layers that learn are run as they are
    with _Casts() as casts:
        expected = low.states(ids, low.layers)
    assert casts.matrices == sum(isinstance(part, torch.nn.Linear) for part in body.encoder.modules())
    assert all(torch.equal(*both) for both in zip(found, expected, strict=True))
