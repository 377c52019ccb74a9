"""Training lists for other trainers: what is written is read back, here and by the libraries it is for."""

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import read_records
from tamis.errors import InputError, RunError, SettingsError
from tamis.exporting.lists import FORMATS, write_lists
from tamis.formats.documents import read_documents
from tamis.formats.queries import read_given_queries
from tamis.formats.training_files import Example, read_examples
from tamis.formats.trec import read_run
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Document, Query, TrainingList
from tests.commands import tamis
from tests.conftest import tiny_recipe, write_beir


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    base = tmp_path_factory.mktemp("run")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    run_recipe(recipe_from(content, "tiny"), base / "run", "lists")
    return base / "run"


def records(run: Path, stage: str, kind: type) -> list[Any]:
    (file,) = run.glob(f"{stage}/*/{stage}.parquet")
    return list(read_records(file, kind))


def expected(run: Path, split: str) -> list[tuple[str, list[tuple[str, float]], str]]:
    """Query, its documents with their labels, and the best of them, by list."""
    queries = {query.query_id: query for query in records(run, "queries", Query)}
    texts = {document.doc_id: document.text for document in records(run, "corpus", Document)}
    found = []
    for one in records(run, "lists", TrainingList):
        if one.split == split:
            pairs = [(texts[doc_id], label) for doc_id, label in zip(one.doc_ids, one.labels, strict=True)]
            best = max(pairs, key=lambda pair: pair[1])[0]
            found.append((queries[one.query_id].text, pairs, best))
    return found


def content(example: Example) -> tuple[str, list[tuple[str, float | None]]]:
    return example.query, sorted((passage.text, passage.score) for passage in example.passages)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "beir"])
@pytest.mark.parametrize("split", ["train", "held-out"])
def test_what_is_written_is_read_back(run: Path, tmp_path: Path, form: str, split: str) -> None:
    counts = write_lists(run, form, tmp_path / "out")
    examples = list(read_examples(tmp_path / "out" / f"{split}.jsonl"))
    wanted = expected(run, split)
    assert counts[split] == len(examples) == len(wanted) > 0
    assert [content(example) for example in examples] == [(query, sorted(pairs)) for query, pairs, _ in wanted]
    if form != "sentence-transformers":  # whose lists know labels only
        relevant = [[passage.text for passage in example.passages if passage.relevant] for example in examples]
        assert relevant == [[best] for _, _, best in wanted]


def test_a_beir_folder_is_read_back(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_lists(run, "beir", out)
    documents = {document.doc_id: document for document in read_documents(out, "target")}
    assert documents.keys() == {document.doc_id for document in records(run, "corpus", Document)}
    assert all(documents[d.doc_id].text == d.text for d in records(run, "corpus", Document))
    assert {document.language for document in documents.values()} == {"en", "de"}
    for split in ("train", "held-out"):
        given = [(text, documents[doc_id].text) for _, text, doc_id in read_given_queries(out, [split])]
        assert given == [(query, best) for query, _, best in expected(run, split)]
        labels = {
            one.query_id: dict(zip(one.doc_ids, one.labels, strict=True)) for one in records(run, "lists", TrainingList)
        }
        for found in read_run(out / "runs" / f"{split}.trec").values():
            assert dict(zip(found.doc_ids, found.scores, strict=True)) == labels[found.query_id]


def test_an_export_is_a_general_corpus(run: Path, tmp_path: Path, recipe: dict[str, Any]) -> None:
    write_lists(run, "flagembedding", tmp_path / "out")
    recipe["corpus"]["general"] = [str(tmp_path / "out" / "train.jsonl")]
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "again", "lists")
    queries = read_records(folders["queries"] / "queries.parquet", Query)
    assert {query.origin for query in queries if query.generator == "given"} == {"general"}


def test_datasets_and_sentence_transformers_learn_from_it(
    run: Path,
    tmp_path: Path,
    stock_folder: Path,
) -> None:
    datasets = pytest.importorskip("datasets")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    losses = pytest.importorskip("sentence_transformers.cross_encoder.losses")
    datasets.disable_progress_bars()
    write_lists(run, "sentence-transformers", tmp_path / "out")
    table = datasets.Dataset.from_json(str(tmp_path / "out" / "train.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert table.column_names == ["query", "docs", "labels"]
    model = sentence_transformers.CrossEncoder(str(stock_folder), device="cpu")
    batch = table[:2]
    import torch

    labels = [torch.tensor(each) for each in batch["labels"]]
    loss = losses.ListNetLoss(model)([batch["query"], batch["docs"]], labels)
    assert torch.isfinite(loss)


def test_the_fields_are_those_of_the_tools(run: Path, tmp_path: Path) -> None:
    fields = {}
    for form in ("flagembedding", "tevatron", "sentence-transformers"):
        write_lists(run, form, tmp_path / form)
        fields[form] = json.loads((tmp_path / form / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert list(fields["flagembedding"]) == ["query", "pos", "pos_scores", "neg", "neg_scores"]
    assert list(fields["tevatron"]) == ["query_id", "query", "positive_passages", "negative_passages"]
    assert fields["tevatron"]["positive_passages"][0].keys() == {"docid", "title", "text", "score"}
    assert list(fields["sentence-transformers"]) == ["query", "docs", "labels"]


def test_what_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="--format excel: expected one of flagembedding, sentence-transformers, tev"
    ):
        write_lists(run, "excel", tmp_path / "out")
    with pytest.raises(RunError, match="nowhere: no such folder; expected the folder of a run"):
        write_lists(tmp_path / "nowhere", "beir", tmp_path / "out")
    with pytest.raises(RunError, match="no finished stage lists in it"):
        write_lists(tmp_path, "beir", tmp_path / "out")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="already holds something else"):
        write_lists(run, "beir", tmp_path / "out")


def test_the_command(run: Path, tmp_path: Path) -> None:
    outcome = tamis("write-lists", run, "--format", "tevatron", "--out", tmp_path / "out")
    assert outcome.status == 0
    assert outcome.out.startswith(f"{tmp_path / 'out'}: ")
    assert "lists held-out" in outcome.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train.jsonl", "held-out.jsonl"}
