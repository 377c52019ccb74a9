"""A path that leads nowhere is told before any library of models or numbers is loaded, in the words of later checks."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import write_recipe

TOO_LONG = "'" + "x" * 60 + "…': no file has so long a name; expected a path, texts come in a list"
EMPTY = "got '', expected a path ('.' for the working directory)"
HEAVY = "{'torch', 'transformers', 'sklearn'}"
PROBE = f"""
import sys
from tamis.cli import main
try:
    main()
finally:
    print(sorted({HEAVY} & sys.modules.keys()))
"""


def probe(*arguments: object) -> tuple[int, str, str]:
    """Status, complaint and heavy libraries of a command in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return found.returncode, found.stderr.strip().removeprefix("tamis: "), found.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
    ],
)
def test_it_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, complaint, loaded = probe(*arguments)
    assert (status, loaded) == (2, "[]")
    assert complaint.startswith(message)


def test_what_a_recipe_names_is_looked_for_too_and_what_the_command_replaces_it_with(recipe, tmp_path: Path):
    recipe["corpus"]["target"] = str(tmp_path / "none")
    status, complaint, loaded = probe("run", write_recipe(recipe, tmp_path), "--out", tmp_path / "run")
    assert (status, loaded) == (2, "[]")
    assert complaint.startswith(f"{tmp_path / 'none'}: not found; the recipe's corpus section names it. Give a BEIR")
    change = f"corpus.target={tmp_path / 'other'}"
    _, complaint, loaded = probe("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--set", change)
    assert complaint.startswith(f"{tmp_path / 'other'}: not found; the recipe's corpus section names it. Give a BEIR")
    assert loaded == "[]"
    changes = ["--set", f"corpus.target={tmp_path}", "--set", f"student.start={tmp_path / 'model'}"]
    _, complaint, loaded = probe("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run", *changes)
    assert loaded == "[]"
    assert complaint == f"{tmp_path / 'model'}: not a model folder; give a Hugging Face folder or a hub name"
