"""A recipe whose corpus is a folder as people have it: what is read, and who is told of what is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import ItemStore, read_json, read_records
from tamis.errors import InputError
from tamis.formats import folder as walking
from tamis.formats.documents import Corpus
from tamis.inspection import Inspection
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Document, Dropped
from tests.commands import tamis, write_recipe
from tests.conftest import TOPICS, write_beir
from tests.formats.files import write_text
from tests.formats.made_files import docx, paragraph, pdf


def key_of(content: dict[str, Any]) -> Any:
    """What the key of the stage is made of."""
    with open_parts(recipe_from(content, "tiny"), ItemStore(Path(content["corpus"]["target"]).parent / "i")) as parts:
        return parts.corpus.key()


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    answers = [answer for _, answer in TOPICS["en"]]
    write_text(folder / "a.md", f"---\ntitle: Packages\nlang: en\n---\n{answers[0]}")
    write_text(folder / "deep/b.html", f"<html lang=en><h1>Modules</h1><p>{answers[1]}")
    write_text(folder / "copy.txt", answers[2])
    write_text(folder / "original.txt", answers[2])
    (folder / "c.docx").write_bytes(docx(paragraph(answers[3])))
    (folder / "scan.pdf").write_bytes(pdf([[]]))
    write_text(folder / "rows.csv", f"key;said\n1;{answers[4]}\n2;{answers[5]}\n")
    write_text(folder / "picture.png", "no text")
    write_text(folder / ".git/config.txt", "hidden")
    return folder


@pytest.fixture
def content(recipe: dict[str, Any], handbook: Path) -> dict[str, Any]:
    return {**recipe, "corpus": {"target": str(handbook), "fields": {"id": "key", "text": "said"}}}


def test_every_file_is_read_or_told_everywhere(content: dict[str, Any], tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", write_recipe(content, tmp_path)
    said = tamis("run", recipe, "--until", "corpus", "--out", run)
    assert said.status == 0, said.err
    (folder,) = (run / "corpus").iterdir()
    documents = {d.doc_id: d for d in read_records(folder / "corpus.parquet", Document)}
    assert list(documents) == ["a.md", "c.docx", "copy.txt", "deep/b.html", "rows.csv/1", "rows.csv/2"]
    assert documents["a.md"].title == "Packages"
    assert documents["deep/b.html"].text.startswith("# Modules\n")
    assert {d.language for d in documents.values()} == {"en"}
    dropped = {d.record_id: d for d in read_records(folder / "dropped.parquet", Dropped)}
    assert {name: d.reason for name, d in dropped.items()} == {
        "picture.png": ".png: no form of documents",
        "scan.pdf": "no text in it, scans only: have text recognised in them",
        "original.txt": "duplicate text",
    }
    assert dropped["original.txt"].overlaps == "copy.txt"
    manifest = read_json(folder / "manifest.json")
    assert manifest["folder"] == {
        "read": 7,
        "left_out": 1,
        "skipped": {"hidden files and folders": 1},
        "gave": 6,
    }
    assert manifest["counts"]["in"] == len(documents) + len(dropped)
    assert "1 no form of documents (1 .png)" in said.err
    assert "passed over: 1 hidden files and folders" in said.err
    (stage,) = Inspection(run).stages()
    assert stage.skipped == {"hidden files and folders": 1}
    shown = " ".join(tamis("inspect", run).out.split())
    for part in (
        "corpus, 8 files: 6 read",
        "1 .png: no form of documents",
        "scans only",
        "corpus, passed over: 1 hidden files and folders",
    ):
        assert part in shown


def test_a_run_in_which_nothing_can_be_read_ends(content: dict[str, Any], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "sub").mkdir(parents=True)
    content["corpus"]["target"] = str(empty)
    with pytest.raises(InputError, match="nothing to read in this folder; it is empty"):
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="corpus")
    (empty / "scan.pdf").write_bytes(pdf([[]]))
    with pytest.raises(InputError, match=r"no usable document \(1 no text in it, scans only"):
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="corpus")


def test_keys_follow_what_is_read_and_why_it_is_not(
    content: dict[str, Any], handbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(**changes: Any) -> str:
        return json.dumps(key_of({**content, "corpus": content["corpus"] | changes}))

    first = key()
    write_text(handbook / "other.png", "one more picture")
    write_text(handbook / "deep/queries.jsonl", "{}")
    assert key() == first
    assert len({first, key(exclude=["*.md"]), key(include=["*.md"]), key(fields={"text": "said"})}) == 4
    with monkeypatch.context() as patch:
        patch.setattr(walking, "why_unread", lambda kind: f"{kind}: install it" if kind == ".docx" else "")
        assert key() != first
    write_text(handbook / "deep/b.html", "changed")
    assert key() != first


@pytest.mark.parametrize("setting", ["include", "exclude"])
def test_patterns_that_would_choose_nothing_among_rows_are_refused(
    recipe: dict[str, Any], tmp_path: Path, setting: str
) -> None:
    content = recipe | {"corpus": recipe["corpus"] | {setting: ["old.*"]}}
    with pytest.raises(InputError, match=r"corpus\.jsonl holds rows, of which all are read; leave the patterns out"):
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", until="corpus")


def test_settings_that_are_not_used_are_in_no_key(recipe: dict[str, Any]) -> None:
    facts, *_ = key_of(recipe)
    assert not {"include", "exclude", "fields"} & facts.keys()


def test_rows_of_a_beir_folder_are_read_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir")
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    rows += [{"_id": "last", "title": "Ein Titel", "text": " # kein\r\nTitel\x0b ", "metadata": {"lang": "de"}}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    read = [(d.doc_id, d.text, d.language, d.origin, d.path) for d in Corpus(folder).documents("target")]
    assert read == [
        (
            row["_id"],
            f"{row['title']}\n{row['text']}" if row["title"] else row["text"],
            row["metadata"]["lang"],
            "target",
            "",
        )
        for row in rows
    ]
