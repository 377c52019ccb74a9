import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from tamis.distributed import ALONE, ProcessGroup, whole
from tamis.stages.train.checkpoint import StateFile
from tests import sharded, teamed
from tests.commands import run_team
from tests.families import deepseek_config, lively, qwen3_config, tokenizer
from tests.sharded import learn, student_of

LENGTHS = [5, 9, 9, 2, 7, 1, 3]


def test_a_team_shares_every_pair_once_and_evenly():
    shares = [ProcessGroup(rank, 3).share(LENGTHS) for rank in range(3)]
    assert sorted(place for share in shares for place in share) == list(range(len(LENGTHS)))
    work = [sum(LENGTHS[place] for place in share) for share in shares]
    assert max(work) - min(work) <= max(LENGTHS)
    assert ALONE.share(LENGTHS) == [1, 2, 4, 0, 6, 3, 5]


def test_alone_everything_comes_back_in_order():
    own = ALONE.share(LENGTHS)
    logits = torch.randn(len(LENGTHS))
    assert torch.equal(ALONE.gather(own, logits[own], len(LENGTHS)), logits)
    assert (ALONE.most(3), ALONE.agree(0.5), whole(logits) is logits) == (3, 0.5, True)


@pytest.mark.parametrize(
    ("loss", "memory"), [pytest.param("margin-mse", "keep", marks=pytest.mark.slow), ("gap-hinge", "recompute")]
)
def test_two_processes_learn_as_one(tiny_encoder, tmp_path, loss, memory):
    recompute = memory == "recompute"
    run_team(2, tmp_path / "log", teamed.main, tiny_encoder, tmp_path, loss, recompute)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    one = teamed.learn(tiny_encoder, loss, recompute, ALONE)
    assert first == second
    np.testing.assert_allclose([v for _, v in first["loss"]], [v for _, v in one["loss"]], atol=1e-4)
    np.testing.assert_allclose([v for _, v in first["agreement"]], [v for _, v in one["agreement"]], atol=1e-4)


def close(found, expected):
    for name in ("loss", "agreement"):
        steps, values = zip(*found[name], strict=True)
        expected_steps, expected_values = zip(*expected[name], strict=True)
        assert steps == expected_steps
        np.testing.assert_allclose(values, expected_values, atol=1e-4, err_msg=name)


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("family", "processes", "documents", "memory", "wanted"),
    [
        pytest.param("encoder", 2, 5, False, {}, id="encoder"),
        pytest.param("encoder", 3, 2, True, {"embeddings": "trained"}, marks=slow, id="a-process-without-pairs"),
        pytest.param("encoder", 2, 5, False, {"lora_rank": 2}, marks=slow, id="adapters"),
        pytest.param("causal", 2, 5, True, {"layers": 1}, marks=slow, id="causal"),
        pytest.param("experts", 2, 5, True, {}, marks=slow, id="experts"),
        pytest.param("experts", 2, 5, False, {"routers": "trained", "lora_rank": 2}, marks=slow, id="experts-adapters"),
    ],
)
def test_processes_that_hold_parts_learn_as_one_that_holds_all(
    tiny_encoder, tmp_path, family, processes, documents, memory, wanted
):
    body, out = tiny_encoder, tmp_path / "out"
    if family != "encoder":
        body = tmp_path / "body"
        words = tokenizer(body)
        config = qwen3_config(words) if family == "causal" else deepseek_config(words)
        lively(AutoModel.from_config(config), seed=1).save_pretrained(body)
    out.mkdir()
    run_team(processes, tmp_path / "log", sharded.main, body, out, wanted, documents, memory)

    alone = student_of(body, **wanted)
    start = alone.trained()
    expected = asdict(learn(alone, ALONE, documents))
    parts = [json.loads((out / f"{rank}.json").read_text()) for rank in range(processes)]
    for part in parts:
        close(part, expected)
        assert part["own"] == pytest.approx(part["all"] / processes, rel=0.1)
    assert sum(part["own"] for part in parts) == parts[0]["all"]
    assert max(part["short"] for part in parts) > 0  # some process had to fill in
    trained = load_file(out / "trained.safetensors")
    assert trained.keys() == start.keys()
    for name, tensor in alone.trained().items():
        # No difference of logits depends on these: rounding alone moves them.
        if not name.endswith(("key.bias", "classifier.bias")):
            torch.testing.assert_close(trained[name], tensor, atol=1e-4, rtol=1e-4, msg=name)
    assert any((tensor - start[name]).abs().max() > 1e-3 for name, tensor in trained.items())
    # The state that parts left behind is whole: one process goes on from it to the same end.
    resumed = learn(student_of(body, **wanted), ALONE, documents, keeper=StateFile(out / "state.safetensors"))
    close(asdict(resumed), expected)
