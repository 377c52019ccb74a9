"""What the README says can be done, can be done."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import tamis
from tamis.cli import app
from tamis.models.checkpoint import Deployment
from tamis.models.encoder import Encoder
from tamis.models.saving import save_student
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder
from tamis.settings import read_recipe, recipe_from

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_block_runs_and_prints_a_ranking(tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture):
    student = WarmCrossEncoder(
        Encoder.load(tiny_encoder), Apart(), joint_layers=1, cross_bias=-4.0, scale=20.0, bias=-34.0
    )
    save_student(student, tmp_path / "model", Deployment({}, {}))
    general, code = blocks("python")
    assert 'Reranker("tamis-base")' in general  # run in tests/sources/test_tamis_base.py
    compile(general, "README.md", "exec")
    exec(compile(code.replace("demo/model", str(tmp_path / "model")), "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert [float(line.split()[0]) for line in lines] == sorted(
        (float(line.split()[0]) for line in lines), reverse=True
    )


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)", README))
    assert {"demo", "test"} <= named
    for target in named:
        pattern = "bench-%" if target.startswith("bench-") else target
        assert re.search(rf"^{re.escape(pattern)}:", makefile, re.MULTILINE), target
        if target.startswith("bench-"):
            assert (ROOT / "benchmarks" / f"{target.removeprefix('bench-')}.py").exists()


def test_every_command_of_the_readme_exists_and_has_help():
    for command in set(re.findall(r"^tamis ([a-z-]+)", "\n".join(blocks("")), re.MULTILINE)):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command


def test_the_recipe_snippets_fit_into_the_demo_recipe():
    demo: dict[str, Any] = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    for snippet in blocks("yaml"):
        for section, keys in yaml.safe_load(snippet).items():
            demo.setdefault(section, {}).update(keys)
    recipe = recipe_from(demo, "README")
    assert recipe.lists.domains["cjk"] == ("ja",)
    assert recipe.queries.generator == ("extractive", "endpoint")
    assert recipe.machine.requests.concurrency == 16


def test_the_settings_that_the_readme_changes_give_the_papers_loss():
    changes = re.findall(r"--set (\S+=\S+?)[`\s]", README)
    assert read_recipe(ROOT / "recipes" / "demo.yaml", changes).train.loss == "gap-hinge"


def test_links_to_files_resolve():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_public_names_are_there():
    assert all(hasattr(tamis, name) for name in tamis.__all__)
