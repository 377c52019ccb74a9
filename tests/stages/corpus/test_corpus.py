"""Cleaning and telling the language of documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, SettingsError
from tamis.languages import language_identifier
from tamis.records import Document, Dropped
from tamis.stages.corpus.clean import clean, identify_languages, with_languages

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


def document(text, doc_id="d", language="en", origin="target"):
    return Document(doc_id, text, language, origin)


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
    assert results[1] == Dropped("2", "duplicate text", "de", "TAXI bitte", "1")


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
