"""Documents and queries that lie in memory: what is written of them, and what cannot be."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tamis.api.inputs import Input, documents_at, queries_at
from tamis.errors import InputError
from tamis.formats.documents import read_documents
from tests.conftest import TOPICS

ANSWERS = [answer for pairs in TOPICS.values() for _, answer in pairs]


def written(given: Input) -> list[dict[str, Any]]:
    """What is written of an input, as its readers take it."""
    given.write()
    return [json.loads(line) for line in given.paths[0].read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["mappings", "frame", "dataset", "generator"])
def test_documents_come_from_whatever_holds_them(kind, tmp_path):
    rows = [{"id": str(number), "text": text} for number, text in enumerate(ANSWERS)]
    if kind == "dataset":
        given = pytest.importorskip("datasets").Dataset.from_list(rows)
    else:
        frame = pd.DataFrame([{**row, "title": None if row["id"] == "3" else float("nan")} for row in rows])
        given = {"mappings": rows, "frame": frame, "generator": iter(ANSWERS)}[kind]
    assert written(documents_at(given, tmp_path / "inputs")) == rows


def test_documents_and_queries_come_from_frames_of_polars_and_tables_of_arrow(tmp_path):
    rows = [{"id": str(number), "text": text, "title": None} for number, text in enumerate(ANSWERS)]
    frame = pytest.importorskip("polars").DataFrame(rows)
    expected = [{"id": row["id"], "text": row["text"]} for row in rows]
    asked = frame.select(document_id="id", query="text")
    for number, given in enumerate((frame, frame.to_arrow())):
        assert written(documents_at(given, tmp_path / f"{number}")) == expected
    for given in (frame["text"], frame["text"].to_arrow()):
        assert written(documents_at(given, tmp_path / "texts")) == expected
    pairs = [(row["id"], row["text"]) for row in rows]
    assert written(queries_at(asked, tmp_path)) == written(queries_at(pairs, tmp_path / "pairs"))


def test_a_file_stays_where_it_is(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "a", "text": "b"}\n', "utf-8")
    found = documents_at(file, tmp_path / "inputs")
    found.write()
    assert found.paths == (file,)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_queries_of_a_frame_are_those_of_pairs(tmp_path):
    asked = [(str(number), answer) for number, answer in enumerate(ANSWERS)]
    frame = pd.DataFrame(asked, columns=["document_id", "query"])
    assert written(queries_at(frame, tmp_path)) == written(queries_at(asked, tmp_path / "pairs"))
    assert queries_at("a.tsv", tmp_path).paths == (Path("a.tsv"),)
    assert queries_at(None, tmp_path).paths == ()


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object"])
def test_a_row_without_an_id_is_called_by_its_number_and_the_others_keep_theirs(dtype, tmp_path):
    ids = pd.Series([7, None, 9], dtype=dtype)
    frame = pd.DataFrame({"id": ids, "text": ["a", "b", "c"], "title": pd.array(["t", pd.NA, pd.NA], dtype="string")})
    given = documents_at(frame, tmp_path)
    assert [row.get("title") for row in written(given)] == ["t", None, None]
    read = {document.doc_id: document.text for document in read_documents(given.paths[0], "target")}
    assert read == {"7": "t\na", "1": "b", "9": "c"}
    asked = pd.DataFrame({"document_id": ids, "query": ["a?", "b?", pd.NA]})
    rows = [{"document_id": 7, "query": "a?"}, {"query": "b?"}, {"document_id": 9}]
    assert written(queries_at(asked, tmp_path)) == rows
    pairs = list(asked.itertuples(index=False, name=None))
    texts = [{name: str(cell) for name, cell in row.items()} for row in rows]
    assert written(queries_at(pairs, tmp_path)) == texts


def test_cells_of_any_kind_are_written_or_told(tmp_path):
    cells = {"on": pd.Timestamp("2024-05-01"), "vector": np.arange(2), "n": np.int64(3)}
    row = {"id": uuid.UUID(int=7), "text": "a", **cells}
    plain = {"on": "2024-05-01T00:00:00", "vector": [0, 1], "n": 3}
    expected = {"id": "00000000-0000-0000-0000-000000000007", "text": "a", **plain}
    assert written(documents_at([row], tmp_path)) == [expected]
    assert written(documents_at(pd.DataFrame([row, row]), tmp_path)) == [expected, expected]
    with pytest.raises(InputError, match=r"^documents\[1\]: got object in it; expected text, numbers, dates and"):
        documents_at([row, {**row, "more": object()}], tmp_path)


def test_half_of_a_surrogate_pair_is_left_out_as_in_any_other_file(tmp_path):
    given = documents_at(["whole \U0001f600", "half \ud83d", "two halves \ud83d\ude00"], tmp_path)
    given.write()
    read = read_documents(given.paths[0], "target")
    assert [document.text for document in read] == ["whole \U0001f600", "half ", "two halves \U0001f600"]


def test_an_empty_path_is_not_the_working_directory(tmp_path):
    with pytest.raises(InputError, match=r"^documents: got '', expected a path, .*; '\.' is the working directory$"):
        documents_at("", tmp_path)
    with pytest.raises(InputError, match=r"^queries: got ''"):
        queries_at(["a.tsv", ""], tmp_path)


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        (3, "documents: got int, expected a path, a list of texts"),
        ([3], r"documents\[0\]: got int, expected a text or a mapping"),
        ({"a": "b"}, "documents: got dict"),
    ],
)
def test_documents_that_are_none_are_told(documents, told, tmp_path):
    with pytest.raises(InputError, match=told):
        documents_at(documents, tmp_path)
