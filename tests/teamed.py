"""A training of a warm student that several processes share: what each of those does that torchrun starts."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from tamis.models.encoder import Encoder
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder
from tamis.settings import TrainSettings
from tamis.stages.train import Machine, train_student
from tamis.team import Team, this_team
from tests.stages.test_train import HELD_OUT, batches, texts_for


def learn(body: str, loss: str, recompute: bool, team: Team) -> dict[str, Any]:
    """Twenty steps: the curve, and the sum of all weights at its end."""
    student = WarmCrossEncoder(Encoder.load(body), Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()
    settings = TrainSettings(learning_rate=2e-3, lists_per_step=5, checkpoints=4, loss=loss)
    machine = Machine(256, 8192, recompute=recompute, team=team)
    curve = train_student(student, batches(), HELD_OUT, texts_for(student), settings, 20, machine, lambda _: None)
    weights = sum(tensor.double().sum().item() for tensor in student.trained().values())
    return {"loss": curve.loss, "agreement": curve.agreement, "weights": weights}


def main(body: str, out: str, loss: str, memory: str) -> None:
    torch.set_num_threads(1)
    team = this_team()
    learnt = json.dumps(learn(body, loss, memory == "recompute", team))
    Path(f"{out}-{team.rank}.json").write_text(learnt, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
