import json

import pytest
import torch

from tamis.errors import RunError
from tamis.stages.train.checkpoint import StateFile
from tamis.whole_folder import unfinished

TENSORS = {"now/a": torch.randn(3, 2), "mean/a": torch.zeros(()), "half": torch.ones(2, dtype=torch.bfloat16)}


def test_a_state_comes_back_bit_by_bit(tmp_path):
    state = StateFile(tmp_path / "deep" / "state.safetensors")
    assert state.load() is None
    state.save(TENSORS, {"step": 7, "curve": {"loss": [[1, 0.1]]}})
    tensors, facts = state.load()
    assert facts == {"step": 7, "curve": {"loss": [[1, 0.1]]}}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_a_state_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    state = StateFile(tmp_path / "state.safetensors")
    state.save(TENSORS, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tamis.stages.train.checkpoint.write_tensors", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left on device"):
        state.save(TENSORS, {"step": 2})
    assert state.load()[1] == {"step": 1}


def test_a_finished_training_leaves_no_state(tmp_path):
    state = StateFile(tmp_path / "state.safetensors")
    state.save(TENSORS, {"step": 1})
    unfinished(state.path).mkdir()  # as a kill leaves it
    (unfinished(state.path) / ".tmpA1b2C3").write_bytes(b"half")
    state.forget()
    assert list(tmp_path.iterdir()) == []
    state.forget()


def test_a_broken_batch_is_kept_beside_the_state(tmp_path):
    where = StateFile(tmp_path / "state.safetensors").failed({"lists": [{"query": "q1"}]})
    (file,) = tmp_path.glob("*.json")
    assert str(file) in where
    assert json.loads(file.read_text()) == {"lists": [{"query": "q1"}]}
