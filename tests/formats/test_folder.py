"""Folders as people have them: what is read, what is passed over, and what happens with links and names."""

import json
import os

import pytest

from tamis.errors import InputError, SettingsError
from tamis.formats import json_rows
from tamis.formats.documents import Corpus
from tamis.formats.fields import USUAL, Names
from tamis.formats.folder import EVERYTHING, Choice, list_folder
from tamis.records import Document, Dropped
from tests.formats.files import write_jsonl, write_text
from tests.formats.test_documents import ROWS, parquet


def documents(folder, choice=EVERYTHING, names=USUAL):
    return [found for found in Corpus(folder, choice, names).documents("target") if isinstance(found, Document)]


def ids(folder, choice=EVERYTHING):
    return [document.doc_id for document in documents(folder, choice)]


def left_out(folder, names=USUAL):
    found = Corpus(folder, names=names).documents("target")
    return [(each.record_id, each.reason) for each in found if isinstance(each, Dropped)]


def texts(folder, *names):
    for name in names:
        write_text(folder / name, f"text of {name}")


def test_a_mixed_folder_is_read_at_any_depth(tmp_path):
    texts(tmp_path, "a.md", "sub/b.htm", "sub/deep/er/c.txt")
    write_jsonl(tmp_path / "sub/rows.jsonl", {"id": 1, "text": "one", "title": "T"}, {"text": "two"})
    write_text(tmp_path / "tables/faq.csv", "id,text\nx,first\ny,second\n")
    parquet(tmp_path / "tables/p.parquet", ROWS[:1])
    assert ids(tmp_path) == [
        "a.md",
        "sub/b.htm",
        "sub/deep/er/c.txt",
        "sub/rows.jsonl/1",
        "sub/rows.jsonl/2",
        "tables/faq.csv/x",
        "tables/faq.csv/y",
        "tables/p.parquet/a",
    ]
    row = documents(tmp_path)[3]
    assert (row.text, row.title, row.path) == ("T\none", "T", "sub/rows.jsonl")


def test_hidden_files_and_what_programs_leave_behind_are_counted_and_not_read(tmp_path):
    texts(tmp_path, "a.txt", "build/of/words.md", ".git/config.txt", ".env.txt", "__MACOSX/._a.txt", "~$a.docx")
    texts(tmp_path, "node_modules/x/README.md", "p/pyproject.toml", "p/build/lib.txt", "venv/pyvenv.cfg", "venv/b.txt")
    texts(tmp_path, "CVS/Entries.txt")
    assert ids(tmp_path) == ["a.txt", "build/of/words.md"]
    folder = list_folder(tmp_path)
    assert folder.skipped == {
        "hidden files and folders": 3,
        "folders of builds, caches and archivers": 4,
        "folders of version control": 1,
    }
    assert [dropped.record_id for dropped in folder.left_out] == ["p/pyproject.toml"]
    assert folder.facts["read"] == 2


def test_links_are_read_once_under_the_path_of_the_real_file(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    texts(outside, "far.txt", "sub/farther.txt")
    texts(folder, "z/real.txt")
    (folder / "a-link.txt").symlink_to(folder / "z/real.txt")
    (folder / "b-link").symlink_to(folder / "z")
    os.link(folder / "z/real.txt", folder / "z/hard.txt")
    (folder / "c-link.txt").symlink_to(outside / "far.txt")
    (folder / "d-link.txt").symlink_to(outside / "far.txt")
    (folder / "e-link").symlink_to(outside / "sub")
    assert ids(folder) == ["c-link.txt", "e-link/farther.txt", "z/hard.txt"]
    assert list_folder(folder).skipped == {"links to what is read": 4}


def test_broken_links_and_loops_end_nothing(tmp_path):
    texts(tmp_path, "in/a.txt")
    folder = tmp_path / "in"
    (folder / "broken.txt").symlink_to(folder / "nowhere.txt")
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    (folder / "up").symlink_to(tmp_path)
    (folder / "self").symlink_to(folder)
    assert ids(folder) == ["a.txt"]
    assert left_out(folder) == [
        ("broken.txt", "broken link"),
        ("one", "loop of links"),
        ("two", "loop of links"),
        ("up", "link to a folder around this one"),
    ]


def test_a_file_that_is_deleted_while_its_folder_is_listed_is_left_out(tmp_path, monkeypatch):
    texts(tmp_path, "a.md", "b.md")
    listed = os.scandir

    def without_one(folder):
        entries = list(listed(folder))
        (tmp_path / "b.md").unlink()
        return entries

    monkeypatch.setattr(os, "scandir", without_one)
    folder = list_folder(tmp_path)
    assert [found.name for found in folder.files] == ["a.md"]
    assert [(one.record_id, one.reason) for one in folder.left_out] == [("b.md", "cannot be read")]


def test_a_folder_that_cannot_be_looked_into_ends_nothing(tmp_path):
    """What stands in it would have a longer path than the system takes."""
    texts(tmp_path, "a.txt")
    deep = tmp_path
    while (left := 4085 - len(str(deep))) > 1:
        deep /= "d" * min(200, left - 1)
        deep.mkdir()
    texts(deep, "b.txt")
    assert len(str(deep / "CACHEDIR.TAG")) > 4095
    assert ids(tmp_path) == ["a.txt", f"{deep.relative_to(tmp_path)}/b.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter any folder")
def test_a_folder_that_nobody_may_enter_is_left_out_with_its_reason(tmp_path):
    texts(tmp_path, "a.txt", "closed/b.txt")
    (tmp_path / "closed").chmod(0)
    try:
        assert left_out(tmp_path) == [("closed/", "no permission to read it")]
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_what_is_no_file_is_not_opened(tmp_path):
    texts(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    assert left_out(tmp_path) == [("pipe.txt", "no regular file")]


def test_names_in_any_script_are_ids_and_what_no_id_can_hold_is_escaped(tmp_path):
    names = ["کتاب\u200cها.txt", "報告\u3000二.txt", "at 3.45\u202fPM.md"]
    texts(tmp_path, *names)
    (tmp_path / "two\nlines.txt").write_text("x")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("y")
    assert set(ids(tmp_path)) == {*names, "two%0Alines.txt", "caf%E9.txt"}
    for found in documents(tmp_path):
        found.doc_id.encode()


def test_include_and_exclude_are_patterns_as_in_gitignore(tmp_path):
    texts(tmp_path, "a.txt", "docs/b.md", "docs/deep/c.md", "docs/drafts/d.md", "src/main.py", "e.jsonl")
    assert ids(tmp_path, Choice(include=["docs/"])) == ["docs/b.md", "docs/deep/c.md", "docs/drafts/d.md"]
    assert ids(tmp_path, Choice(exclude=["drafts", "*.txt", "*.jsonl"])) == ["docs/b.md", "docs/deep/c.md"]
    assert ids(tmp_path, Choice(["*.py", "/docs/*.md"])) == ["docs/b.md", "src/main.py"]  # named, so it is text
    chosen = list_folder(tmp_path, Choice(exclude=["docs"]))
    assert chosen.skipped == {"not chosen by corpus.include and corpus.exclude": 3}
    with pytest.raises(SettingsError, match=r"corpus\.include: .*expected patterns as in a \.gitignore"):
        list_folder(tmp_path, Choice(include=["!"]))


def test_a_folder_of_which_nothing_is_read_says_what_it_holds(tmp_path):
    with pytest.raises(InputError, match="nothing to read in this folder; it is empty"):
        Corpus(tmp_path)
    texts(tmp_path, "a.png", "b.png", ".hidden", "queries.jsonl", "qrels/test.tsv")
    with pytest.raises(InputError, match=r"it holds 2 \.png: no form of documents, 2 questions .*, 1 hidden files"):
        Corpus(tmp_path)


def test_questions_beside_documents_are_none(tmp_path):
    texts(tmp_path, "a.txt", "sub/qrels/test.tsv")
    write_jsonl(tmp_path / "sub/queries.jsonl", {"_id": "q", "text": "asked"})
    write_jsonl(tmp_path / "sub/corpus.jsonl", {"_id": "d", "text": "said"})
    assert ids(tmp_path) == ["a.txt", "sub/corpus.jsonl/d"]
    assert {reason for _, reason in left_out(tmp_path)} == {"questions or judgements, no documents"}


def test_rows_that_are_not_understood_are_left_out_one_by_one(tmp_path):
    texts(tmp_path, "a.txt")
    write_text(tmp_path / "ragged.csv", "id,text\n1,one\n2,two,more\n3,three\n3,again\n,none\n")
    write_jsonl(tmp_path / "rows.jsonl", {"text": "one"}, "{broken", '["list"]', {"text": 5}, {"text": "five"})
    assert ids(tmp_path) == ["a.txt", "ragged.csv/1", "ragged.csv/3", "rows.jsonl/1", "rows.jsonl/5"]
    assert left_out(tmp_path) == [
        ("ragged.csv, row 2", "row not understood"),
        ("ragged.csv, line 5", "id comes twice in its table"),
        ("ragged.csv, line 6", "row not understood"),
        ("rows.jsonl, row 2", "row not understood"),
        ("rows.jsonl, row 3", "row not understood"),
        ("rows.jsonl, line 4", "row not understood"),
    ]


def test_tables_that_hold_no_documents_are_left_out_whole(tmp_path):
    texts(tmp_path, "a.txt")
    write_text(tmp_path / "package.json", '{\n "name": "x",\n "version": "1"\n}')
    write_text(tmp_path / "numbers.csv", "a,b\n1,2\n3,4\n")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "binary.jsonl").write_bytes(b"\x00\xff\x00\x80" * 9)
    write_text(tmp_path / "empty.jsonl", "")
    reasons = dict(left_out(tmp_path))
    assert reasons["package.json"] == ".json: no field with text, name it under corpus.fields"
    assert reasons["numbers.csv"] == ".csv: no field with text, name it under corpus.fields"
    assert reasons["cut.parquet"] == "damaged or no .parquet"
    assert reasons["binary.jsonl"] == "damaged or no .jsonl"
    assert reasons["empty.jsonl"] == "no rows in it"
    assert ids(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_spreadsheets_are_read_in_their_encoding(tmp_path, encoding, separator):
    rows = [["id", "text"], ["1", "Käse und Brot"], ["2", "Größe, sehr; groß"]]
    lines = "".join(separator.join(f'"{cell}"' for cell in row) + "\r\n" for row in rows)
    texts(tmp_path, "a.txt")
    (tmp_path / "t.csv").write_bytes(lines.encode(encoding))
    assert [found.text for found in documents(tmp_path)[1:]] == ["Käse und Brot", "Größe, sehr; groß"]


@pytest.mark.parametrize("form", ["list", "list in one line", "object", "object in one line", "lines"])
def test_json_lists_and_objects_that_wrap_rows(tmp_path, form):
    rows = [{"_id": str(number), "text": f"text [{number}] " * 5000, "title": None} for number in range(9)]
    content = {
        "list": json.dumps(rows, indent=1),
        "list in one line": json.dumps(rows),
        "object": json.dumps({"status": "ok", "result": {"points": rows}}, indent=1),
        "object in one line": json.dumps({"hits": {"total": {"value": 9}, "hits": rows}}),
        "lines": "".join(json.dumps({"page": rows[start : start + 3]}) + "\n" for start in (0, 3, 6)),
    }[form]
    file = write_text(tmp_path / "dump.json", "\ufeff" + content)
    assert [found.doc_id for found in documents(file)] == [row["_id"] for row in rows]
    assert [found.text for found in documents(file)] == [row["text"] for row in rows]
    file.write_text(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"dump\.json"):
        documents(file)


@pytest.mark.parametrize("characters", [1, 2, 3, 5, 1 << 16])
@pytest.mark.parametrize(("indent", "between"), [(None, "\n"), (1, ""), (None, "\r\n\ufeff")])
def test_lists_one_behind_another_are_read_to_the_end(tmp_path, monkeypatch, characters, indent, between):
    monkeypatch.setattr(json_rows, "_PEEK", characters)  # brackets come first and last in what is read at a time
    lists = [[{"_id": f"{part}/{row}", "text": "]["} for row in range(rows)] for part, rows in enumerate((2, 0, 1))]
    for name in ("all.json", "all.jsonl"):
        file = write_text(tmp_path / name, between.join(json.dumps(each, indent=indent) for each in lists) + "\n")
        assert ids(file) == [row["_id"] for each in lists for row in each]


@pytest.mark.parametrize("behind", ['{"_id": "b", "text": "y"}', "]", "x", ', [{"_id": "b", "text": "y"}]'])
def test_what_stands_behind_a_list_is_refused(tmp_path, behind):
    file = write_text(tmp_path / "d.json", f'[{{"_id": "a", "text": "x"}}]\n{behind}\n')
    with pytest.raises(InputError, match=r"d\.json, row 2: .* of a JSON list: behind the list stands '.*', expected"):
        documents(file)
    texts(tmp_path, "a.txt")
    assert ids(tmp_path) == ["a.txt", "d.json/a"]
    assert left_out(tmp_path) == [("d.json", "damaged after some rows")]


DUMPS = {
    "elasticsearch": (
        {"_index": "i", "_id": "7", "_source": {"page": {"heading": "Titel", "content": "Text"}, "locale": ["de-AT"]}},
        Names(text="_source.page.content", title="_source.page.heading", lang="_source.locale"),
    ),
    "qdrant": (
        {"result": {"points": [{"id": 7, "payload": {"doc": "Text", "t": "Titel", "l": "de_AT"}, "vector": [0.5]}]}},
        Names(text="payload.doc", title="payload.t", lang="payload.l"),
    ),
    "cms": (
        {
            "posts": [
                {"id": 1, "pageId": "7", "body": {"html": "<p>Text"}, "name": "Titel", "meta": {"locale": "de-at"}}
            ]
        },
        Names("pageId", "body.html", "name", "meta.locale"),
    ),
    "a name with a dot": (
        {
            "meta.id": "7",
            "meta.text": "Text",
            "title": "other",
            "name": "Titel",
            "metadata": {"lang": "fr"},
            "l": "de-AT",
        },
        Names("meta.id", "meta.text", "name", "l"),
    ),
}


@pytest.mark.parametrize("name", DUMPS)
def test_dumps_of_other_systems_are_read_as_they_are(tmp_path, name):
    row, names = DUMPS[name]
    file = write_text(tmp_path / "dump.json", json.dumps(row))
    (found,) = documents(file, names=names)
    assert found == Document("7", "Titel\nText", "de-at", "target", "Titel")
    (found,) = documents(tmp_path, names=names)
    assert found.doc_id == "dump.json/7"


def test_named_fields_of_a_table_are_read_from_its_columns(tmp_path):
    rows = [{"key": 7, "body": {"plain": "Text", "other": 1}, "vector": [0.1]}]
    file = parquet(tmp_path / "t.parquet", rows)
    assert [found.text for found in documents(file, names=Names("key", "body.plain"))] == ["Text"]


def test_a_named_field_that_no_row_has_is_told(tmp_path):
    rows = ({"key": "1", "said": "one"}, {"key": "2", "said": "two", "name": "Two"})
    file = write_jsonl(tmp_path / "d.jsonl", *rows)
    assert [found.title for found in documents(file, names=Names("key", "said", "name"))] == ["", "Two"]
    told = r"no row has the field \"nmae\", which corpus\.fields\.title names; correct it, or leave it out"
    with pytest.raises(InputError, match=rf"d\.jsonl: {told}"):
        documents(file, names=Names("key", "said", "nmae"))
    write_text(tmp_path / "a.txt", "a text")
    assert len(documents(tmp_path, names=Names("key", "said", "name"))) == 3
    with pytest.raises(InputError, match=rf"{tmp_path}: {told}"):
        documents(tmp_path, names=Names("key", "said", "nmae"))


def test_a_row_without_a_text_names_its_fields_and_the_setting(tmp_path):
    file = write_jsonl(tmp_path / "d.jsonl", {"pageId": 1, "body_html": "x"})
    with pytest.raises(InputError, match=r"no id; .*; it has pageId, body_html; name its field with corpus\.fields"):
        documents(file)
    for names in (Names(id="pageId"), Names(id="pageId", text="body.html")):
        with pytest.raises(InputError, match=r"no text; .*; it has pageId, body_html.*; name its field with corpus\."):
            documents(file, names=names)


def test_ids_hold_spaces_and_joiners_of_any_script(tmp_path):
    file = write_jsonl(
        tmp_path / "d.jsonl", {"_id": "می\u200cشود", "text": "a"}, {"_id": "Paris\xa0(ville)", "text": "b"}
    )
    assert ids(file) == ["می\u200cشود", "Paris\xa0(ville)"]
