"""Reading, cleaning and telling the language of documents."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, SettingsError
from tamis.records import Document, Dropped
from tamis.stages.corpus import (
    clean,
    identify_languages,
    language_identifier,
    read_documents,
    read_given_queries,
    with_languages,
)

PASSAGES = {
    "de": "Das Deutschlandticket kostet seit Januar 58 Euro im Monat und gilt in allen Regionalzügen.",
    "ru": "Озеро Байкал — самое глубокое озеро в мире, его глубина достигает 1642 метров.",
    "ja": "富士山は日本で最も高い山で、標高は3776メートルです。",
    "zh-cn": "长城全长超过两万公里，主要修建于明朝，用于抵御北方游牧民族的入侵。",
    "ko": "접근성 메뉴는 접근성 설정 일부를 켜면 나타납니다.",
    "th": "ทีมรับของแพนเธอร์สเป็นผู้นำในลีกด้วยการอินเตอร์เซป",
    "hi": "पैंथर्स की डिफ़ेन्स ने लीग में केवल 308 अंक दिए और छठे स्थान पर रहे।",
    "ar": "أقيمت البطولة 21 مرة، شارك في النهائيات 78 دولة.",
}


def write_jsonl(path, *entries):
    lines = [entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def document(text, doc_id="d", language="en", origin="target"):
    return Document(doc_id, text, language, origin)


def test_a_jsonl_file_gives_documents_with_title_and_language(tmp_path):
    file = write_jsonl(
        tmp_path / "docs.jsonl",
        {"_id": "a", "title": "Titel", "text": "Inhalt", "metadata": {"lang": "de"}},
        {"id": 7, "text": "内容", "lang": "zh_CN"},
        "",
        {"doc_id": "c", "title": None, "text": "x", "language": "pt-BR"},
        {"_id": "d", "text": "y", "metadata": None},
    )
    assert list(read_documents(file, "general")) == [
        Document("a", "Titel\nInhalt", "de", "general"),
        Document("7", "内容", "zh-cn", "general"),
        Document("c", "x", "pt-br", "general"),
        Document("d", "y", "und", "general"),
    ]


def test_a_beir_folder_is_read_without_its_queries(tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", {"_id": "a", "title": "", "text": "one"})
    write_jsonl(tmp_path / "queries.jsonl", "this is not JSON")
    assert list(read_documents(tmp_path, "target")) == [document("one", "a", "und")]


def test_a_folder_of_texts_is_read_in_sorted_order(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("zweite", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbferste")
    (tmp_path / "c.pdf").write_bytes(b"%PDF")
    assert [(d.doc_id, d.text) for d in read_documents(tmp_path, "target")] == [
        ("a.txt", "erste"),
        ("sub/b.md", "zweite"),
    ]


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    file = write_jsonl(tmp_path / "docs.jsonl", {"_id": "a", "text": "one\u2028two\x85"})
    assert [d.text for d in read_documents(file, "target")] == ["one\u2028two\x85"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"docs\.jsonl, line 2: got '{broken', expected a JSON object"),
        ('["list"]', r"docs\.jsonl, line 2: got '\[\"list\"\]', expected a JSON object"),
        ('{"text": "x"}', r"docs\.jsonl, line 2: no id; expected a field _id, id or doc_id"),
        ('{"_id": "x"}', r"docs\.jsonl, line 2: no text; expected a field text with text"),
        (
            '{"_id": ["x"], "text": "x"}',
            r"docs\.jsonl, line 2: _id is \[\"x\"\], expected printable text or a whole number",
        ),
        ('{"_id": "x\\ty", "text": "x"}', r"line 2: _id is .*, expected printable text"),
        ('{"_id": "x", "text": 5}', r"docs\.jsonl, line 2: text is 5, expected text"),
        ('{"_id": "x", "text": "x", "title": 5}', r"docs\.jsonl, line 2: title is 5, expected text"),
        (
            '{"_id": "x", "text": "x", "lang": "English"}',
            r"line 2: the language is \"English\", expected a tag such as de",
        ),
        (
            '{"_id": "a", "text": "x"}',
            r"docs\.jsonl: id 'a' stands on line 1 and on line 2; ids must be unique, rename one",
        ),
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path, line, message):
    file = write_jsonl(tmp_path / "docs.jsonl", {"_id": "a", "text": "x"}, line)
    with pytest.raises(InputError, match=message):
        list(read_documents(file, "target"))


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    file = tmp_path / "docs.jsonl"
    file.write_bytes(b'{"_id": "a", "text": "x"}\n{"_id": "b", "text": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"docs\.jsonl, line 2: byte 0xe9 is not UTF-8; save the file in UTF-8"):
        list(read_documents(file, "target"))
    file.unlink()
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\ncaf\xe9")
    with pytest.raises(InputError, match=r"a\.txt, line 3: byte 0xe9 is not UTF-8"):
        list(read_documents(tmp_path, "target"))


def test_an_input_without_documents_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing to read; expected corpus\.jsonl, or \.txt or \.md files"):
        read_documents(tmp_path, "target")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        read_documents(tmp_path / "nowhere", "target")
    (tmp_path / "docs.csv").touch()
    with pytest.raises(InputError, match=r"docs\.csv: cannot read \.csv; expected \.jsonl or a folder"):
        read_documents(tmp_path / "docs.csv", "target")
    (tmp_path / "docs.jsonl").touch()
    with pytest.raises(InputError, match=r"docs\.jsonl: no documents in it; expected one JSON object a line"):
        list(read_documents(tmp_path / "docs.jsonl", "target"))


def beir_folder(folder, *qrels):
    write_jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "eins"}, {"_id": "q2", "text": "zwei"})
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(qrels), encoding="utf-8")
    return folder


def test_given_queries_come_with_their_relevant_documents(tmp_path):
    folder = beir_folder(tmp_path, "q1\td1\t1", "q2\td2\t0", "q2\td1\t2")
    assert list(read_given_queries(folder)) == [("q1", "eins", "d1"), ("q2", "zwei", "d1")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 d1 1", r"test\.tsv, line 2: got 'q1 d1 1', expected query id, document id, whole score, by tabs"),
        ("q1\td1\thigh", r"test\.tsv, line 2: got .*, expected query id, document id, whole score"),
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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("12:30 — 404", "no letters"),
        ("", "no letters"),
        ("long " * 30, "too long"),
        ("\x00\x01\x02text", "binary"),
        ("caf\ufffd", "binary"),
    ],
)
def test_an_unusable_document_is_dropped_with_its_reason(text, reason):
    (dropped,) = clean([document(text)], max_chars=100)
    assert isinstance(dropped, Dropped)
    assert (dropped.record_id, dropped.reason, dropped.language) == ("d", reason, "en")


def test_control_characters_are_stripped_and_line_breaks_unified():
    (kept,) = clean([document("  one\r\ntwo\rthree\x00 and a good deal more text\ttab\ud800 ")], max_chars=100)
    assert kept == document("one\ntwo\nthree and a good deal more text\ttab")


@pytest.mark.parametrize("language", PASSAGES)
def test_text_of_every_script_passes_unchanged(language):
    original = document(PASSAGES[language], language=language)
    assert list(clean([original], max_chars=1000)) == [original]


def test_the_same_words_twice_are_dropped_within_a_language_and_an_origin():
    results = list(
        clean(
            [
                document("Taxi, bitte!", "1", "de"),
                document("TAXI  bitte", "2", "de"),
                document("Taxi bitte", "3", "nl"),
                document("Taxi bitte", "4", "de", "general"),
            ],
            max_chars=100,
        )
    )
    assert [isinstance(result, Dropped) for result in results] == [False, True, False, False]
    assert results[1] == Dropped("2", "duplicate text", "de", "TAXI bitte")


def test_an_id_in_two_inputs_is_refused():
    with pytest.raises(
        InputError, match="document id 'd' comes twice, in target and general documents; ids must be unique"
    ):
        list(clean([document("one"), document("two", origin="general")], max_chars=100))


@given(st.lists(st.text(max_size=30)))
def test_kept_and_dropped_documents_add_up_and_cleaning_twice_changes_nothing(texts):
    documents = [document(text, str(i)) for i, text in enumerate(texts)]
    results = list(clean(documents, max_chars=20))
    assert len(results) == len(documents)
    kept = [result for result in results if isinstance(result, Document)]
    assert list(clean(kept, max_chars=20)) == kept
    for each in kept:
        each.text.encode()


def test_only_documents_without_a_language_are_identified():
    documents = [document("x", "1", "und"), document("y", "2", "fi")]
    assert [d.language for d in with_languages(documents, lambda text: "de")] == ["de", "fi"]


@pytest.mark.parametrize("restrict", [True, False])
def test_the_language_of_real_text_is_told(restrict):
    documents = [document(text, tag, "und") for tag, text in PASSAGES.items()]
    told = {d.doc_id: d.language for d in identify_languages(documents, list(PASSAGES) if restrict else None)}
    assert told == {tag: tag if restrict else tag.split("-")[0] for tag in PASSAGES}


def test_a_single_language_needs_no_identification():
    assert language_identifier(["bho"])("whatever") == "bho"


def test_of_two_tags_with_one_primary_part_the_first_is_the_answer():
    assert language_identifier(["zh-tw", "zh-cn", "en"])(PASSAGES["zh-cn"]) == "zh-tw"


def test_languages_that_cannot_be_told_stay_undetermined():
    assert language_identifier(["bho", "tlh"])("whatever") == "und"


def test_a_wrong_language_tag_is_refused():
    with pytest.raises(SettingsError, match="languages: got 'German', expected a lower-case language tag such as de"):
        identify_languages([], ["en", "German"])
