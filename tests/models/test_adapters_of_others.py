"""Folders that peft wrote: refused by name wherever a checkpoint is read, and right once peft has merged them."""

import shutil

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tamis import Reranker
from tamis.errors import ModelError
from tamis.exporting.export import export
from tamis.merging.merge import merge_checkpoints
from tamis.merging.methods import Method
from tamis.models.checkpoint import read_facts
from tamis.models.embedder import Embedder
from tamis.models.encoder import Encoder
from tamis.models.folders import refuse_adapter
from tamis.models.sequence_student import SequenceStudent
from tests.conftest import TOPICS
from tests.families import build_encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]


@pytest.fixture(scope="module")
def base(tiny_encoder, tmp_path_factory):
    return build_encoder(tmp_path_factory.mktemp("adapters") / "base", "bert", tiny_encoder)


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """A LoRA adapter that changes scores, alone in its folder."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(params=["alone", "beside"])
def folder(request, base, adapter, tmp_path):
    if request.param == "alone":
        return adapter
    return shutil.copytree(adapter, shutil.copytree(base, tmp_path / "both"), dirs_exist_ok=True)


CALLS = {
    "score": lambda folder, base, out: Reranker(folder),
    "facts": lambda folder, base, out: read_facts(folder),
    "export": lambda folder, base, out: export(folder, out, "transformers", PAIRS),
    "merge": lambda folder, base, out: merge_checkpoints([base, folder], out, Method("linear")),
    "merge first": lambda folder, base, out: merge_checkpoints([folder, base], out, Method("linear")),
    "base of a merge": lambda folder, base, out: merge_checkpoints([base, base], out, Method(), folder),
    "embed": lambda folder, base, out: Embedder(folder),
    "encoder": lambda folder, base, out: Encoder.load(folder),
    "causal student": lambda folder, base, out: SequenceStudent.from_causal(folder, 64, "float32", 1),
    "own head": lambda folder, base, out: SequenceStudent.from_reranker(folder, None, None, 64, "float32"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_folder_with_an_adapter_is_refused_wherever_it_is_read(folder, base, tmp_path, call):
    with pytest.raises(ModelError) as caught:
        CALLS[call](folder, base, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"{folder}: holds an adapter of {base}")
    assert "Merge it first, with peft: PeftModel.from_pretrained" in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_weights_of_an_adapter_without_its_configuration_are_refused_too(base, adapter, tmp_path):
    folder = shutil.copytree(base, tmp_path / "both")
    shutil.copy(adapter / "adapter_model.safetensors", folder)
    with pytest.raises(ModelError, match=r"holds an adapter beside whole weights; .* or take the files adapter_"):
        Reranker(folder)


def test_a_name_on_a_hub_that_stands_for_an_adapter_is_refused(adapter, base, monkeypatch):
    found = str(adapter / "adapter_config.json")
    monkeypatch.setattr("transformers.utils.peft_utils.cached_file", lambda *_, **__: found)
    with pytest.raises(ModelError, match=f"someone/adapter: holds an adapter of {base} alone"):
        refuse_adapter("someone/adapter")


def test_merged_as_the_message_says_it_scores_as_in_peft(base, adapter, tmp_path):
    tuned = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base), adapter).eval()
    words = AutoTokenizer.from_pretrained(base)
    with torch.no_grad():
        expected = tuned(**words(PAIRS, padding=True, return_tensors="pt")).logits[:, 0].numpy()
    tuned.merge_and_unload().save_pretrained(tmp_path / "merged")
    words.save_pretrained(tmp_path / "merged")
    found = Reranker(tmp_path / "merged").predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - Reranker(base).predict(PAIRS, activation_fn=torch.nn.Identity())).max() > 0.01
