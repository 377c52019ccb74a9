"""What the package needs without any extra, and what it says where an extra is missing."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import tamis as package
from tamis import Reranker
from tamis.errors import MissingPartError
from tamis.extras import PACKAGES, missing_package, require

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tamis"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_OTHERS = {"httpx2", "regex", "typing_extensions"}
"""What transformers (the first two) and torch (the last) import whatever we do."""

OPTIONAL = sorted({package for packages in PACKAGES.values() for package in packages} - OF_OTHERS)
"""All that must not be needed for scoring."""

REFUSING = f"""
import sys

class Refusing:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {OPTIONAL!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Refusing, sys.meta_path)

def tamis(*arguments):
    from tamis.cli import main
    sys.argv = ["tamis", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code
"""
"""Beginning of a program on a machine that has none of the optional packages."""


def without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where the optional packages cannot be imported."""
    return subprocess.run([sys.executable, "-c", REFUSING + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("extra", PACKAGES)
def test_an_extra_brings_exactly_what_is_checked_for(extra: str):
    named = [re.split(r"[^\w-]", line)[0].replace("-", "_") for line in PROJECT["optional-dependencies"][extra]]
    assert sorted(named) == sorted(PACKAGES[extra])


def test_nothing_optional_is_installed_always():
    always = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in PROJECT["dependencies"]}
    assert not always & {package for packages in PACKAGES.values() for package in packages}


@pytest.mark.parametrize(("name", "extra"), [("adapt", "train"), ("run", "train"), ("evaluate", "evaluate")])
def test_functions_that_need_an_extra_say_what_to_type(name: str, extra: str):
    ended = without_extras(f"import tamis as package; package.{name}")
    (line,) = [line for line in ended.stderr.splitlines() if "MissingPartError" in line]
    assert line.endswith(f"is not installed; pip install 'tamis[{extra}]'")
    assert f"tamis.{name}" in line


def test_scoring_exporting_merging_and_help_need_no_extra(stock_folder: Path, tmp_path: Path):
    query, lines = "How do I add a user?", ["Add a user with adduser.", "Set the clock.", "Printing needs a spooler."]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    folder, out = str(stock_folder), str(tmp_path / "out")
    found = without_extras(f"""
import json
from tamis import Reranker
print(json.dumps(Reranker({folder!r}).rank({query!r}, {lines!r})))
assert tamis("--help") == 0
assert tamis("rerank", {folder!r}, {str(tmp_path / "lines.txt")!r}, "-q", {query!r}) == 0
assert tamis("export", {folder!r}, {out!r}, "--to", "transformers") == 0
assert tamis("merge", {folder!r}, {folder!r}, "--out", {out + "2"!r}, "--method", "linear") == 0
""")
    assert found.returncode == 0, found.stderr
    ranked = json.loads(found.stdout.splitlines()[0])
    expected = Reranker(stock_folder).rank(query, lines)
    assert [one["corpus_id"] for one in ranked] == [one["corpus_id"] for one in expected]
    assert [one["score"] for one in ranked] == pytest.approx([one["score"] for one in expected])


COMMANDS = {
    "run": ("train", ["run", "recipe.yaml"]),
    "adapt": ("train", ["adapt", "tamis-base", "documents", "--out", "run"]),
    "queries": ("train", ["queries", "recipe.yaml", "--batch-out", "prompts.jsonl"]),
    "write-lists": ("train", ["write-lists", "run", "--out", "lists", "--format", "beir"]),
    "weigh": ("train", ["weigh", "model", "documents", "--queries", "queries.tsv"]),
    "inspect": ("train", ["inspect", "run"]),
    "evaluate": ("evaluate", ["evaluate", "model", "--on", "set"]),
    "compare": ("evaluate", ["compare", "a.trec", "b.trec"]),
    "serve": ("serve", ["serve", "model"]),
}


def test_a_command_without_its_extra_ends_with_one_line_that_says_what_to_type():
    found = without_extras(f"""
for arguments in {[arguments for _, arguments in COMMANDS.values()]!r}:
    assert tamis(*arguments) == 2, arguments
assert "torch" not in sys.modules
""")
    assert found.returncode == 0, found.stderr
    assert found.stderr.splitlines() == [
        f"tamis: tamis {name}: {PACKAGES[extra][0]} is not installed; pip install 'tamis[{extra}]'"
        for name, (extra, _) in COMMANDS.items()
    ]


def test_what_is_installed_is_not_complained_of():
    for extra in PACKAGES:
        require("tamis", extra)


def test_the_line_names_a_way_out_where_there_is_one():
    found = missing_package("candidates.index", "faiss", "faiss", "set it to exact")
    assert isinstance(found, MissingPartError)
    assert str(found) == "candidates.index: faiss is not installed; pip install 'tamis[faiss]', or set it to exact"


def test_one_place_makes_the_line_and_every_extra_that_is_named_is_there():
    named = [
        (path.name, extra)
        for path in SOURCE.rglob("*.py")
        for extra in re.findall(
            r'missing_package\([^()]*(?:\([^()]*\))?[^()]*?"([\w-]+)"(?:, "[^"]+")?\)', path.read_text()
        )
    ]
    assert len(named) >= 7
    assert {extra for _, extra in named} <= PROJECT["optional-dependencies"].keys()
    makes = [path.name for path in SOURCE.rglob("*.py") if "is not installed; pip install" in path.read_text()]
    assert makes == ["extras.py"]


@pytest.mark.slow
def test_the_built_wheel_holds_every_file_and_runs(tmp_path: Path):
    copied = tmp_path / "source"
    shutil.copytree(ROOT / "src", copied / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copied / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = tmp_path / "target"
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(copied)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    files = {path.relative_to(copied / "src") for path in (copied / "src" / "tamis").rglob("*") if path.is_file()}
    assert [file for file in sorted(files) if not (target / file).is_file()] == []
    told = subprocess.run(
        [sys.executable, "-m", "tamis", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
    )
    assert told.stdout == f"tamis {package.__version__}\n"
