"""Blocks of Python in the pages that adapt and run: they do, with a small model in place of the big one."""

import json

import pytest

from tests.conftest import write_beir
from tests.test_readme import PAGES, blocks, warm_model

BLOCKS = [(page, code) for page in PAGES for code in blocks(page, "python") if "tamis.run(" in code or "adapt(" in code]


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(BLOCKS)])
def test_a_block_runs(page, code, tiny_encoder, tmp_path, monkeypatch):
    model = warm_model(tmp_path / "model", tiny_encoder)
    (tmp_path / "demo" / "models").mkdir(parents=True)
    (tmp_path / "demo" / "models" / "e5-small").symlink_to(tiny_encoder)
    folder = write_beir(tmp_path / "my" / "documents")
    rows = map(json.loads, (folder / "queries.jsonl").read_text("utf-8").splitlines())
    asked = [f"{row['_id'].removeprefix('q/')}\t{row['text']}" for row in rows]
    (tmp_path / "my" / "queries.tsv").write_text("\n".join(["document-id\tquery", *asked]) + "\n", "utf-8")
    (tmp_path / "recipes").mkdir()
    recipe = blocks("docs/adapting.md", "yaml")[0].replace("tamis-base", str(model))
    (tmp_path / "recipes" / "mine.yaml").write_text(recipe, "utf-8")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code.replace('"tamis-base"', repr(str(model))), page, "exec"), names)
    assert names["run"].folders
