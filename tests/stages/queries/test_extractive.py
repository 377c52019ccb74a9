"""Queries taken out of documents."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.records import Document
from tamis.stages.queries.writers.extractive import ExtractiveGenerator, inverse_document_frequencies
from tamis.text import normalise, sentences

PASSAGES = {
    "de": "Drucker einrichten\nÖffnen Sie die Einstellungen und wählen ihn aus. Wie lange dauert das Einrichten?",
    "ru": "Озеро Байкал — самое глубокое озеро в мире, его глубина достигает 1642 метров. Вода в озере очень чистая.",
    "ja": "富士山は日本で最も高い山で、標高は3776メートルです。最後に噴火したのは1707年です。なぜ噴火したのですか？",
    "zh-cn": "长城全长超过两万公里，主要修建于明朝，用于抵御北方游牧民族的入侵。游客每年都会来参观。",
    "ko": "접근성 메뉴는 접근성 설정 일부를 켜면 나타납니다. 상단 표시줄의 아이콘을 누르면 메뉴를 찾을 수 있습니다.",
    "th": "ทีมรับของแพนเธอร์สเป็นผู้นำในลีก ในขณะที่ได้รับเลือกให้เล่นในโปรโบว์ลสี่ครั้ง",
    "hi": "पैंथर्स की डिफ़ेन्स ने लीग में केवल 308 अंक दिए और छठे स्थान पर रहे। यह एक अच्छा मौसम था।",
    "ar": "أقيمت البطولة 21 مرة، شارك في النهائيات 78 دولة. كم مرة فاز المنتخب البرازيلي بالكأس؟",
}
DOCUMENTS = [Document(language, text, language) for language, text in PASSAGES.items()]


def generator() -> ExtractiveGenerator:
    return ExtractiveGenerator(inverse_document_frequencies(DOCUMENTS))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.language)
def test_every_query_is_made_of_the_document(document):
    write = generator()
    pieces = [normalise(sentence) for sentence in sentences(document.text)]
    words_of_document = set(normalise(document.text).split())
    for seed in range(50):
        query = normalise(write(document, seed))
        assert query
        keywords = set(query.split()) <= words_of_document
        assert keywords or any(query in piece for piece in pieces), query


def test_keywords_are_the_words_that_are_rare_in_the_corpus_and_frequent_in_the_document():
    others = [Document(f"o{i}", "The machine needs a good kernel for the work it does.", "en") for i in range(20)]
    document = Document("d", "The spooler prints. The machine runs the spooler. A queue feeds the spooler daily.", "en")
    write = ExtractiveGenerator(inverse_document_frequencies([*others, document]))
    queries = [write(document, seed) for seed in range(100)]
    assert sum("spooler" in query for query in queries) > 60
    assert not any(query in ("The machine", "machine the") for query in queries)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.language)
def test_different_seeds_give_different_queries_and_the_same_seed_the_same_one(document):
    first, second = generator(), generator()
    queries = [first(document, seed) for seed in range(30)]
    assert len(set(queries)) >= 4
    assert queries == [second(document, seed) for seed in range(30)]


def test_questions_headings_and_phrases_are_all_taken():
    document = DOCUMENTS[0]
    write = generator()
    queries = {write(document, seed) for seed in range(100)}
    assert "Wie lange dauert das Einrichten?" in queries
    assert "Drucker einrichten" in queries
    assert any("Einstellungen" in query for query in queries)


def test_phrases_are_short():
    write = generator()
    for document in DOCUMENTS:
        for seed in range(50):
            query = write(document, seed)
            if query.endswith(("?", "？", "؟")):
                continue
            assert len(query.split()) <= 8
            if document.language in ("zh-cn", "th"):
                assert len(query) <= 22  # 20 and the marks of the last letter


def test_a_phrase_neither_starts_nor_ends_with_a_word_that_stands_everywhere():
    subjects = ["kernel module", "printer queue", "network bridge", "mail server", "boot loader", "disk quota"]
    documents = [
        Document(str(i), f"The {subject} and the owner of the machine are its best friends.", "en")
        for i, subject in enumerate(subjects * 5)
    ]
    documents += [
        Document(f"rare{i}", f"Ciphers of the vault{i} and its wardens{i} are the best.", "en") for i in range(9)
    ]
    write = ExtractiveGenerator(inverse_document_frequencies(documents))
    for seed in range(50):
        query = write(documents[-1], seed).split()
        assert query[0] not in ("of", "the", "and", "are")
        assert len(query) == 2 or query[-1] not in ("of", "the", "and", "are")


def test_thai_and_hindi_letters_keep_their_marks():
    document = Document("th", "ที่ปรึกษากำลังศึกษาปีที่แล้วเกี่ยวกับน้ำที่นี่", "th")
    write = ExtractiveGenerator({})
    for seed in range(100):
        query = write(document, seed)
        after = document.text[document.text.index(query) + len(query) :][:1]
        assert after not in tuple("ัิีึืุู็่้๊๋์") or after == ""
        assert query[-1] not in "เแโใไ"


@pytest.mark.parametrize("text", ["404", "", "—\n***\n1.", "word"])
def test_a_document_without_anything_to_take_gives_an_empty_query(text):
    assert ExtractiveGenerator({})(Document("d", text, "en"), 1) == ""


@given(st.text(), st.integers(0, 2**31 - 1))
def test_any_text_can_be_asked_for_a_query(text, seed):
    document = Document("d", text, "en")
    write = ExtractiveGenerator(inverse_document_frequencies([document]))
    assert "\n" not in write(document, seed)


def test_idf_is_counted_per_language():
    documents = [Document("1", "die Katze", "de"), Document("2", "die Maus", "de"), Document("3", "die hard", "en")]
    idf = inverse_document_frequencies(documents)
    assert idf["de"]["die"] == pytest.approx(math.log(2))
    assert idf["de"]["katze"] == pytest.approx(math.log(3))
    assert idf["en"]["die"] == pytest.approx(math.log(2))
    assert "hard" not in idf["de"]
