"""A training of a warm student that several processes share: what each of them does."""

import json
from pathlib import Path
from typing import Any

import torch

from tamis.distributed import ProcessGroup, this_team
from tamis.models.encoder import Encoder
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.train import Execution, train_student
from tests.stages.train.test_train import HELD_OUT, batches, texts_for


def learn(body: Path, loss: str, recompute: bool, team: ProcessGroup) -> dict[str, Any]:
    """Twenty steps: the curve, and the sum of all weights at its end."""
    student = WarmCrossEncoder(Encoder.load(body), Apart("", "", 32, 48), 1, -2.0, scale=8.0, bias=-5.0).eval()
    settings = TrainSettings(learning_rate=2e-3, lists_per_step=5, checkpoints=4, loss=loss)
    machine = Execution(256, 8192, recompute=recompute, team=team)
    curve = train_student(student, batches(), HELD_OUT, texts_for(student), settings, 20, machine, lambda _: None)
    weights = sum(tensor.double().sum().item() for tensor in student.trained().values())
    return {"loss": curve.loss, "agreement": curve.agreement, "weights": weights}


def main(body: Path, out: Path, loss: str, recompute: bool) -> None:
    torch.set_num_threads(1)
    team = this_team()
    learnt = json.dumps(learn(body, loss, recompute, team))
    (out / f"{team.rank}.json").write_text(learnt, encoding="utf-8")
