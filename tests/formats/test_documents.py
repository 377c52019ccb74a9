"""Documents from every form of input: the same records, and one clear line for whatever cannot be read."""

import csv
import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.errors import InputError, TamisError
from tamis.formats import lines as lines_of_files
from tamis.formats.documents import Corpus, document_files, read_documents
from tamis.records import Document, Dropped
from tests.formats.files import write_jsonl, write_text

ROWS = [
    {"_id": "a", "title": "Titel", "text": "Inhalt, mit Komma", "lang": "de"},
    {"_id": "b", "title": "", "text": '内容\n"zweite" Zeile', "lang": "zh_CN"},
    {"_id": "c", "title": None, "text": "x", "lang": None},
]
DOCUMENTS = [
    Document("a", "Titel\nInhalt, mit Komma", "de", "target", "Titel"),
    Document("b", '内容\n"zweite" Zeile', "zh-cn", "target"),
    Document("c", "x", "und", "target"),
]


def document(text, doc_id="d", language="und", title="", path=""):
    return Document(doc_id, text, language, "target", title, path)


def parquet(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def zstd(path, content):
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(content)
    return path


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def csv_text(separator):
    cells = [["_id", "title", "text", "lang"]]
    cells += [[row["_id"], row["title"] or "", row["text"], row["lang"] or ""] for row in ROWS]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in cells]
    return "".join(separator.join(line) + "\r\n" for line in quoted)


def arrow_folder(folder, shards, state=None):
    """A folder as `datasets` writes it, without `datasets`."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05}-of-{len(shards):05}.arrow" for number in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(state or json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


FORMS = {
    "jsonl": lambda base: write_text(base / "docs.jsonl", jsonl(ROWS).decode()),
    "jsonl.gz": lambda base: (base / "d.jsonl.gz").write_bytes(gzip.compress(jsonl(ROWS))) and base / "d.jsonl.gz",
    "jsonl.zst": lambda base: zstd(base / "docs.jsonl.zst", jsonl(ROWS)),
    "upper-case": lambda base: write_text(base / "DOCS.JSONL", jsonl(ROWS).decode()),
    "csv": lambda base: write_text(base / "docs.csv", "\ufeff" + csv_text(",")),
    "tsv": lambda base: write_text(base / "docs.tsv", csv_text("\t")),
    "parquet": lambda base: parquet(base / "docs.parquet", ROWS, row_group_size=2),
    "folder of parquet": lambda base: (
        parquet(base / "p" / "0.parquet", ROWS[:2])
        and parquet(base / "p" / "sub" / "1.parquet", ROWS[2:])
        and write_text(base / "p" / "README.md", "about the data")
        and base / "p"
    ),
    "datasets": lambda base: arrow_folder(base / "hf", [ROWS[:1], ROWS[1:]]),
    "datasets, one split": lambda base: (
        arrow_folder(base / "hf" / "corpus", [ROWS])
        and write_text(base / "hf" / "dataset_dict.json", '{"splits": ["corpus"]}')
        and base / "hf"
    ),
    "beir, compressed": lambda base: zstd(base / "corpus.jsonl.zst", jsonl(ROWS)).parent,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_documents(tmp_path, form):
    assert list(read_documents(FORMS[form](tmp_path), "target")) == DOCUMENTS


def test_a_folder_that_datasets_wrote_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "dict")
    assert list(read_documents(tmp_path / "one", "target")) == DOCUMENTS
    assert list(read_documents(tmp_path / "dict", "target")) == DOCUMENTS


def test_fields_have_the_names_of_other_tools(tmp_path):
    file = write_jsonl(
        tmp_path / "docs.jsonl",
        {"_id": "a", "title": "Titel", "text": "Inhalt", "metadata": {"lang": "de"}},
        {"id": 7, "contents": "内容", "lang": "zh_CN"},
        "",
        {"doc_id": "c", "title": None, "content": "x", "language": "pt-BR"},
        {"docid": "d", "body": "y", "metadata": None},
    )
    assert list(read_documents(file, "general")) == [
        Document("a", "Titel\nInhalt", "de", "general", "Titel"),
        Document("7", "内容", "zh-cn", "general"),
        Document("c", "x", "pt-br", "general"),
        Document("d", "y", "und", "general"),
    ]


def test_a_beir_folder_is_read_without_its_queries(tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", {"_id": "a", "title": "", "text": "one"})
    write_jsonl(tmp_path / "queries.jsonl", "this is not JSON")
    parquet(tmp_path / "queries.parquet", [{"_id": "q", "text": "asked"}])
    assert list(read_documents(tmp_path, "target")) == [document("one", "a")]
    assert document_files(tmp_path) == [tmp_path / "corpus.jsonl"]


@pytest.mark.parametrize(
    ("documents", "others"),
    [
        ("corpus.parquet", ["queries.parquet", "qrels.parquet"]),
        ("corpus-00000-of-00001.parquet", ["queries-00000-of-00001.parquet", "qrels/test.tsv"]),
        ("corpus/corpus-00000-of-00001.parquet", ["queries/queries-00000-of-00001.parquet", "qrels/test.parquet"]),
        ("de-corpus/test-00000-of-00001.parquet", ["de-qrels/test.parquet", "de-queries/test-00000-of-00001.parquet"]),
    ],
)
def test_questions_beside_tables_of_documents_stay_unread_and_are_named(tmp_path, documents, others):
    file = parquet(tmp_path / documents, ROWS)
    for other in others:
        parquet(tmp_path / other, [{"_id": "q", "text": "asked"}])
    unread = [(other, "questions or judgements, no documents") for other in sorted(others)]
    found = list(Corpus(tmp_path).documents("target"))
    assert [each for each in found if isinstance(each, Document)] == DOCUMENTS
    assert sorted((each.record_id, each.reason) for each in found if isinstance(each, Dropped)) == unread
    assert document_files(tmp_path) == [file]
    write_text(tmp_path / "a.txt", "a file of another form, which makes it a folder of files")
    found = list(Corpus(tmp_path).documents("target"))
    assert {each.path for each in found if isinstance(each, Document)} == {"a.txt", documents}
    assert sorted((each.record_id, each.reason) for each in found if isinstance(each, Dropped)) == unread


def test_a_folder_of_questions_alone_holds_no_documents(tmp_path):
    parquet(tmp_path / "queries.parquet", [{"_id": "q", "text": "asked"}])
    with pytest.raises(InputError, match="nothing to read in this folder; it holds 1 questions or judgements"):
        read_documents(tmp_path, "target")


def test_other_columns_of_a_table_stay_unread(tmp_path):
    file = parquet(tmp_path / "d.parquet", [{"_id": 1, "text": "x", "vector": [0.0] * 8, "metadata": {"lang": "fi"}}])
    assert list(read_documents(file, "target")) == [document("x", "1", "fi")]


def test_a_folder_of_texts_is_read_in_sorted_order(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("zweite", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbferste")
    (tmp_path / "d.HTML").write_text(
        "<html lang=fr><title>Titre</title><nav>Accueil</nav><p>Le texte", encoding="utf-8"
    )
    assert list(read_documents(tmp_path, "target")) == [
        document("erste", "a.txt", title="a", path="a.txt"),
        document("Titre\nLe texte", "d.HTML", "fr", "Titre", "d.HTML"),
        document("zweite", "sub/b.md", title="b", path="sub/b.md"),
    ]


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    file = write_jsonl(tmp_path / "docs.jsonl", {"_id": "a", "text": "one\u2028two\x85"})
    assert [d.text for d in read_documents(file, "target")] == ["one\u2028two\x85"]


def test_a_cell_may_be_longer_than_the_csv_module_thinks(tmp_path):
    file = write_text(tmp_path / "docs.csv", f"id,text\n1,{'long ' * 100_000}\n")
    assert [len(d.text) for d in read_documents(file, "target")] == [500_000]


def test_memory_stays_flat(tmp_path):
    text = "word " * 2000
    with gzip.open(tmp_path / "docs.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"_id": str(number), "text": text}) + "\n" for number in range(1500))
    parquet(
        tmp_path / "docs.parquet", [{"_id": str(n), "text": f"{n} {text}"} for n in range(1500)], row_group_size=100
    )
    for file in ("docs.jsonl.gz", "docs.parquet"):
        tracemalloc.start()
        assert sum(1 for _ in read_documents(tmp_path / file, "target")) == 1500
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12_000_000, file  # of 15 MB of text; a batch of a table is at most 1,024 rows


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"docs\.jsonl, line 2: got '{broken', expected a JSON object"),
        ("[" * 100_000, r"docs\.jsonl, line 2: got '\[\[\[.*, expected a JSON object"),
        ('["list"]', r"docs\.jsonl, line 2: got '\[\"list\"\]', expected a JSON object"),
        (
            '{"text": "x", "key": 1}',
            r"docs\.jsonl, line 2: no id; expected a field _id, id, doc_id or docid; it has text, key",
        ),
        ('{"_id": "x"}', r"docs\.jsonl, line 2: no text; expected a field text, contents, content or body with text"),
        (
            '{"_id": ["x"], "text": "x"}',
            r"docs\.jsonl, line 2: _id is \[\"x\"\], expected a line of text or a whole number",
        ),
        ('{"_id": "x\\ty", "text": "x"}', r"line 2: _id is .*, expected a line of text"),
        ('{"_id": "x", "text": 5}', r"docs\.jsonl, line 2: text is 5, expected text"),
        ('{"_id": "x", "text": "x", "title": 5}', r"docs\.jsonl, line 2: title is 5, expected text"),
        (
            '{"_id": "x", "text": "x", "lang": "English"}',
            r"line 2: the language is \"English\", expected a tag such as de",
        ),
        (
            '{"_id": "a", "text": "x"}',
            r"docs\.jsonl, line 2: id 'a' stands on line 1 too; ids must be unique, rename one",
        ),
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path, line, message):
    file = write_jsonl(tmp_path / "docs.jsonl", {"_id": "a", "text": "x"}, line)
    with pytest.raises(InputError, match=message):
        list(read_documents(file, "target"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,text\n1,a,b\n",
            r"docs\.csv, line 2: got 3 cells, expected 2 as in the header \(id, text\); put cells that",
        ),
        ('id,text\n1,"a\nb"\n2\n', r"docs\.csv, line 4: got 1 cells, expected 2"),
        ('id,text\n1,"open\n', r"docs\.csv, line 2: not understood \(unexpected end of data\); put cells"),
        ("id|text\n1|a\n", r"docs\.csv, line 2: no id; expected a field _id, id, doc_id or docid; it has id\|text"),
        ("id,text,id\n1,a,2\n", r"docs\.csv, line 1: column 'id' comes twice; expected a header"),
        ("id,text\n1,a\n1,b\n", r"docs\.csv, line 3: id '1' stands on line 2 too"),
        ("id,text\n,a\n", r"docs\.csv, line 2: id is \"\", expected a line of text"),
        ("id,text\n", r"docs\.csv: no documents in it; expected at least one row"),
    ],
)
def test_a_cell_that_is_not_understood_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        list(read_documents(write_text(tmp_path / "docs.csv", text), "target"))


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ('id\ttext\n12\t"He said it was over.\n13\tAnd then he left."\n14\tend\n', 3),
        ('id\ttext\r\n12\t"He said.\r\n\r\n13\tAnd\tthen\r\n14\tshe."\r\n', 5),
        ('id\ttitle\ttext\n12\t"A\tsaid\n13\tB"\tleft\n', 3),
    ],
)
def test_rows_that_a_quote_would_swallow_are_refused_with_their_lines(tmp_path, text, last):
    file = write_text(tmp_path / "docs.tsv", text)
    message = f"a cell begins with a double quote and goes on over the next lines, to line {last}, rows and all; leave"
    with pytest.raises(InputError, match=f"docs.tsv, line 2: {message}"):
        list(read_documents(file, "target"))
    write_text(tmp_path / "a.txt", "beside")
    left_out = [each for each in Corpus(tmp_path).documents("target") if isinstance(each, Dropped)]
    assert len(left_out) == 1


@pytest.mark.parametrize("header", [["id", "text"], ["text", "id"], ["id", "text", "lang"]])
@pytest.mark.parametrize("text", ["all:\n\tcc -o a a.c", "one\ntwo\nthree", 'a\tb\n"c"\td\te\tf', "a\tb"])
def test_quoted_cells_of_a_tsv_may_hold_tabs_and_line_breaks(tmp_path, header, text):
    with (tmp_path / "docs.tsv").open("w", encoding="utf-8", newline="") as stream:
        row = {"id": "7", "text": text, "lang": "en"}
        csv.writer(stream, delimiter="\t").writerows([header, [row[name] for name in header]])
    (found,) = read_documents(tmp_path / "docs.tsv", "target")
    assert (found.doc_id, found.text) == ("7", text)


def test_a_row_of_a_table_that_is_not_understood_is_named(tmp_path):
    file = parquet(tmp_path / "docs.parquet", [{"_id": "a", "text": "x"}, {"_id": "b", "text": None}])
    with pytest.raises(InputError, match=r"docs\.parquet, row 2: text is null, expected text"):
        list(read_documents(file, "target"))
    file = parquet(tmp_path / "other.parquet", [{"name": "a", "value": 1}])
    with pytest.raises(InputError, match=r"other\.parquet: its columns are name, value; expected an id and text"):
        list(read_documents(file, "target"))
    file.write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match=r"other\.parquet, after row 0: cannot be read as a Parquet file: "):
        list(read_documents(file, "target"))


def test_an_id_in_two_shards_is_named_with_both(tmp_path):
    parquet(tmp_path / "0.parquet", [{"_id": "a", "text": "x"}])
    parquet(tmp_path / "1.parquet", [{"_id": "b", "text": "x"}, {"_id": "a", "text": "y"}])
    with pytest.raises(InputError, match=r"1\.parquet, row 2: id 'a' stands on .*0\.parquet, row 1, too"):
        list(read_documents(tmp_path, "target"))


def test_a_folder_of_datasets_that_is_not_whole_is_named(tmp_path):
    folder = arrow_folder(tmp_path / "hf", [ROWS])
    (folder / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(InputError, match=r"data-00000-of-00001\.arrow: no such Arrow file, but state\.json names it"):
        read_documents(folder, "target")
    for state in ("{", "[]", "{}", '{"_data_files": [{"filename": "../secret.arrow"}]}'):
        (folder / "state.json").write_text(state)
        with pytest.raises(InputError, match=r"state\.json: .*; save the data set again with save_to_disk"):
            read_documents(folder, "target")
    write_text(tmp_path / "dict" / "dataset_dict.json", '{"splits": ["train", "test"]}')
    with pytest.raises(InputError, match=r"dict: holds the splits train, test; name one of them, .*dict/SPLIT"):
        read_documents(tmp_path / "dict", "target")
    write_text(tmp_path / "dict" / "dataset_dict.json", '{"splits": ["../hf"]}')
    with pytest.raises(InputError, match="no list of splits in it"):
        read_documents(tmp_path / "dict", "target")


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    file = tmp_path / "docs.jsonl"
    file.write_bytes(b'{"_id": "a", "text": "x"}\n{"_id": "b", "text": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"docs\.jsonl, line 2: byte 0xe9 is not UTF-8; save the file in UTF-8"):
        list(read_documents(file, "target"))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_file_that_was_cut_is_named(tmp_path, kind):
    rows = [{"_id": str(number), "text": f"{number * 7919} text"} for number in range(5000)]
    file = tmp_path / f"docs.jsonl.{kind}"
    file.write_bytes(gzip.compress(jsonl(rows))) if kind == "gz" else zstd(file, jsonl(rows))
    whole = file.read_bytes()
    assert sum(1 for _ in read_documents(file, "target")) == len(rows)
    file.write_bytes(whole[:-200])
    with pytest.raises(InputError, match=rf"docs\.jsonl\.{kind}, line \d+: cannot be read: "):
        list(read_documents(file, "target"))
    file.write_bytes(b"not compressed at all")
    with pytest.raises(InputError, match=rf"docs\.jsonl\.{kind}: cannot be read: "):
        list(read_documents(file, "target"))


def test_an_input_without_documents_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing to read in this folder; it is empty"):
        read_documents(tmp_path, "target")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        read_documents(tmp_path / "nowhere", "target")
    (tmp_path / "docs.pdf").touch()
    with pytest.raises(
        InputError, match=r"docs\.pdf: cannot read \.pdf alone; expected a \.jsonl, .* or a folder of documents"
    ):
        read_documents(tmp_path / "docs.pdf", "target")
    (tmp_path / "docs.jsonl").touch()
    with pytest.raises(InputError, match=r"docs\.jsonl: no documents in it; expected one JSON object a line"):
        list(read_documents(tmp_path / "docs.jsonl", "target"))


def test_a_training_file_is_no_target(tmp_path):
    file = write_jsonl(tmp_path / "train.jsonl", {"query": "q", "pos": ["p"], "neg": []})
    with pytest.raises(InputError, match=r"line 1: a training file \(flagembedding\), expected documents with id and"):
        list(read_documents(file, "target"))


ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".jsonl.zst", ".csv.gz", ".txt", ".html")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    *("_id", "text", "title", "lang", "metadata", "query", "query_id", "pos", "neg", "pos_scores", "docs", "labels"),
    *("positive_passages", "anchor", "positive", "negative_1", "sentence1", "sentence2", "score"),
)
NAMES = st.sampled_from(FIELDS)
FUZZ = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(path):
    """Read a path as everything it may be; whatever is wrong is one line."""
    for origin in ("target", "general"):
        said = ""
        try:
            list(read_documents(path, origin))
        except TamisError as error:
            said = str(error)
        assert "\n" not in said


@FUZZ
@given(content=st.binary(max_size=200), ending=st.sampled_from(ENDINGS))
def test_any_bytes_are_read_or_refused(tmp_path, content, ending):
    file = tmp_path / f"fuzz{ending}"
    file.write_bytes(content)
    read_all(file)


@FUZZ
@given(content=st.text(max_size=200), ending=st.sampled_from((".csv", ".tsv", ".html")))
def test_any_text_is_read_or_refused(tmp_path, content, ending):
    folder = tmp_path / ending
    write_text(folder / f"fuzz{ending}", content.encode("utf-8", "replace").decode())
    read_all(folder / f"fuzz{ending}")
    read_all(folder)


@FUZZ
@given(rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=4))
def test_any_fields_are_read_or_refused(tmp_path, rows):
    file = tmp_path / "fuzz.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    read_all(file)


@FUZZ
@given(
    place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), kind=st.sampled_from(("parquet", "gz", "zst"))
)
def test_a_damaged_byte_is_no_traceback(tmp_path, place, byte, kind):
    rows = [{"_id": str(number), "text": f"text {number}"} for number in range(50)]
    file = tmp_path / ("docs.parquet" if kind == "parquet" else f"docs.jsonl.{kind}")
    if kind == "parquet":
        parquet(file, rows)
    else:
        file.write_bytes(gzip.compress(jsonl(rows))) if kind == "gz" else zstd(file, jsonl(rows))
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] = byte
    file.write_bytes(content)
    read_all(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_that_would_fill_the_memory_ends_the_reading(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr(lines_of_files, "_LONGEST", 1000)
    file = tmp_path / "bomb.jsonl.gz"
    rows = [json.dumps({"_id": "a", "text": "short"}), json.dumps({"_id": "b", "text": "x" * 2000})]
    file.write_bytes(gzip.compress("\n".join(rows).encode(encoding)))
    with pytest.raises(InputError, match=r"bomb\.jsonl\.gz, line 2: longer than 0 MB, expected a row or a text; split"):
        list(lines_of_files.lines(file, encoding))
