"""Texts of evaluation sets that are to be kept out."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import InputError
from tamis.formats.evaluation_sets import EvaluationTexts, evaluation_files, read_evaluation_texts
from tamis.formats.queries import read_query_log
from tests.formats.files import write_jsonl, write_text


def test_a_beir_folder_gives_its_queries_and_relevant_documents(tmp_path):
    folder = tmp_path / "set"
    write_jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "eins"}, {"_id": "q2", "text": "zwei"})
    write_jsonl(folder / "corpus.jsonl", {"_id": "d1", "title": "T", "text": "ja"}, {"_id": "d2", "text": "nein"})
    write_text(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n")
    assert read_evaluation_texts(folder) == EvaluationTexts({"set:q1": "eins", "set:q2": "zwei"}, {"set:d1": "T\nja"})
    assert {file.name for file in evaluation_files(folder)} == {"queries.jsonl", "test.tsv", "corpus.jsonl"}
    (folder / "corpus.jsonl").unlink()
    assert read_evaluation_texts(folder).documents == {}


def test_a_file_of_queries(tmp_path):
    file = write_text(tmp_path / "topics.tsv", "qid\tquery\n1\teins\n")
    assert read_evaluation_texts(file) == EvaluationTexts({"topics.tsv:1": "eins"}, {})
    assert evaluation_files(file) == [file]


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels"),
    [
        ("corpus.parquet", "queries.parquet", "qrels.parquet"),
        ("corpus/corpus-00000-of-00001.parquet", "queries/queries-00000-of-00001.parquet", "qrels/test.parquet"),
        ("de-corpus/test-00000-of-00001.parquet", "de-queries/test-00000-of-00001.parquet", "de-qrels/test.parquet"),
    ],
)
def test_of_a_set_of_the_hub_the_queries_are_the_questions(tmp_path, corpus, queries, qrels):
    rows = {
        corpus: [{"_id": "1", "title": "T", "text": "ein Dokument"}, {"_id": "d2", "title": "", "text": "noch eins"}],
        queries: [{"_id": "1", "text": "eins"}],
        qrels: [{"query-id": "1", "corpus-id": "1", "score": 1}],
    }
    for name, table in rows.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(table), tmp_path / name)
    assert read_evaluation_texts(tmp_path).queries == {f"{tmp_path.name}:1": "eins"}
    assert evaluation_files(tmp_path) == [tmp_path / queries]
    assert [one.text for one in read_query_log(tmp_path)] == ["eins"]


def test_what_names_no_texts_is_refused(tmp_path):
    qrels = write_text(tmp_path / "test.tsv", "query-id\tcorpus-id\tscore\nq\td\t1\n")
    with pytest.raises(InputError, match=r"test\.tsv: judgements name no texts; name the BEIR folder"):
        read_evaluation_texts(qrels)
    with pytest.raises(InputError, match=r"nowhere: no evaluation set that can be read; expected a BEIR folder"):
        evaluation_files(tmp_path / "nowhere")
