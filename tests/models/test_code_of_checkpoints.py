"""A checkpoint that brings code: none of it runs, and nobody is asked whether it may."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tamis import Reranker
from tamis.errors import ModelError
from tamis.merging.merge import merge_checkpoints
from tamis.merging.methods import Method
from tamis.models.checkpoint import is_encoder
from tamis.models.embedder import Embedder
from tamis.models.encoder import Encoder
from tamis.models.sequence_student import SequenceStudent
from tamis.stages.queries.writers.causal import CausalGenerator

LOADERS: dict[str, Callable[[Path], object]] = {
    "Reranker": Reranker,
    "Encoder": Encoder.load,
    "Embedder": Embedder,
    "is_encoder": is_encoder,
    "from_causal": lambda folder: SequenceStudent.from_causal(folder, 64, "float32", seed=0),
    "writer": lambda folder: CausalGenerator(folder, "chat", "float32", torch.device("cpu"), 512),
    "merge": lambda folder: merge_checkpoints([folder, folder], folder / "merged", Method("linear")),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of an architecture of its own, whose code leaves a file when it is imported."""
    folder = tmp_path / "own"
    folder.mkdir()
    code = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nraise RuntimeError('code of its own')\n"
    (folder / "own.py").write_text(code, encoding="utf-8")
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
    config = {"model_type": "own", "architectures": ["OwnForSequenceClassification"], "num_labels": 1}
    config |= {"auto_map": {kind: "own.OwnConfig" for kind in kinds}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = {"auto_map": {"AutoTokenizer": ["own.OwnConfig", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", LOADERS)
def test_no_code_of_a_checkpoint_runs_and_nobody_is_asked(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    with pytest.raises(ModelError, match="own"):
        LOADERS[name](folder)
    assert asked == []
    assert not (folder.parent / "ran").exists()


def test_the_code_runs_where_it_is_trusted(folder: Path) -> None:
    with pytest.raises(ModelError, match="code of its own"):
        Embedder(folder, trust_remote_code=True)
    assert (folder.parent / "ran").exists()
