"""Given queries: BEIR folders and training files."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import InputError
from tamis.formats.beir import read_query_texts
from tamis.formats.documents import read_documents
from tamis.formats.fields import content_id
from tamis.formats.queries import LoggedQuery, given_query_files, query_log_files, read_given_queries, read_query_log
from tests.formats.files import write_jsonl, write_text


def beir_folder(folder, *qrels):
    write_jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "eins"}, {"_id": "q2", "text": "zwei"})
    write_text(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n" + "\n".join(qrels))
    return folder


def test_given_queries_come_with_their_relevant_documents(tmp_path):
    folder = beir_folder(tmp_path, "q1\td1\t1", "q2\td2\t0", "q2\td1\t2")
    assert list(read_given_queries(folder)) == [("q1", "eins", "d1"), ("q2", "zwei", "d1")]
    assert given_query_files(folder, ["test", "dev"]) == [
        folder / "queries.jsonl",
        folder / "qrels" / "test.tsv",
        folder / "qrels" / "dev.tsv",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 d1 1", r"test\.tsv, line 2: expected query-id, corpus-id and a whole number between tabs, got 'q1 d1 1'"),
        ("q1\td1\thigh", r"test\.tsv, line 2: expected query-id, corpus-id and a whole number"),
        ("q9\td1\t1", r"test\.tsv, line 2: query 'q9' is not in queries\.jsonl; add it or remove the line"),
    ],
)
def test_a_judgement_that_is_not_understood_is_named(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        list(read_given_queries(beir_folder(tmp_path, line)))


def test_given_queries_need_both_files(tmp_path):
    write_jsonl(tmp_path / "queries.jsonl", {"_id": "q1", "text": "eins"})
    with pytest.raises(
        InputError, match=r"test\.tsv: no such file; given queries need queries\.jsonl and qrels/test\.tsv"
    ):
        list(read_given_queries(tmp_path))


def test_a_query_that_comes_twice_is_named(tmp_path):
    folder = beir_folder(tmp_path, "q1\td1\t1")
    write_jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "eins"}, {"_id": "q1", "text": "zwei"})
    with pytest.raises(InputError, match=r"queries\.jsonl, line 2: id 'q1' stands on line 1 too"):
        list(read_given_queries(folder))


FLAGEMBEDDING = [
    {"query": "eins", "pos": ["ja", "auch ja"], "neg": ["nein"], "pos_scores": [0.2, 0.9], "neg_scores": [0.1]},
    {"query": "zwei", "pos": ["ja"], "neg": [], "pos_scores": None},
]
TEVATRON = [
    {
        "query_id": "7",
        "query": "eins",
        "positive_passages": [{"docid": "1", "title": "Titel", "text": "ja"}],
        "negative_passages": [{"docid": "2", "text": "nein"}],
    }
]
LISTS = [{"query": "eins", "docs": ["nein", "ja", "auch"], "labels": [0, 2, 1]}]
TRIPLETS = [{"anchor": "eins", "positive": "ja", "negative_1": "nein", "negative_2": "nie", "score": [3.0, 1.0, 0.5]}]
PAIRS = [{"query": "eins", "answer": "ja"}]
LABELLED = [
    {"sentence1": "eins", "sentence2": "nein", "score": 0.2},
    {"sentence1": "eins", "sentence2": "ja", "score": 0.8},
]
MINED = [{"query": "eins", "answer": "ja", "label": 1}, {"query": "eins", "answer": "nein", "label": 0}]


def ids(*texts):
    return [content_id(text) for text in texts]


@pytest.mark.parametrize(
    ("entries", "texts", "given"),
    [
        (FLAGEMBEDDING, ["ja", "auch ja", "nein"], [("eins", "auch ja"), ("eins", "ja"), ("zwei", "ja")]),
        (TEVATRON, ["Titel\nja", "nein"], [("eins", "Titel\nja")]),
        (LISTS, ["nein", "ja", "auch"], [("eins", "ja"), ("eins", "auch")]),
        (TRIPLETS, ["ja", "nein", "nie"], [("eins", "ja")]),
        (PAIRS, ["ja"], [("eins", "ja")]),
        (LABELLED, ["nein", "ja"], [("eins", "ja")]),
        (MINED, ["ja", "nein"], [("eins", "ja")]),
    ],
    ids=["flagembedding", "tevatron", "lists", "triplets", "pairs", "labelled pairs", "mined pairs"],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_training_file_gives_documents_and_queries(tmp_path, entries, texts, given, kind):
    path = tmp_path / f"train.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(entries), path)
    else:
        write_jsonl(path, *entries)
    documents = list(read_documents(path, "general"))
    assert [document.text for document in documents] == texts
    assert [document.doc_id for document in documents] == ids(*texts)
    found = list(read_given_queries(path))
    assert [(text, doc_id) for _, text, doc_id in found] == [(text, content_id(passage)) for text, passage in given]
    assert len({query_id for query_id, _, _ in found}) == len({text for text, _ in given})
    assert given_query_files(path, ["test"]) == []


def test_tevatrons_query_ids_stay(tmp_path):
    assert [query_id for query_id, _, _ in read_given_queries(write_jsonl(tmp_path / "t.jsonl", *TEVATRON))] == ["7"]


def test_an_id_and_a_text_make_a_document_whatever_stands_beside_them(tmp_path):
    file = write_jsonl(
        tmp_path / "faq.jsonl", {"_id": "a", "text": "Antwort", "question": "Frage?", "answer": "Antwort"}
    )
    assert [document.doc_id for document in read_documents(file, "general")] == ["a"]


def test_a_folder_that_datasets_wrote_is_a_training_file_too(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(TEVATRON).save_to_disk(tmp_path / "hf")
    assert [document.text for document in read_documents(tmp_path / "hf", "general")] == ["Titel\nja", "nein"]
    assert len(list(read_given_queries(tmp_path / "hf"))) == 1


@pytest.mark.parametrize(
    ("first", "line", "message"),
    [
        (FLAGEMBEDDING, {"query": "q", "neg": []}, r"line 3: no pos; expected a field pos with a list of texts"),
        (FLAGEMBEDDING, {"query": "q", "pos": "p"}, r"line 3: pos is \"p\", expected a list of texts"),
        (FLAGEMBEDDING, {"query": "q", "pos": [1]}, r"line 3: pos is 1, expected text"),
        (FLAGEMBEDDING, {"query": 1, "pos": []}, r"line 3: query is 1, expected text"),
        (
            FLAGEMBEDDING,
            {"query": "q", "pos": ["p"], "pos_scores": [1, 2]},
            r"line 3: pos_scores has 2 numbers, expected 1 as pos has texts",
        ),
        (
            FLAGEMBEDDING,
            '{"query": "q", "pos": ["p"], "pos_scores": [NaN]}',
            r"line 3: pos_scores is NaN, expected a finite number",
        ),
        (TEVATRON, {"query": "q", "positive_passages": ["p"]}, r"line 2: positive_passages holds \"p\", expected obj"),
        (TEVATRON, {"query": "q", "positive_passages": [{}]}, r"line 2, positive_passages: no text; expected a field"),
        (LISTS, {"query": "q", "docs": ["a"]}, r"line 2: no labels; expected a field labels with a number for each"),
        (TRIPLETS, {"anchor": "q"}, r"line 2: no positive; expected a field positive, answer, passage or sentence2"),
        (LABELLED, {"sentence1": "a", "sentence2": "b"}, r"line 3: no label; expected a field label, score"),
        (
            LABELLED,
            {"sentence1": "a", "sentence2": "b", "score": "x"},
            r"line 3: score is \"x\", expected a finite num",
        ),
    ],
)
def test_a_training_line_that_is_not_understood_is_named(tmp_path, first, line, message):
    file = write_jsonl(tmp_path / "train.jsonl", *first, line)
    with pytest.raises(InputError, match=message):
        list(read_documents(file, "general"))


def test_a_file_without_queries_is_refused(tmp_path):
    file = write_jsonl(tmp_path / "docs.jsonl", {"_id": "a", "text": "x"})
    with pytest.raises(
        InputError, match=r"docs\.jsonl, line 1: it has _id, text, expected the fields of a training file"
    ):
        list(read_given_queries(file))
    (tmp_path / "train.xlsx").touch()
    with pytest.raises(
        InputError, match=r"train\.xlsx: cannot hold queries; expected a BEIR folder or a training file"
    ):
        given_query_files(tmp_path / "train.xlsx", ["test"])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match=r"empty\.jsonl: it has no line, expected the fields of a training file"):
        list(read_given_queries(tmp_path / "empty.jsonl"))


def test_half_a_surrogate_pair_in_a_query_is_left_out(tmp_path):
    file = write_text(tmp_path / "t.jsonl", json.dumps({"query": "a\ud800b", "pos": ["c\udfffd"]}))
    assert [text for _, text, _ in read_given_queries(file)] == ["ab"]


def logged(*rows):
    return [LoggedQuery(*row) for row in rows]


def test_a_log_of_lines_numbers_its_queries(tmp_path):
    file = write_text(tmp_path / "log.txt", '\ufeffwo ist das\r\n\n  \n"quoted\n')
    assert list(read_query_log(file)) == logged(("1", "wo ist das", "und"), ("2", '"quoted', "und"))
    packed = tmp_path / "log.txt.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert list(read_query_log(packed)) == list(read_query_log(file))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv", "tsv"])
def test_a_log_of_rows_may_have_ids_and_languages(tmp_path, kind):
    path = tmp_path / f"log.{kind}"
    rows = [{"query": "wo ist, das", "lang": "de_AT"}, {"query": "where", "lang": ""}]
    for ids in ([], ["b", "7"]):
        entries = [{"qid": own, **row} for own, row in zip(ids, rows, strict=True)] if ids else rows
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(entries), path)
        elif kind == "jsonl":
            write_jsonl(path, *entries)
        else:
            with path.open("w", encoding="utf-8", newline="") as stream:
                table = csv.DictWriter(stream, entries[0], delimiter="," if kind == "csv" else "\t")
                table.writeheader()
                table.writerows(entries)
        first, second = ids or ("1", "2")
        assert list(read_query_log(path)) == logged((first, "wo ist, das", "de-at"), (second, "where", "und"))


def test_a_log_in_several_files_is_numbered_through(tmp_path):
    for name in ("a", "b"):
        pq.write_table(pa.table({"question": [f"{name} eins", f"{name} zwei"]}), tmp_path / f"{name}.parquet")
    found = list(read_query_log(tmp_path))
    assert [(one.query_id, one.text) for one in found][1:3] == [("2", "a zwei"), ("3", "b eins")]


def test_topics_without_a_header_are_read_as_they_stand(tmp_path):
    file = write_text(tmp_path / "topics.tsv", '0\twhat is "the\n 17 \tanother one\n')
    assert list(read_query_log(file)) == logged(("0", 'what is "the', "und"), ("17", "another one", "und"))
    assert read_query_texts(file) == {"0": 'what is "the', "17": "another one"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "17\two ist das\n", r"x\.txt, line 1: got \"17\\two ist das\" with a tab, expected a query a line"),
        ("x.txt", "wo\n\udcff", r"x\.txt, line 2: byte 0xff is not UTF-8"),
        ("x.txt", " \n", r"x\.txt: no queries in it; leave it out of queries\.logs"),
        ("x.jsonl", "", r"x\.jsonl: no queries in it"),
        ("x.tsv", "1\teins\n2\tzwei\tdrei\n", r"x\.tsv, line 2: got 3 cells .* expected id and query between a tab"),
        ("x.tsv", "1\teins\n1\tzwei\n", r"x\.tsv, line 2: id '1' stands on line 1 too; ids must be unique"),
        ("x.tsv", "_id\tsearch\n1\teins\n", r"x\.tsv, line 2: no text; expected a field text, query or question"),
        ("x.csv", "id,text\n1\n", r"x\.csv, line 2: got 1 cells, expected 2"),
        ("x.jsonl", '{"text": 1}', r"x\.jsonl, line 1: text is 1, expected text"),
        ("x.jsonl", '{"_id": null, "text": "a"}', r"x\.jsonl, line 1: _id is null, expected a line of text"),
        (
            "x.jsonl",
            '{"text": "a", "lang": "German!"}',
            r"x\.jsonl, line 1: the language is \"German!\", expected a tag",
        ),
        ("x.log", "wo", r"x\.log: cannot read \.log; queries\.logs expects queries in a \.txt"),
    ],
)
def test_a_log_that_is_not_understood_is_named(tmp_path, name, text, message):
    file = tmp_path / name
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        list(read_query_log(file))


def test_of_a_beir_folder_the_file_of_queries_is_the_log(tmp_path):
    folder = beir_folder(tmp_path, "q1\td1\t1")
    with pytest.raises(InputError, match="no tables in this folder; of a BEIR folder name the file of queries"):
        query_log_files(folder)
    assert list(read_query_log(folder / "queries.jsonl")) == logged(("q1", "eins", "und"), ("q2", "zwei", "und"))


def test_a_row_that_took_others_with_it_is_told(tmp_path):
    file = write_text(tmp_path / "log.tsv", '_id\ttext\n1\t"why\n2\twhat\n3\twho"\n')
    with pytest.raises(
        InputError, match=r"log\.tsv, line 2: a cell begins with a double quote and goes on over the ne"
    ):
        list(read_query_log(file))
    with pytest.raises(InputError, match=r"line 2: a cell begins with a double quote"):
        read_query_texts(file)
