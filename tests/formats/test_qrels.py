"""Judgements in BEIR's and in TREC's form; whatever is wrong is named by its line."""

import gzip

import ir_measures
import pyarrow as pa
import pytest

from tamis.errors import InputError
from tamis.formats.qrels import Judgement, grades_of, qrels_files, read_qrels, write_qrels
from tests.formats.files import write_text

HEADER = "query-id\tcorpus-id\tscore\n"


def test_beir_and_trec_files_say_the_same(tmp_path):
    beir = write_text(tmp_path / "a.tsv", f"{HEADER}q 1\tmein Text.md\t2\nq2\td\t0\n")
    assert list(read_qrels(beir)) == [Judgement("q 1", "mein Text.md", 2, 2), Judgement("q2", "d", 0, 3)]
    trec = write_text(tmp_path / "a.qrels", "q1 0 d1 2\nq1\tQ0\td2\t-1\n")
    assert list(read_qrels(trec)) == [Judgement("q1", "d1", 2, 1), Judgement("q1", "d2", -1, 2)]


def test_a_file_without_header_and_compressed_ones(tmp_path):
    content = b"q1\td1\t1\n"
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_bytes(content)
    (tmp_path / "qrels" / "test.tsv.gz").write_bytes(gzip.compress(content))
    (tmp_path / "qrels" / "train.tsv.zst").write_bytes(pa.Codec("zstd").compress(content, asbytes=True))
    files = qrels_files(tmp_path)
    assert list(files) == ["dev", "test", "train"]
    assert all(list(read_qrels(file)) == [Judgement("q1", "d1", 1, 1)] for file in files.values())


def test_what_is_written_is_read_back(tmp_path):
    grades = {"q": {"d1": 1, "a b": 0}, "r": {"d1": 3}}
    write_qrels(tmp_path / "out.qrels", grades)
    assert grades_of(read_qrels(tmp_path / "out.qrels"), tmp_path / "out.qrels") == grades


@pytest.mark.parametrize("header", ["corpus-id\tquery-id\tscore", "query\tdocument\trelevance"])
def test_another_header_is_refused(tmp_path, header):
    file = write_text(tmp_path / "a.tsv", f"{header}\nq\td\t1\n")
    with pytest.raises(InputError, match=r"a\.tsv, line 1: the header is '.*', expected query-id corpus-id score$"):
        list(read_qrels(file))


def test_what_is_said_twice_counts_once_as_ir_measures_has_it(tmp_path):
    file = write_text(tmp_path / "a.qrels", "q 0 d 1\nq 0 e 2\nq 0 d 1\n")
    theirs = ir_measures.util.QrelsConverter(ir_measures.read_trec_qrels(str(file))).as_dict_of_dict()
    assert grades_of(read_qrels(file), file) == theirs == {"q": {"d": 1, "e": 2}}


def test_a_document_with_two_grades_is_refused_with_both_lines(tmp_path):
    file = write_text(tmp_path / "a.tsv", f"{HEADER}q\td\t1\nq\te\t1\nq\td\t1\nq\td\t2\n")
    said = r"line 5: document 'd' is judged for query 'q' on line 2 too, with another grade; remove one"
    with pytest.raises(InputError, match=said):
        grades_of(read_qrels(file), file)


def test_what_an_archive_leaves_beside_each_file_is_no_split(tmp_path):
    plain = write_text(tmp_path / "qrels" / "dev.tsv", f"{HEADER}q\td\t1\n")
    (tmp_path / "qrels" / "._dev.tsv").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    assert qrels_files(tmp_path) == {"dev": plain}


def test_the_plain_file_counts_beside_packed_copies(tmp_path):
    plain = write_text(tmp_path / "qrels" / "test.tsv", f"{HEADER}q1\tmended\t1\n")
    old = f"{HEADER}q1\told\t1\n".encode()
    plain.with_suffix(".tsv.gz").write_bytes(gzip.compress(old))
    plain.with_suffix(".tsv.zst").write_bytes(pa.Codec("zstd").compress(old, asbytes=True))
    assert qrels_files(tmp_path) == {"test": plain}
