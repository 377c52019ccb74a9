"""The site of docs/: its pages, links and messages."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TOOL: dict[str, Any] = runpy.run_path(str(DOCS / "tools" / "messages.py"))
HOOKS: dict[str, Any] = runpy.run_path(str(DOCS / "tools" / "site_hooks.py"))
EXPLAINED = re.findall(r"^\| `([^`\n]+)` \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
PAGES = sorted(DOCS.rglob("*.md"))
SERVING = SimpleNamespace(file=SimpleNamespace(src_uri="serving.md"))
"""A page as mkdocs hands it to hooks."""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """All messages, found in the code once."""
    return [one.text for one in TOOL["messages"]()]


@pytest.mark.parametrize("explained", EXPLAINED)
def test_an_explained_message_is_one_that_tamis_says(explained: str, texts: list[str]):
    pieces = [piece for piece in explained.split("…") if piece.strip(" :;,.()")] or [explained.split("…")[1]]
    pattern = re.compile(".*".join(map(re.escape, pieces)), re.DOTALL)
    assert any(pattern.search(text) for text in texts), explained


def test_most_kinds_of_messages_are_explained():
    assert len(EXPLAINED) == len(set(EXPLAINED))
    assert len(EXPLAINED) > 40


def test_every_raise_with_words_is_in_the_table_that_the_site_has(texts: list[str]):
    table = HOOKS["on_page_markdown"](TOOL["PLACE"], page=SERVING, config=SimpleNamespace(repo_url=None))
    assert len(texts) > 300
    for text in texts:
        assert TOOL["row"](text) in table
    assert "cannot listen on …" in table


def test_gaps_stand_for_values(tmp_path: Path):
    (tmp_path / "one.py").write_text(
        'raise InputError(f"{file}: no {what} in it; add one" if many else "none")\nraise RunError(text)\n',
        encoding="utf-8",
    )
    found = [(one.kind, one.text) for one in TOOL["messages"](tmp_path)]
    assert sorted(found) == [("InputError", "none"), ("InputError", "…: no … in it; add one")]


@pytest.mark.parametrize(
    ("link", "repository", "expected"),
    [
        ("[a](models.md#in-python)", "", "[a](models.md#in-python)"),
        ("[a](#here)", "", "[a](#here)"),
        ("[a](https://arxiv.org/abs/1)", "", "[a](https://arxiv.org/abs/1)"),
        ("[a](../README.md#serve)", "", "a"),
        ("[a](../README.md#serve)", "https://host/me/tamis/", "[a](https://host/me/tamis/blob/main/README.md#serve)"),
        (
            "[a](schemas/results.json)",
            "https://host/me/tamis",
            "[a](https://host/me/tamis/blob/main/docs/schemas/results.json)",
        ),
        ("![a](images/a.png)", "", "![a](images/a.png)"),
    ],
)
def test_links_out_of_the_docs_lead_to_the_repository_or_are_words(link: str, repository: str, expected: str):
    assert HOOKS["on_page_markdown"](link, page=SERVING, config=SimpleNamespace(repo_url=repository)) == expected


def test_every_page_of_the_menu_is_there_and_stands_once():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]
    named = list(leaves(nav))
    assert len(named) == len(set(named))
    assert {name for name in named if not (DOCS / name).is_file()} == set()


def leaves(part: Any) -> list[str]:
    """The files that a part of the menu names."""
    if isinstance(part, str):
        return [part]
    return [name for one in (part.values() if isinstance(part, dict) else part) for name in leaves(one)]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_no_paragraph_is_longer_than_ninety_words(page: Path):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|\n(?=- |\d+\. |\||#)", text):
        assert len(paragraph.split()) <= 90 or paragraph.lstrip().startswith("|"), paragraph[:80]


def test_every_decision_says_what_and_why():
    entries = re.split(r"^## ", (DOCS / "decisions.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) > 130
    for entry in entries:
        assert re.search(r"^\*\*Decision\.\*\* .+?^\*\*Why\.\*\* .", entry, re.DOTALL | re.MULTILINE), entry[:60]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert "tamis.Reranker.rank" in page
    assert "cannot listen on" in (tmp_path / "site" / "troubleshooting.html").read_text(encoding="utf-8")
