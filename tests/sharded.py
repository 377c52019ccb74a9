"""A training of a student in parts, killed and resumed: what each process of test_team.py does."""

import json
import warnings
from dataclasses import replace

import torch
from safetensors.torch import save_file

from tamis.distributed import ProcessGroup, this_team, whole
from tamis.models.encoder import Encoder
from tamis.stages.student.settings import StudentSettings
from tamis.stages.student.start import start_student
from tamis.stages.train import train as train_stage
from tamis.stages.train.checkpoint import StateFile
from tamis.stages.train.train import Execution
from tests.stages.train.test_train import LISTS, train

STEPS, KILLED = 9, 6


class KilledError(Exception):
    pass


def student_of(folder, **wanted):
    settings = StudentSettings(**{"start": folder, "head": "stock", **wanted})
    return start_student(settings, lambda: Encoder.load(folder), ("", ""), "float32", seed=1)


def learn(student, team, documents=5, keeper=None, killed=False):
    """Nine steps in parts of one to three pairs; killed, it is saved after the fifth and ends after the sixth."""
    done = []

    def progress(number):
        done.append(number)
        if killed and sum(done) == KILLED:
            raise KilledError
        train_stage.SAVE_SECONDS = 0.0 if killed and sum(done) == KILLED - 1 else 60.0

    cut = {name: getattr(LISTS[0], name)[:documents] for name in ("bins", "first_stage")}
    lists = [replace(one, doc_ids=one.doc_ids[:documents], labels=one.labels[:documents], **cut) for one in LISTS]
    return train(
        student,
        steps=STEPS,
        learning_rate=1e-2,
        lists=lists,
        lists_per_step=5 if documents > 2 else 1,
        machine=Execution(90, 8192, team=team),
        keeper=keeper,
        progress=progress,
    )


def main(folder, out, wanted, documents, memory):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    team, short = this_team(), []
    most = ProcessGroup.most

    def watched(self, value):
        short.append(most(self, value) - value)
        return value + short[-1]

    ProcessGroup.most = watched

    def fresh():
        student = student_of(folder, **wanted)
        student.shard(torch.device("cpu"))
        if memory:
            student.save_memory()
        return student

    state = StateFile(out / "state.safetensors")
    try:
        learn(fresh(), team, documents, state, killed=True)
    except KilledError:
        student = fresh()
    curve = learn(student, team, documents, state)
    trained = {name: whole(tensor) for name, tensor in student.trained().items()}
    student.load_trained(trained)
    facts = {
        "loss": curve.loss,
        "agreement": curve.agreement,
        "short": max(short),
        "own": sum(p.to_local().numel() for p in student.model.parameters()),
        "all": sum(p.numel() for p in student.model.parameters()),
    }
    (out / f"{team.rank}.json").write_text(json.dumps(facts))
    if team.leads:
        save_file(trained, out / "trained.safetensors")
