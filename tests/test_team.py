import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.team import ALONE, Team

ROOT = Path(__file__).parent.parent
LENGTHS = [5, 9, 9, 2, 7, 1, 3]

TRAINING = """
import json, sys
import torch
from tamis.models.encoder import Encoder
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder
from tamis.stages.train import Machine, train_student
from tamis.settings import TrainSettings
from tamis.team import this_team
from tests.stages.test_train import HELD_OUT, batches, texts_for

torch.set_num_threads(1)
student = WarmCrossEncoder(Encoder.load(sys.argv[1]), Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()
team = this_team()
settings = TrainSettings(learning_rate=2e-3, lists_per_step=5, checkpoints=4, loss=sys.argv[3])
machine = Machine(256, 8192, recompute=sys.argv[4] == "recompute", team=team)
curve = train_student(student, batches(), HELD_OUT, texts_for(student), settings, 20, machine, lambda _: None)
with open(f"{sys.argv[2]}-{team.size}-{team.rank}.json", "w") as file:
    weights = sum(tensor.double().sum().item() for tensor in student.trained().values())
    json.dump({"loss": curve.loss, "agreement": curve.agreement, "weights": weights}, file)
"""


def test_a_team_shares_every_pair_once_and_evenly():
    shares = [Team(rank, 3).share(LENGTHS) for rank in range(3)]
    assert sorted(place for share in shares for place in share) == list(range(len(LENGTHS)))
    work = [sum(LENGTHS[place] for place in share) for share in shares]
    assert max(work) - min(work) <= max(LENGTHS)
    assert ALONE.share(LENGTHS) == [1, 2, 4, 0, 6, 3, 5]


def test_alone_everything_comes_back_in_order():
    own = ALONE.share(LENGTHS)
    logits = torch.randn(len(LENGTHS))
    assert torch.equal(ALONE.gather(own, logits[own], len(LENGTHS)), logits)


@pytest.mark.parametrize(
    ("loss", "memory"), [pytest.param("margin-mse", "keep", marks=pytest.mark.slow), ("gap-hinge", "recompute")]
)
def test_two_processes_learn_as_one(tiny_encoder, tmp_path, loss, memory):
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    arguments = [str(script), str(tiny_encoder), str(tmp_path / "curve"), loss, memory]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for start in ([sys.executable], two):
        subprocess.run([*start, *arguments], check=True, cwd=ROOT, env=environment, capture_output=True, timeout=240)
    one, first, second = (json.loads((tmp_path / f"curve-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first == second
    np.testing.assert_allclose([v for _, v in first["loss"]], [v for _, v in one["loss"]], atol=1e-4)
    np.testing.assert_allclose([v for _, v in first["agreement"]], [v for _, v in one["agreement"]], atol=1e-4)
