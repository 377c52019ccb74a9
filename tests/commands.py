"""The command line as tests call it: in this process, or in one of its own that can be killed."""

import contextlib
import functools
import io
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml

from tamis.cli import main

SLOW_IMPORTS = (
    "bm25s",
    "hypothesis",
    "ir_measures",
    "matplotlib.pyplot",
    "py3langid.langid",
    "pytest",
    "tamis.pipeline.run",
    "tamis.cli.printing",
    "transformers.models.bert.modeling_bert",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
"""Done once in the fork server instead of in every process that it starts."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it said when it failed: one line, after those of finished stages and their warnings."""
        *stages, last = self.err.splitlines()
        assert all(line.startswith(("[", "warning: ")) for line in stages), self.err
        assert last.startswith("tamis: "), self.err
        return last.removeprefix("tamis: ")


def tamis(*arguments: object) -> Outcome:
    """Run a command in this process."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        mock.patch.object(sys, "argv", ["tamis", *map(str, arguments)]),
        mock.patch.dict(os.environ),
        pytest.raises(SystemExit) as stop,
    ):
        main()
    assert isinstance(stop.value.code, int)
    return Outcome(stop.value.code, out.getvalue(), err.getvalue())


def start(log: Path, *arguments: object, prepare: Callable[[], None] | None = None) -> BaseProcess:
    """Start a command in a process of its own.

    Args:
        log: Where its standard output and error go.
        arguments: Of the command.
        prepare: Called in the new process before the command; must be picklable.
    """
    process: BaseProcess = fork_server().Process(
        target=_run, args=(log, list(map(str, arguments)), prepare), daemon=True
    )
    process.start()
    return process


def kill_when(reached: Callable[[], bool], log: Path, *arguments: object) -> None:
    """Start a command in a process of its own, and kill it as soon as something is reached."""
    process = start(log, *arguments)
    while process.is_alive() and not reached():
        process.join(0.005)
    process.kill()
    process.join()


def run_team(size: int, log: Path, work: Callable[..., None], *arguments: object) -> None:
    """Run a function once in each of some processes that are a team, told so as torchrun tells those that it starts.

    Args:
        size: How many processes.
        log: Where their standard output and error go.
        work: What each does; picklable, as its arguments.
        arguments: Of the function.
    """
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(size),
    }
    team: list[BaseProcess] = [
        fork_server().Process(
            target=_work, args=(log, {**told, "RANK": str(rank), "LOCAL_RANK": str(rank)}, work, arguments), daemon=True
        )
        for rank in range(size)
    ]
    for process in team:
        process.start()
    while (running := [process.sentinel for process in team if process.is_alive()]) and connection.wait(running, 240):
        if any(process.exitcode for process in team):
            break  # the others would wait for it for ever
    for process in team:
        process.kill()
        process.join()
    assert [process.exitcode for process in team] == [0] * size, log.read_text()[-4000:]


def _work(log: Path, told: dict[str, str], work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    _write_to(log)
    os.environ |= told
    work(*arguments)


@functools.cache
def fork_server() -> Any:
    """Starts processes that have the slow imports behind them."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(list(SLOW_IMPORTS))
    return server


def _run(log: Path, arguments: list[str], prepare: Callable[[], None] | None) -> None:
    _write_to(log)
    if prepare:
        prepare()
    sys.argv = ["tamis", *arguments]
    main()


def _write_to(log: Path) -> None:
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def write_recipe(content: dict[str, Any], folder: Path) -> Path:
    """A recipe as a file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def manifests(root: Path) -> dict[str, dict[str, Any]]:
    """The manifest of each stage of a run folder that holds one result per stage."""
    paths = list(root.glob("*/*/manifest.json"))
    found = {path.parent.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    assert len(found) == len(paths)
    return found


def results_by_hash(root: Path) -> dict[str, dict[str, str]]:
    """Hash of every file by stage. The report and the model's card are left out: they say how long the stages took."""
    return {
        stage: {file: found for file, found in manifest["files"].items() if file != "model/README.md"}
        for stage, manifest in manifests(root).items()
        if stage != "report"
    }
