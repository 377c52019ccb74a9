"""A path that leads nowhere is told before any library of models or numbers is loaded, in the words of later checks."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import write_recipe

TOO_LONG = "'" + "x" * 60 + "…': no file has so long a name; expected a path, texts come in a list"
EMPTY = "got '', expected a path ('.' for the working directory)"
HEAVY = "{'torch', 'transformers', 'sklearn'}"
PROBE = f"""
import contextlib, io, json, sys
from tamis.cli import main

found = []
for arguments in json.load(sys.stdin):
    sys.argv = ["tamis", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as end:
            found.append((end.code, said.getvalue(), sorted({HEAVY} & sys.modules.keys())))
print(json.dumps(found))
"""


Told = tuple[int, str, list[str]]
"""Status, complaint and heavy libraries of a command."""


def probe(commands: Sequence[Sequence[object]], folder: Path) -> list[Told]:
    """Run commands one after the other in a process of their own."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps([list(map(str, arguments)) for arguments in commands]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(code, said.strip().removeprefix("tamis: "), heavy) for code, said, heavy in json.loads(found.stdout)]


CASES: list[tuple[tuple[str, ...], str]] = [
    (("run", "none.yaml"), "none.yaml: no such recipe"),
    (("evaluate", "./none", "--on", "."), "./none: not a model folder; give a Hugging Face folder or a hub name"),
    (("evaluate", "m=./none", "--on", "."), "./none: not a model folder; give a Hugging Face folder or a hub"),
    (("evaluate", "tamis-base", "--on", "none"), "--on none: no such folder; expected a BEIR folder (FOLDER:SPLIT"),
    (("serve", "/none/m"), "/none/m: not a model folder; give a Hugging Face folder or a hub name"),
    (
        ("compare", "a.trec", "b.trec"),
        "a.trec: not there; expected a TREC run, LOG:MODEL or the folder of an evaluation",
    ),
    (("evaluate", "x" * 300, "--on", "."), TOO_LONG),
    (("compare", "x" * 300, "b.trec"), TOO_LONG),
    (("adapt", "tamis-base", "x" * 300, "--out", "o"), TOO_LONG),
    (("adapt", "tamis-base", "", "--out", "o"), f"CORPUS: {EMPTY}"),
    (("adapt", "tamis-base", ".", "--out", "o", "--keep", "a", "--keep="), f"--keep: {EMPTY}"),
    (("run", "r.yaml", "--out", ""), f"--out: {EMPTY}"),
    (("label", "", "--queries", "q.txt"), f"SOURCE: {EMPTY}"),
    (
        ("adapt", "tamis-base", "none", "--out", "o"),
        "none: not found; the recipe's corpus section names it",
    ),
]
"""Commands, and how they begin to complain."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Told]:
    """What each command said, in an empty folder."""
    commands = [arguments for arguments, _ in CASES]
    return dict(zip(commands, probe(commands, tmp_path_factory.mktemp("empty")), strict=True))


@pytest.mark.parametrize(("arguments", "message"), CASES)
def test_it_is_told_at_once(told: dict[tuple[str, ...], Told], arguments: tuple[str, ...], message: str):
    status, complaint, loaded = told[arguments]
    assert (status, loaded) == (2, [])
    assert complaint.startswith(message)


def test_what_a_recipe_names_is_looked_for_too_and_what_the_command_replaces_it_with(recipe, tmp_path: Path):
    recipe["corpus"]["target"] = str(tmp_path / "none")
    run = ("run", write_recipe(recipe, tmp_path), "--out", tmp_path / "run")
    other = ("--set", f"corpus.target={tmp_path / 'other'}")
    start = ("--set", f"corpus.target={tmp_path}", "--set", f"student.start={tmp_path / 'model'}")
    found = probe([run, (*run, *other), (*run, *start)], tmp_path)
    assert [(status, loaded) for status, _, loaded in found] == [(2, [])] * 3
    missing = "not found; the recipe's corpus section names it. Give a BEIR"
    complaints = [complaint for _, complaint, _ in found]
    assert complaints[0].startswith(f"{tmp_path / 'none'}: {missing}")
    assert complaints[1].startswith(f"{tmp_path / 'other'}: {missing}")
    assert complaints[2] == f"{tmp_path / 'model'}: not a model folder; give a Hugging Face folder or a hub name"
