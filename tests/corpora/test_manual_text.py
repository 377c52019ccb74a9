import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.manual_text import cut_at_paragraph, is_dense_script, own_script_share, tidy, uses_own_script


@given(st.text(alphabet="ab \n", max_size=60), st.integers(2, 30))
def test_a_cut_text_is_a_start_of_the_text_within_the_limit(text, limit):
    cut = cut_at_paragraph(text, limit)
    assert text.startswith(cut)
    assert len(cut) <= limit or cut == text


def test_a_long_text_is_cut_at_a_line_end_of_its_second_half():
    assert cut_at_paragraph("aaaa\nbbbb\ncccc", 12) == "aaaa\nbbbb"
    assert cut_at_paragraph("aa\nbbbbbbbbbbbb", 12) == "aa\nbbbbbbbbb"


@given(st.text())
def test_tidy_text_is_one_line_and_stays_as_it_is(text):
    assert tidy(tidy(text)) == tidy(text)
    assert "\n" not in tidy(text)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Ядро", "ru", True),
        ("Feedback", "ru", False),
        ("日本", "ja", True),
        ("aptitude", "zh-cn", False),
        ("Ґанок", "uk", True),
        ("Naslov", "sr", False),
        ("Naslov", "sr-latn", True),
        ("x", "de", True),
    ],
)
def test_headings_without_a_letter_of_the_own_script_are_told_apart(text, language, expected):
    assert uses_own_script(text, language) is expected


def test_the_share_of_the_own_script_counts_letters_only():
    assert own_script_share("ядро 1234 grep -v", "ru") == 4 / 9
    assert own_script_share("12 34", "ru") == 0
    assert own_script_share("kernel", "de") == 1


def test_chinese_japanese_and_korean_say_more_with_a_letter():
    assert [tag for tag in ("zh-tw", "ja", "ko", "ru", "kok") if is_dense_script(tag)] == ["zh-tw", "ja", "ko"]
