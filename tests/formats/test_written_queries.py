"""Files of queries that somebody wrote about documents."""

import csv
import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.formats.written_queries import DOCUMENT_IDS, TEXTS, WrittenQuery, read_written_queries, written_query_files
from tests.formats.files import write_jsonl, write_text


def write_table(path, *entries):
    """The same rows in whatever form the ending of the path names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(entries)), path)
    elif path.suffix == ".jsonl":
        write_jsonl(path, *entries)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, entries[0], delimiter="," if path.suffix == ".csv" else "\t")
            table.writeheader()
            table.writerows(entries)
    return path


FORMS = pytest.mark.parametrize("form", ["jsonl", "parquet", "csv", "tsv"])


def test_the_plainest_file_holds_documents_and_queries(tmp_path):
    file = write_text(
        tmp_path / "mine.tsv", '\ufeffdocument-id\tquery\r\nen/1\tsay "Debian" aloud\r\n\nen/1\thow, so?\n'
    )
    expected = [
        WrittenQuery("1", "en/1", 'say "Debian" aloud', "", ""),
        WrittenQuery("2", "en/1", "how, so?", "", ""),
    ]
    assert list(read_written_queries(file)) == expected
    packed = tmp_path / "mine.tsv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert list(read_written_queries(packed)) == expected


@FORMS
def test_ids_languages_and_kinds_are_read_where_they_are_there(tmp_path, form):
    rows = [
        {"query-id": "b", "document-id": "1", "query": "wo ist, das", "language": "de_AT", "kind": "question"},
        {"query-id": "", "document-id": "2", "query": "where", "language": "", "kind": " key\tword "},
    ]
    assert list(read_written_queries(write_table(tmp_path / f"x.{form}", *rows))) == [
        WrittenQuery("b", "1", "wo ist, das", "de-at", "question"),
        WrittenQuery("2", "2", "where", "", "key word"),
    ]


@FORMS
@pytest.mark.parametrize("name", DOCUMENT_IDS)
def test_a_document_goes_by_the_names_that_people_give_it(tmp_path, form, name):
    file = write_table(tmp_path / f"x.{form}", {name: "d", "query": "what"})
    assert list(read_written_queries(file)) == [WrittenQuery("1", "d", "what", "", "")]


@pytest.mark.parametrize("name", TEXTS)
def test_and_so_does_a_query(tmp_path, name):
    file = write_jsonl(tmp_path / "x.jsonl", {"id": 7, "corpus-id": 3, name: "what", "metadata": {"lang": "en"}})
    assert list(read_written_queries(file)) == [WrittenQuery("7", "3", "what", "en", "")]


def test_beside_the_text_of_its_passage_the_query_is_read(tmp_path):
    file = write_jsonl(tmp_path / "x.jsonl", {"doc_id": "d", "text": "A passage.", "query": "what"})
    assert [one.text for one in read_written_queries(file)] == ["what"]


def test_several_files_are_numbered_through(tmp_path):
    for name in ("a", "b"):
        write_table(tmp_path / f"{name}.parquet", {"doc_id": name, "query": "what"}, {"doc_id": name, "query": "why"})
    assert [(one.query_id, one.document_id) for one in read_written_queries(tmp_path)] == [
        ("1", "a"),
        ("2", "a"),
        ("3", "b"),
        ("4", "b"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.tsv", "", r"x\.tsv: no queries in it; expected rows with document-id and query"),
        ("x.tsv", "document-id\tquery\n", r"x\.tsv: no queries in it"),
        (
            "x.tsv",
            "d1\twhat\nd2\twhy\n",
            r"x\.tsv, line 2: it has d1, what, expected the id of a document in a field d",
        ),
        ("x.tsv", "document-id\tquery\nd1\n", r"x\.tsv, line 2: got 1 cells, expected 2 as in the header"),
        ("x.csv", "doc_id,search\nd1,what\n", r"x\.csv, line 2: no query; expected a field query, text or question"),
        ("x.csv", "id,doc_id,query\n1,d,a\n1,e,b\n", r"x\.csv, line 3: id \'1\' stands on line 2 too"),
        ("x.jsonl", '{"doc_id": "", "query": "a"}', r"x\.jsonl, line 1: doc_id is \"\", expected a line of text"),
        ("x.jsonl", '{"doc_id": "d", "query": 1}', r"x\.jsonl, line 1: query is 1, expected text"),
        ("x.jsonl", '{"doc_id": "d", "query": "a", "kind": 1}', r"x\.jsonl, line 1: kind is 1, expected text"),
        ("x.jsonl", '{"doc_id": "d", "query": "a", "lang": "?"}', r"line 1: the language is \"\?\", expected a tag"),
        ("x.jsonl", '{"doc_id": "d", "que', r"x\.jsonl, line 1: got .*, expected a JSON object"),
        ("x.csv", "doc_id,query\nd, \n", r"x\.csv, line 2: query \'1\' is empty; write it or remove the row"),
        (
            "x.csv",
            "id,doc_id,query\n,d,a\n1,e,b\n",
            r"x\.csv, line 2: it has no id and is called by its number, 1, whi",
        ),
        ("x.csv", "id,doc_id,query\n2,d,a\n,e,b\n", r"x\.csv, line 3: it has no id and is called by its number, 2, w"),
        (
            "x.tsv",
            "doc_id\tquery\nd\ta\tb\n",
            r"line 2: got 3 cells, expected 2 as in the header \(doc_id, query\); a l",
        ),
        ("x.tsv", 'doc_id\tquery\nd\t"a\nb"\n', r"line 3: got 1 cells, expected 2 as in the header \(doc_id, query\)"),
        ("x.txt", "what", r"x\.txt: cannot read \.txt; expected written queries, rows with document-id and query in"),
    ],
)
def test_a_file_that_is_not_understood_is_named(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        list(read_written_queries(write_text(tmp_path / name, text)))


CELLS = st.text(st.sampled_from('ab "\t,'), min_size=1, max_size=6).filter(str.strip)


@given(st.lists(CELLS, min_size=1, max_size=5))
def test_a_tsv_is_read_back_as_csv_writers_write_it(queries):
    with TemporaryDirectory() as folder:
        file = write_table(Path(folder) / "x.tsv", *({"doc_id": "d", "query": query} for query in queries))
        assert [one.text for one in read_written_queries(file)] == queries


@given(st.lists(CELLS.filter(lambda query: "\t" not in query and not query.endswith('"')), min_size=1, max_size=5))
def test_of_a_tsv_that_knows_no_quotes_no_row_takes_another_with_it(queries):
    with TemporaryDirectory() as folder:
        lines = "".join(f"d\t{query}\n" for query in queries)
        file = write_text(Path(folder) / "x.tsv", f"doc_id\tquery\n{lines}")
        assert [one.text for one in read_written_queries(file)] == queries


@pytest.mark.parametrize(("there", "columns"), [(("passage", "ask"), "passage, ask"), (("id", "query"), "id, query")])
def test_a_table_without_the_needed_columns_says_which_it_has_and_which_are_needed(tmp_path, there, columns):
    file = write_table(tmp_path / "x.parquet", dict.fromkeys(there, "a"))
    with pytest.raises(InputError) as error:
        list(read_written_queries(file))
    assert str(error.value) == (
        f"{file}: its columns are {columns}; expected the id of a document in document-id (or document_id, doc_id, "
        "docid, corpus-id, passage_id) and its query in query (or text, question)"
    )


def test_a_damaged_table_is_told_as_such(tmp_path):
    file = write_text(tmp_path / "x.parquet", "no table")
    with pytest.raises(InputError, match=r"x\.parquet, after row 0: cannot be read as a Parquet file"):
        list(read_written_queries(file))


def test_what_is_not_there_is_named_without_opening_anything(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.tsv: no such file; expected written queries, rows"):
        written_query_files(tmp_path / "nowhere.tsv")
    with pytest.raises(InputError, match="no tables in this folder; expected"):
        written_query_files(tmp_path)
