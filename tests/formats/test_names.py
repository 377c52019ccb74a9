"""Ids and file names of every script are read; line breaks, tabs and control characters are refused, and shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.formats.documents import read_documents
from tamis.formats.lines import columns_of
from tamis.formats.qrels import read_qrels
from tamis.formats.queries import read_query_log
from tamis.formats.trec import read_run
from tamis.text import quoted
from tests.formats.files import write_jsonl, write_text

ODD = (
    "کتاب‌ها",
    "報告　2024",
    "Notes at 3.45 PM",
    "soft\u00adhyphen",
    "a\u00a0b",
    "👩‍👧",
    "\u200fنامه",
    "report\u00a0",
    "\u3000報告",
)
BREAKS = ("\n", "\r", "\t", "\x0b", "\x0c", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029")


@pytest.mark.parametrize("name", ODD)
def test_names_of_all_scripts_are_ids_in_every_file(tmp_path, name):
    file = write_jsonl(tmp_path / "docs.jsonl", {"_id": name, "text": "one"})
    assert [document.doc_id for document in read_documents(file, "target")] == [name]
    write_text(tmp_path / "texts" / f"{name}.txt", "one")
    assert [document.doc_id for document in read_documents(tmp_path / "texts", "target")] == [f"{name}.txt"]
    for between in ("\t", " ") if " " not in name else ("\t",):
        run = write_text(tmp_path / "a.trec", f"{between.join([name, 'Q0', name, '1', '2.5', 't'])}\n")
        assert {query_id: found.doc_ids for query_id, found in read_run(run).items()} == {name: (name,)}
        qrels = write_text(tmp_path / "q.trec", f"{between.join([name, '0', name, '1'])}\n")
        assert [(each.query_id, each.doc_id) for each in read_qrels(qrels)] == [(name, name)]
    topics = write_text(tmp_path / "log.tsv", f"{name}\twhat is it\n")
    assert [query.query_id for query in read_query_log(topics)] == [name]


@pytest.mark.parametrize("between", BREAKS)
def test_a_break_in_an_id_is_refused_and_can_be_seen(tmp_path, between):
    file = write_text(tmp_path / "docs.jsonl", json.dumps({"_id": f"a{between}b", "text": "one"}) + "\n")
    with pytest.raises(InputError, match=r"line 1: _id is \"a\\.+b\", expected a line of text") as told:
        list(read_documents(file, "target"))
    assert str(told.value).isprintable()


@given(st.text(), st.integers(1, 80))
def test_what_is_quoted_can_be_seen_whatever_it_is(text, n):
    assert quoted(text, n).isprintable()


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs")), min_size=1), min_size=1), st.data()
)
def test_columns_end_at_blanks_and_at_nothing_else(columns, data):
    blanks = data.draw(
        st.lists(st.sampled_from([" ", "\t", "  ", " \t"]), min_size=len(columns), max_size=len(columns))
    )
    assert columns_of("".join(one + blank for one, blank in zip(columns, blanks, strict=True))) == columns


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_empty_negative_of_a_table_is_none(tmp_path, ending):
    if ending == "csv":
        text = 'anchor,positive,negative,negative_1\nwhat,this,,that\nwho,she," ",he\n'
    else:
        rows = [
            {"anchor": "what", "positive": "this", "negative": None, "negative_1": "that"},
            {"anchor": "who", "positive": "she", "negative_1": "he"},
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
    file = write_text(tmp_path / f"train.{ending}", text)
    assert [document.text for document in read_documents(file, "general")] == ["this", "that", "she", "he"]
