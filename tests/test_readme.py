"""What the README and the pages below docs/ say can be done, can be done."""

import io
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

import tamis
from tamis.cli import app
from tamis.models.checkpoint import Deployment
from tamis.models.encoder import Encoder
from tamis.models.saving import save_student
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder
from tamis.pipeline.reading import read_recipe, recipe_from
from tamis.pipeline.recipe import Recipe
from tamis.serving.settings import Sources
from tamis.stages.queries.settings import PromptSettings
from tests.commands import tamis as run_tamis
from tests.conftest import write_beir

ROOT = Path(__file__).parent.parent
PAST = {"docs/log.md", "docs/decisions.md", "CHANGELOG.md"}
"""Pages that also tell of settings that are gone."""

FILES = {".jsonl", ".json", ".md", ".parquet", ".py"}
"""`queries.jsonl` is a file and no setting."""

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
README = PAGES["README.md"]
COMMANDS = typer.main.get_group(app).commands
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    return [code for found, code in FENCED.findall(PAGES[page]) if found == language]


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", PAGES[page])


def inline_code(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def typed_commands(page: str) -> Iterator[list[str]]:
    """Every call of tamis in the blocks of a page, in words, wherever it stands in its line."""
    for line in "\n".join(blocks(page, "")).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)  # tells && and | apart from words
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quotation mark in what is no command
            continue
        for place, word in enumerate(words):
            if word == "tamis" and (place == 0 or words[place - 1] in ("|", "&&", "-m") or "=" in words[place - 1]):
                call = words[place + 1 :]
                yield call[: next((n for n, word in enumerate(call) if set(word) <= set("|&;<>()")), len(call))]


def warm_model(folder: Path, body: Path) -> Path:
    student = WarmCrossEncoder(Encoder.load(body), Apart(), joint_layers=1, cross_bias=-4.0, scale=20.0, bias=-34.0)
    save_student(student, folder, Deployment({}, {}))
    return folder


def test_the_python_blocks_run_and_print_a_ranking(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
):
    model = warm_model(tmp_path / "model", tiny_encoder)
    for page in PAGES:
        for code in blocks(page, "python"):
            if "tamis.run(" in code or "tamis.adapt(" in code:
                continue  # see tests/api/test_pages.py
            if "onnxruntime" in code or "index=" in code:
                continue  # needs an export or an index: tests/exporting/test_warm.py, tests/models/test_known.py
            assert re.search(r'Reranker\("(tamis-base|demo/model)"\)', code), page
            here = re.sub(r'Reranker\("(tamis-base|demo/model)"\)', f"Reranker({str(model)!r})", code)
            exec(compile(here, page, "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5  # two of the README, three of docs/models.md
    scores = [float(line.split()[0]) for line in lines]
    for page in (scores[:2], scores[2:]):
        assert page == sorted(page, reverse=True)


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    code = "\n".join(text for page in PAGES for text in [*blocks(page, ""), *inline_code(page)])
    named = set(re.findall(r"(?:^|&& )make ([a-z./_-]+)(?=\s|$)", code, re.MULTILINE))
    assert {"demo", "test", "general", "bench-first_stages", ".venv/installed"} <= named
    for target in named:
        pattern = "bench-%" if target.startswith("bench-") else target
        assert re.search(rf"^{re.escape(pattern)}:", makefile, re.MULTILINE), target
        if target.startswith("bench-"):
            assert (ROOT / "benchmarks" / f"{target.removeprefix('bench-')}.py").exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_understood(page: str):
    for words in typed_commands(page):
        command = COMMANDS[words[0]]
        command.make_context(words[0], words[1:])  # refuses what is not an option, or lacks an argument


def test_commands_are_found_wherever_they_stand():
    calls = [" ".join(words[:2]) for page in PAGES for words in typed_commands(page)]
    assert {"run recipes/mine.yaml", "rerank mine", "serve tamis-base", "merge A", "export FOLDER"} <= set(calls)
    assert "inspect runs/mine" in calls  # with a comment behind it
    assert len(calls) > 25


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_a_sentence_have_the_options_that_they_name(page: str):
    for text in inline_code(page):
        found = re.match(r"tamis ([a-z][a-z-]*)", text)
        if found and page not in PAST:
            known = {option for one in COMMANDS[found[1]].params for option in one.opts}
            assert set(re.findall(r"--[a-z-]+", text)) <= known, text


def test_the_small_recipe_is_whole_and_runs(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch):
    snippet, *_ = blocks("docs/adapting.md", "yaml")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(snippet, encoding="utf-8")
    write_beir(tmp_path / "my" / "documents")
    rows = map(json.loads, (tmp_path / "my" / "documents" / "queries.jsonl").read_text("utf-8").splitlines())
    asked = [f"{row['_id'].removeprefix('q/')}\t{row['text']}" for row in rows]
    (tmp_path / "my" / "queries.tsv").write_text("\n".join(["document-id\tquery", *asked]) + "\n", "utf-8")
    (tmp_path / "demo" / "models").mkdir(parents=True)
    (tmp_path / "demo" / "models" / "e5-small").symlink_to(tiny_encoder)
    monkeypatch.chdir(tmp_path)
    small = {
        "precision": "float32",
        "scores.use": 0,
        "student.start": warm_model(tmp_path / "base", tiny_encoder),
        "train.general_steps": 2,
        "train.specialist_steps": 2,
    }
    changes = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    typed = list(typed_commands("docs/adapting.md"))
    whole = next(words for words in typed if words[0] == "run" and "--model" in words)
    ranked = next(words for words in typed if words[0] == "rerank")
    outcome = run_tamis(*whole, *changes)
    assert outcome.status == 0, outcome.err
    assert "model:  mine" in outcome.out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Pakete installiert man mit apt.\n")))
    assert run_tamis(*ranked).out.endswith("Pakete installiert man mit apt.\n")


OF_SERVERS = "docs/operating.md"
"""Its YAML holds settings of a server, all others' those of a recipe."""


def test_settings_of_a_server_are_understood(tmp_path: Path):
    for snippet in blocks(OF_SERVERS, "yaml"):
        (tmp_path / "serve.yaml").write_text(snippet, encoding="utf-8")
        assert Sources({}, {}, tmp_path / "serve.yaml").read().notes == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml") and page != OF_SERVERS])
def test_recipe_snippets_fit_into_the_demo_recipe(page: str):
    for snippet in blocks(page, "yaml"):
        demo: dict[str, Any] = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
        for section, content in yaml.safe_load(snippet).items():
            demo[section] = {**demo.get(section, {}), **content} if isinstance(content, dict) else content
        recipe_from(demo, page)


def test_the_snippets_say_what_their_pages_are_about():
    (written, queries, logs), (teachers,) = blocks("docs/queries.md", "yaml"), blocks("docs/teachers.md", "yaml")
    assert len(yaml.safe_load(written)["queries"]["written"]) == 2
    assert yaml.safe_load(queries)["queries"]["generator"] == "endpoint"
    assert yaml.safe_load(queries)["queries"]["prompt"]["kinds"] == PromptSettings().kinds  # called the default there
    assert len(yaml.safe_load(logs)["queries"]["logs"]) == 3
    kinds = [one["kind"] for one in yaml.safe_load(teachers)["scores"]["teachers"]]
    assert kinds == ["judge", "remote-reranker", "remote-encoder", "reranker"]


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from sections(argument)


def is_setting(path: list[str], within: type[BaseModel]) -> bool:
    first, *rest = path
    field = within.model_fields.get(first)
    if field is None:
        return False
    return not rest or any(is_setting(rest, section) for section in sections(field.annotation))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in PAST])
def test_every_setting_that_is_named_exists(page: str):
    for text in inline_code(page):
        found = re.match(r"(?:--set )?([a-z]+(?:\.[a-z_]+)+)(?=$|[=:\[ ])", text)
        if found and found[1].split(".")[0] in Recipe.model_fields and Path(found[1]).suffix not in FILES:
            assert is_setting(found[1].split("."), Recipe), text


def test_the_settings_that_give_the_papers_loss():
    changes = re.findall(r"--set (\S+=\S+?)[`\s]", PAGES["docs/adapting.md"])
    assert read_recipe(ROOT / "recipes" / "demo.yaml", changes).train.loss == "gap-hinge"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str):
    text = prose(page)
    targets = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|href)="([^"]+)"', text)]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(str(path.relative_to(ROOT))), target


def anchors(page: str) -> set[str]:
    """Of a page's headings, as GitHub makes them: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_an_anchor_is_made_as_github_makes_it():
    assert "resultsjson" in anchors("docs/results.md")
    assert "2026-11-25-the-demos-recipe-elsewhere" in anchors("docs/log.md")


def linked(page: str) -> set[str]:
    """Pages that a page links to."""
    targets = re.findall(r"\]\(([^)\s#]+)", prose(page))
    return {os.path.normpath(Path(page).parent / target) for target in targets} & PAGES.keys()


def test_every_page_can_be_reached_from_the_readme_and_most_from_the_index():
    reached, left = {"README.md"}, ["README.md"]
    while left:
        new = linked(left.pop()) - reached
        reached |= new
        left += new
    assert reached == PAGES.keys()
    index = linked("docs/index.md") | {"docs/index.md"}
    assert {page for page in PAGES if page.startswith("docs/")} == index


def test_the_marked_tables_are_those_that_the_benchmarks_wrote():
    marked = {
        name: table
        for text in PAGES.values()
        for name, table in re.findall(
            r"<!-- (\w+): written by benchmarks/\1\.py -->\n(.*?)<!-- /\1 -->", text, re.DOTALL
        )
    }
    learning = {"adapted_small", "adaptation", "first_stage_input", "merging", "readapting", "recipe", "training"}
    ranking = {"behind", "first_stages", "general", "known", "long_documents", "mining", "scoring", "search", "small"}
    served = {"nodes", "production", "served", "serving"}
    trust = {"estimates", "proof", "trust", "trust_server"}
    assert marked.keys() == learning | ranking | served | trust
    for name, table in marked.items():
        results = ROOT / "benchmarks" / "results" / f"{name}.md"
        assert table == (results.read_text(encoding="utf-8") if results.exists() else ""), name


def test_every_benchmark_writes_its_table_into_the_page_that_has_its_marks():
    for page, text in PAGES.items():
        for name in re.findall(r"<!-- (\w+): written by benchmarks/\1\.py -->", text):
            source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
            assert re.findall(r"\bDOCS / \"(\S+)\"", source) == [page.removeprefix("docs/")], name


def test_the_public_names_are_there():
    assert all(hasattr(tamis, name) for name in tamis.__all__)
