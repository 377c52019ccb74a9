"""What is said twice about the project says the same: workflows, package, lock file, pages for contributors."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tamis
from tests.commands import tamis as run_tamis

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Source"]
FORMS = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
WORKFLOWS = {
    path.stem: yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # to other loaders the key `on` is true
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job.get("steps", ())]


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT
    assert "version" in PROJECT["dynamic"]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    found = run_tamis("--version")
    assert (found.status, found.out) == (0, f"tamis {tamis.__version__}\n")


@pytest.mark.parametrize("job", ["tests", "wheel"])
def test_each_python_of_the_package_is_tested(job: str) -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert WORKFLOWS["ci"]["jobs"][job]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_workflows_name_the_major_version_of_each_action_and_may_only_read(workflow: str) -> None:
    actions = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", action) for action in actions)
    assert WORKFLOWS[workflow]["permissions"] == {"contents": "read"}
    assert all(step.keys() & {"uses", "run"} for step in steps(workflow))


def test_only_the_job_that_publishes_can_prove_who_it_is_and_after_all_checks() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert (jobs["publish"]["needs"], jobs["checks"]["needs"]) == ("checks", "version")
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_what_workflows_make_can_be_made(workflow: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    wanted = {
        target for step in steps(workflow) for target in re.findall(r"^make (\S+)$", step.get("run", ""), re.MULTILINE)
    }
    assert wanted <= set(re.findall(r"^([\w./-]+):", makefile, re.MULTILINE))


def test_the_lock_file_holds_a_version_of_each_package_that_the_checks_need() -> None:
    lines = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in locked.items()}
    extras = PROJECT["optional-dependencies"]
    assert "tamis[all]" in extras["dev"]
    parts = ("demo", "dev", "docs", "documents", "evaluate", "serve", "train")
    needed = [Requirement(one) for one in [*PROJECT["dependencies"], *(one for part in parts for one in extras[part])]]
    for one in needed:
        if one.name not in ("tamis", "torch"):  # extras of this package, and the Makefile's
            assert one.specifier.contains(versions[canonicalize_name(one.name)]), one


def test_the_hooks_before_a_commit_are_local() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_for_something(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content.keys() == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in content["body"]]
    assert len(set(ids)) == len(ids) > 0
    assert all(part["attributes"]["label"] for part in content["body"])


def test_the_citation_names_what_the_package_names() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert (citation["abstract"], citation["keywords"]) == (PROJECT["description"], PROJECT["keywords"])
    assert citation["repository-code"] == REPOSITORY


def test_everybody_who_is_cited_has_a_name_as_the_citation_file_format_wants_it() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    cited = [citation, *citation["references"]]
    assert all(one["authors"] and one["title"] for one in cited)
    for author in (author for one in cited for author in one["authors"]):
        # An entity has a name, a person has none.
        assert author.keys() in ({"name"}, {"family-names"}, {"family-names", "given-names"}), author


def test_every_page_names_the_same_repository() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*.cff"), *(ROOT / ".github").rglob("*.yml")]
    named = re.findall(r"https://github\.com/[\w-]+/tamis\b", "\n".join(p.read_text(encoding="utf-8") for p in pages))
    assert set(named) == {REPOSITORY}


def test_the_page_for_tools_is_short_and_its_places_are_there() -> None:
    page = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 60
    places = [found for found in re.findall(r"`([\w./]*/[\w./]*)`", page) if "STAGE" not in found]
    assert [p for p in places if not (ROOT / p).exists() and not (ROOT / "src" / "tamis" / p).exists()] == []
