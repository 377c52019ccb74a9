import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tamis.errors import ModelError
from tamis.merging.checkpoints import Checkpoint, check_alike, open_checkpoint
from tests.merging.siblings import edit, in_one_file, querit_family, weights


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    querit_family(folder, children=1)
    return folder


@pytest.fixture
def pair(built: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A parent and its child that a test may spoil."""
    return tuple(shutil.copytree(built / name, tmp_path / name) for name in ("parent", "child0"))


def alike(first: Path, second: Path) -> None:
    check_alike(open_checkpoint(first), [open_checkpoint(second)], None)


def complaint(first: Path, second: Path, as_base: bool = False) -> str:
    """The one line that says why two checkpoints cannot be merged."""
    ours, theirs = open_checkpoint(first), open_checkpoint(second)
    with pytest.raises(ModelError) as caught:
        check_alike(ours, [] if as_base else [theirs], theirs if as_base else None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Opening


@pytest.mark.parametrize("sharded", [True, False])
def test_every_tensor_is_found_and_read_stretch_by_stretch(pair: tuple[Path, Path], sharded: bool):
    folder = pair[0] if sharded else in_one_file(pair[0])
    checkpoint = open_checkpoint(folder)
    assert len(checkpoint.shards) == 1 + sharded
    found = weights(folder)
    assert checkpoint.tensors.keys() == found.keys()
    for name, tensor in found.items():
        assert checkpoint.tensors[name].shape == tuple(tensor.shape)
        parts = [checkpoint.read(name, start, start + 999) for start in range(0, tensor.numel(), 999)]
        assert torch.equal(torch.cat(parts), tensor.flatten())


def test_opening_reads_no_weights(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Checkpoint, "read", lambda *_: pytest.fail("reads weights"))
    alike(*pair)


def test_a_path_that_is_no_folder_and_a_folder_without_weights_are_named(tmp_path: Path):
    assert refused(tmp_path / "none") == (
        f"{tmp_path / 'none'}: not a model folder; give Hugging Face folders with safetensors on this disk"
    )
    (tmp_path / "pytorch_model.bin").touch()
    assert refused(tmp_path) == f"{tmp_path}: no .safetensors weights in this folder (found pytorch_model.bin)"


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "../child0/model-00002-of-00002.safetensors"])
def test_a_shard_that_is_missing_or_lies_elsewhere_is_named(pair: tuple[Path, Path], name: str):
    (pair[0] / "model-00002-of-00002.safetensors").unlink()
    index = pair[0] / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00002-of-00002.safetensors", name))
    assert refused(pair[0]) == f"{pair[0]}: the weight file {name} is missing; fetch the checkpoint again"


def test_an_index_that_does_not_fit_and_a_broken_file_are_named(pair: tuple[Path, Path]):
    shard = pair[0] / "model-00001-of-00002.safetensors"
    tensors = load_file(shard)
    save_file({name: tensors[name] for name in list(tensors)[1:]}, shard)
    assert refused(pair[0]).startswith(f"{pair[0]}: model.safetensors.index.json names other tensors than the weight")
    shard.write_bytes(shard.read_bytes()[:-10])
    assert refused(pair[0]).startswith(f"{pair[0]}: cannot be loaded as a checkpoint: ")
    (pair[0] / "model.safetensors.index.json").write_text("{}")
    assert refused(pair[0]).startswith(f"{pair[0]}: cannot be loaded as a checkpoint: ")


# Comparing


def test_siblings_are_alike_however_they_are_sharded(pair: tuple[Path, Path]):
    alike(*pair)
    in_one_file(pair[1])
    alike(*pair)


def test_what_does_not_shape_the_model_may_differ(pair: tuple[Path, Path]):
    edit(pair[1] / "config.json", _name_or_path="elsewhere", attention_dropout=0.3, dtype="bfloat16", use_cache=False)
    alike(*pair)


def test_a_default_that_is_written_out_is_no_difference(pair: tuple[Path, Path]):
    edit(pair[1] / "config.json", use_sliding_window=False, hidden_act="silu")
    alike(*pair)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rms_norm_eps": 0.5}, "rms_norm_eps is 0.5 in config.json, expected 1e-06 as in"),
        ({"num_hidden_layers": 1, "layer_types": None}, "layer_types is ['full_attention'] in config.json, expected"),
        (
            {"rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}},
            "rope_parameters.rope_theta is 5.0 in config.json, expected 10000.0 as in",
        ),
    ],
)
def test_a_field_of_the_configuration_that_differs_is_named(
    pair: tuple[Path, Path], changes: dict[str, object], expected: str
):
    edit(pair[1] / "config.json", **changes)
    found = complaint(*pair)
    assert found.startswith(f"{pair[1]}: {expected}")
    assert found.endswith(f"as in {pair[0]}; only checkpoints of one architecture can be merged")


def test_an_unknown_architecture_is_named(pair: tuple[Path, Path]):
    edit(pair[1] / "config.json", model_type="qwen99")
    assert complaint(*pair).startswith(f"{pair[1]}: cannot be loaded as a configuration: ")


def spoil(folder: Path, **tensors: object) -> None:
    """Replace tensors of a checkpoint by name, with dots as double underscores; None removes one."""
    file = in_one_file(folder) / "model.safetensors"
    content = load_file(file)
    for name, tensor in tensors.items():
        content.pop(name.replace("__", "."), None)
        if tensor is not None:
            content[name.replace("__", ".")] = tensor
    save_file(content, file)


def test_a_tensor_that_is_missing_too_many_or_of_another_shape_is_named(pair: tuple[Path, Path]):
    spoil(pair[1], head__bias=torch.ones(3))
    assert complaint(*pair) == (
        f"{pair[1]}: the tensor 'head.bias' has shape [3], expected [2] as in {pair[0]}; only checkpoints of one "
        "architecture can be merged"
    )
    shutil.rmtree(pair[1])
    shutil.copytree(pair[0], pair[1])
    spoil(pair[1], head__bias=None)
    assert complaint(*pair) == (
        f"{pair[1]}: lacks the tensor 'head.bias' of {pair[0]}; only checkpoints of one architecture can be merged"
    )
    assert complaint(pair[1], pair[0]) == (
        f"{pair[0]}: holds the tensor 'head.bias', which {pair[1]} lacks; only checkpoints of one architecture can be "
        "merged"
    )


def test_a_base_may_hold_more_but_not_less(pair: tuple[Path, Path]):
    spoil(pair[1], pooler__weight=torch.ones(3))
    check_alike(open_checkpoint(pair[0]), [], open_checkpoint(pair[1]))
    assert complaint(pair[1], pair[0], as_base=True) == (
        f"{pair[0]}: lacks the tensor 'pooler.weight' of {pair[1]}; give the model that the others started from, or "
        "leave out --base"
    )


def test_what_older_versions_saved_of_a_body_is_no_difference(pair: tuple[Path, Path]):
    """mergekit's list of BERT's tensors calls them optional, too: transformers makes them anew."""
    spoil(pair[1], model__embeddings__position_ids=torch.arange(4)[None])
    alike(*pair)
    alike(*reversed(pair))
    check_alike(open_checkpoint(pair[1]), [], open_checkpoint(pair[0]))


def test_notes_that_no_class_of_transformers_knows_are_no_difference(pair: tuple[Path, Path]):
    edit(pair[1] / "config.json", unsloth_version="2026.1", output_past=True, position_embedding_type="absolute")
    alike(*pair)
    edit(pair[1] / "config.json", classifier_from_token=["no", "yes"])
    assert "classifier_from_token is ['no', 'yes'] in config.json, expected None" in complaint(*pair)


def test_of_a_single_file_and_an_index_the_file_counts_as_in_transformers(pair: tuple[Path, Path]):
    index = (pair[0] / "model.safetensors.index.json").read_text()
    in_one_file(pair[0])
    (pair[0] / "model.safetensors.index.json").write_text(index)
    assert open_checkpoint(pair[0]).shards == ("model.safetensors",)
    alike(*pair)


def test_a_tokenizer_that_is_only_written_in_another_way_is_no_difference(pair: tuple[Path, Path]):
    file = pair[1] / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")), indent=4), encoding="utf-8")
    edit(pair[1] / "tokenizer_config.json", model_max_length=77)
    alike(*pair)


def test_a_token_with_another_id_is_named(pair: tuple[Path, Path]):
    file = pair[1] / "tokenizer.json"
    text = file.read_text(encoding="utf-8")
    assert '"!": 4' in text
    file.write_text(text.replace('"!": 4', '"!": 5').replace('"\\"": 5', '"\\"": 4'), encoding="utf-8")
    assert complaint(*pair) == (
        f"{pair[1]}: its tokenizer gives the token '!' the id 5, expected the id 4 as in {pair[0]}; only checkpoints "
        "with one tokenizer can be merged"
    )


def test_a_token_that_only_one_knows_and_other_rules_are_named(pair: tuple[Path, Path]):
    file = pair[1] / "tokenizer.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"!": 4', '"!!!!": 4'), encoding="utf-8")
    assert "gives the token '!' no id, expected the id 4" in complaint(*pair)
    file.write_text(text.replace('"type": "NFC"', '"type": "NFD"'), encoding="utf-8")
    assert complaint(*pair) == (
        f"{pair[1]}: its tokenizer has another normalizer than that of {pair[0]}; only checkpoints with one tokenizer "
        "can be merged"
    )


def test_a_folder_without_a_tokenizer_is_named(pair: tuple[Path, Path]):
    for file in pair[1].glob("tokenizer*"):
        file.unlink()
    expected = f"{pair[1]}: no tokenizer (tokenizer.json, vocab.* or *.model); copy the model's own into it"
    assert complaint(*pair) == complaint(pair[1], pair[1]) == expected
    (pair[1] / "tokenizer.json").write_text("{}")
    assert complaint(*pair).startswith(f"{pair[1]}: cannot be loaded as a tokenizer: ")
