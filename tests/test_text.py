"""Words, sentences and comparisons in many scripts."""

import itertools
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.text import clip, letters, normalise, one_line, sentences, terms, without_spaces, word_spans, words

PASSAGES = {
    "de": "Größe: Die Straße ist 3,5 km lang.",
    "ru": "Озеро Байкал — самое глубокое озеро в мире.",
    "ja": "富士山は日本で最も高い山です。標高は3776メートルです。",
    "zh-cn": "长城主要修建于明朝。用于抵御入侵！",
    "ko": "설치 방법을 확인합니다.",
    "th": "แมวกำลังนอนหลับ",
    "hi": "क्रांतिकारी किताबें पढ़ना अच्छा है। यह सच है।",
    "ar": "كم عدد الكتب؟ الكتابُ في المكتبة.",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Größe der STRASSE, 3 km", ["grösse", "der", "strasse", "3", "km"]),
        ("Озеро Байкал — самое", ["озеро", "байкал", "самое"]),
        ("富士山は高い", ["富士", "士山", "山は", "は高", "高い"]),
        ("安装 Debian 的方法", ["安装", "debian", "的方", "方法"]),
        ("猫 cat", ["猫", "cat"]),
        ("설치 방법", ["설치", "방법"]),
        ("แมวดี", ["แม", "มว", "วดี"]),
        ("क्रांतिकारी किताबें", ["क्रांतिकारी", "किताबें"]),
        ("الكتابُ في", ["الكتابُ", "في"]),
        ("ＡＰＴ２ ﾃﾞｰﾀ", ["apt2", "デー", "ータ"]),
        ("apt_get non-free", ["apt", "get", "non", "free"]),
        ("", []),
        ("… — !", []),
    ],
)
def test_words_are_runs_of_letters_or_pairs_of_characters(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Größe der STRASSE, 3 km", ["grösse", "der", "strasse", "3", "km"]),
        ("Озеро Байкал — самое", ["озеро", "байкал", "самое"]),
        ("安装 Debian 的方法", ["安装", "debian", "的方", "方法"]),
        ("แมวดี 설치", ["แม", "มว", "วดี", "설치"]),
        ("क्रांतिकारी अच्छा है", ["क्रांतिकारी", "क्रा", "अच्छा", "अच्छ", "है"]),
        ("మొదటి", ["మొదటి", "మొదట"]),
        ("الكتابُ في المكتبة", ["كتاب", "في", "مكتبه", "مكتب"]),
        ("والمدرسة", ["مدرسه", "مدرس"]),
        ("الى", ["الي"]),
    ],
)
def test_terms_are_words_and_the_beginning_of_inflected_ones(text, expected):
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("إلى", "الى"),
        ("مُحَمَّدٌ", "محمد"),
        ("كـــتاب", "كتاب"),
        ("مدرسة", "مدرسه"),
        ("أحمد", "احمد"),
        ("الآن", "الان"),
        ("کتابی", "كتابي"),
        ("بالقلم", "القلم"),
    ],
)
def test_ways_to_write_an_arabic_word_give_the_same_terms(one, other):
    assert terms(one) == terms(other)


@given(st.text())
def test_terms_keep_every_word_of_scripts_that_need_no_folding(text):
    found = terms(text)
    assert len(found) >= len(words(text))
    for term in found:
        assert term
        assert term.split() == [term]


def test_composed_and_decomposed_letters_give_the_same_words():
    for text in PASSAGES.values():
        assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


def test_invisible_joiners_and_soft_hyphens_do_not_split_words():
    assert words("می\u200cخواهم Zeit\u00adung") == ["میخواهم", "zeitung"]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("İstanbul ve İzmir", "istanbul ve izmir"),  # Java's and Lucene's lower case of the letter is i
        ("葛\U000e0100城市", "葛城市"),  # a variant of the letter, as Japanese registers write names
        ("神\ufe00社", "神社"),
        ("data\u2060base", "database"),
        ("תל\u200fאביב", "תלאביב"),
        ("ᠮᠣᠩ\u180bᠭᠣᠯ", "ᠮᠣᠩᠭᠣᠯ"),
    ],
)
def test_what_cannot_be_seen_or_stands_over_an_i_keeps_no_word_from_being_found(written, asked):
    assert terms(written) == terms(asked)


def test_a_keycap_is_the_digit_on_it():
    assert words("1\ufe0f\u20e3 2") == ["1", "2"]


def test_no_mark_of_a_living_script_splits_a_word():
    # Up to the Hangul syllables, and Adlam; words of the Myanmar block are pairs of characters, marks and all.
    letters_and_marks = [
        *range(0x300, 0x1000),
        *range(0x1100, 0x3000),
        *range(0xA000, 0xAC00),
        *range(0x1E900, 0x1E950),
    ]
    marks = [chr(c) for c in letters_and_marks if unicodedata.category(chr(c)) in ("Mn", "Mc")]
    marks = [mark for mark in marks if not unicodedata.name(mark).startswith(("MYANMAR", "COPTIC"))]
    split = [f"U+{ord(mark):04X}" for mark in marks if len(normalise(f"x{mark}x").split()) > 1]
    assert split == []
    for word in ("ꯃꯤꯇꯩꯂꯣꯟ", "𞤆𞤵𞤤𞤢𞤪", "𞤢𞤣𞤤𞤢𞤥𞥄", "ᮘᮞ", "ꦗꦮ"):  # Manipuri, Pular, Adlam, Sundanese, Javanese
        assert words(word) == [normalise(word)]


@given(st.text())
def test_words_hold_no_space_and_no_capitals(text):
    for word in words(text):
        assert word.split() == [word]
        assert word == word.lower() or word.lower() != word.upper()


def test_words_reads_a_megabyte_in_about_a_second():
    text = " ".join(PASSAGES.values())
    text *= 300_000 // len(text.encode())
    start = time.process_time()
    words(text)
    assert time.process_time() - start < 1.0  # a third of a megabyte, on a slow and busy machine


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("富士山は高い。標高は？知らない！", ["富士山は高い。", "標高は？", "知らない！"]),
        ("他说：“好。”然后走了。", ["他说：“好。”", "然后走了。"]),
        ("यह सच है। वह नहीं।", ["यह सच है।", "वह नहीं।"]),
        ("كم عدد الكتب؟ لا أعرف.", ["كم عدد الكتب؟", "لا أعرف."]),
        ("Heading\nBody text", ["Heading", "Body text"]),
        (
            "Am 3. Mai kam Dr. Weber, z. B. mit J. S. Bach. Gut.",
            ["Am 3. Mai kam Dr. Weber, z. B. mit J. S. Bach.", "Gut."],
        ),
        ("Use e.g. apt. It works.", ["Use e.g. apt.", "It works."]),
        ("see /etc/apt.conf, version 2.11 now", ["see /etc/apt.conf, version 2.11 now"]),
        (" \n ", []),
    ],
)
def test_sentences_end_at_stops_and_line_breaks(text, expected):
    assert sentences(text) == expected


@given(st.text(alphabet=st.sampled_from('ab Z3.!?。？।\n"” 高い')))
def test_sentences_lose_nothing_but_white_space(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wie groß ist es?", "WIE GROSS  IST ES"),
        ("１２月の「予定」", "12月の 予定"),
        ("किताबें, पढ़ना", "किताबें पढ़ना"),
        ("snake_case", "snake case"),
    ],
)
def test_copies_are_equal_when_normalised(one, other):
    assert normalise(one) == normalise(other)


def test_letters_counts_letters_only():
    assert letters("Nr. 42, ça va?") == 6
    assert letters("富士山 3776") == 3
    assert letters("12:30 — ✓") == 0


def test_scripts_without_spaces_are_recognised():
    spaceless = {language for language, passage in PASSAGES.items() if without_spaces(passage)}
    assert spaceless == {"ja", "zh-cn", "th"}
    assert not without_spaces("")
    assert not without_spaces("apt install 猫")


@given(st.text(st.characters(exclude_categories=())))
def test_one_line_is_printable_but_for_its_spaces_and_can_be_stored(text):
    line = one_line(text)
    line.encode()
    assert line == " ".join(line.split())
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in line)
    assert one_line(line) == line


def test_clip_leaves_short_text_and_marks_a_cut():
    assert clip("a\n b", 3) == "a b"
    assert clip("abcdef", 4) == "abc…"


@given(st.text(), st.integers(1, 30))
def test_a_clipped_text_is_never_longer_than_asked(text, n):
    assert len(clip(text, n)) <= n


@pytest.mark.parametrize(
    "text",
    [*(text for language, text in PASSAGES.items() if language != "th"), "安装 Debian 的方法", "apt_get แมวดี 猫"],
)
def test_spans_hold_the_words_in_their_order(text):
    found = list(word_spans(text))
    assert [word for _, _, word in found] == words(text)
    assert all(words(text[start:end]) == [word] for start, end, word in found)
    assert all(first[0] <= second[0] for first, second in itertools.pairwise(found))
