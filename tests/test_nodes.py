"""What the benchmark of two machines refuses, and how it counts what was lost."""

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which finds what it imports beside it."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("nodes")


@pytest.mark.parametrize(("user", "found", "line"), [(1000, "/sbin/ip", "run it as root"), (0, None, "iproute2")])
def test_a_machine_that_makes_no_namespaces_is_told_in_one_line(
    nodes: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user: int,
    found: str | None,
    line: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda _: found)
    with pytest.raises(SystemExit) as ended:
        nodes.check_machine()
    assert ended.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("nodes.py: ")
    assert line in told


def test_a_request_is_lost_only_where_it_was_sent_after_the_death(nodes: ModuleType) -> None:
    died = nodes.Watched(
        addresses=[["one", "two"], ["one", "one"]], dies=10.0, dead=10.1, replicas_again=20.0, full=21.0
    )
    before, under_way, later = nodes.Asked(1, 2, 200), nodes.Asked(9.9, 11, 500), nodes.Asked(10.2, 11, 500)
    for seen, lost, met in (([before, under_way], 0, True), ([before, under_way, later], 1, False)):
        reached = importlib.import_module("results").checked(nodes._served(seen, died).rows)
        rows = {one["name"]: (one["value"], one["met"]) for one in reached}
        assert rows["requests lost that were sent after the machine's death"] == (lost, met)
        assert rows["requests lost that were under way"] == (1, True)
        assert rows["seconds to the full rate with the machine gone"] == (pytest.approx(10.9), True)
