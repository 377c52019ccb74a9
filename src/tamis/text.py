"""Words, sentences and clean comparisons of text in any script. Pure functions on strings."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

# Scripts whose words are not set apart by spaces. Ranges as the inside of a character class.
_SPACELESS: Final = (
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ece\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\ua9e0-\ua9ef\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
)
# Korean has spaces, but its particles are glued to the words: pairs match where whole words would not.
_HANGUL: Final = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb"
_PAIRED: Final = _SPACELESS + _HANGUL
# Combining marks and vowel signs. They are part of a word, yet `\w` leaves them out.
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0489"  # Latin, Greek, Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic
    "\u0859-\u085b\u0898-\u089f\u08ca-\u08ff"  # Mandaic, more Arabic
    "\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u07fd"  # Syriac, Thaana, N'Ko
    "\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d"  # Samaritan
    # Indic blocks, Devanagari to Sinhala: the marks of all of them lie at the same places in their blocks
    "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09cd\u09d7\u09e2\u09e3\u09fe"
    "\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0a75\u0a81-\u0a83\u0abc-\u0acd\u0ae2\u0ae3\u0afa-\u0aff"
    "\u0b01-\u0b03\u0b3c-\u0b57\u0b62\u0b63\u0b82\u0bbe-\u0bcd\u0bd7"
    "\u0c00-\u0c04\u0c3c-\u0c56\u0c62\u0c63\u0c81-\u0c83\u0cbc-\u0cd6\u0ce2\u0ce3"
    "\u0d00-\u0d03\u0d3b-\u0d4d\u0d57\u0d62\u0d63\u0d81-\u0d83\u0dca-\u0ddf\u0df2\u0df3"
    "\u0f18\u0f19\u0f35\u0f37\u0f39\u0f3e\u0f3f\u0f71-\u0f84\u0f86\u0f87\u0f8d-\u0fbc\u0fc6"  # Tibetan
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"  # Thai, Lao
    "\u102b-\u103e\u1056-\u1059\u1062-\u1064\u109a-\u109d\u17b4-\u17d3\u17dd"  # Myanmar, Khmer
    "\u135d-\u135f\u1712-\u1715\u1732-\u1734\u1752\u1753\u1772\u1773"  # Ethiopic, Philippine
    "\u1885\u1886\u18a9\u1920-\u193b\u1a17-\u1a1b\u1a55-\u1a7f"  # Mongolian, Limbu, Buginese, Tai Tham
    "\u1b00-\u1b04\u1b34-\u1b44\u1b6b-\u1b73\u1b80-\u1b82\u1ba1-\u1bad\u1be6-\u1bf3\u1c24-\u1c37"  # Balinese to Lepcha
    "\u1ab0-\u1ace\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced\u1cf4\u1cf7-\u1cf9\ua8e0-\ua8f1\ua8ff"  # Latin, Vedic, Devanagari
    "\u2d7f\u2de0-\u2dff\ua66f\ua674-\ua67d\ua69e\ua69f\ua6f0\ua6f1"  # Tifinagh, more Cyrillic, Bamum
    "\ua802\ua806\ua80b\ua823-\ua827\ua82c\ua880\ua881\ua8b4-\ua8c5"  # Syloti Nagri, Saurashtra
    "\ua926-\ua92d\ua947-\ua953\ua980-\ua983\ua9b3-\ua9c0\uaa29-\uaa36\uaa43\uaa4c\uaa4d"  # Kayah Li to Cham
    "\uaab0\uaab2-\uaab4\uaab7\uaab8\uaabe\uaabf\uaac1"  # Tai Viet
    "\uaaeb-\uaaef\uaaf5\uaaf6\uabe3-\uabea\uabec\uabed"  # Meetei Mayek
    "\U00010d24-\U00010d27\U00011100-\U00011102\U00011127-\U00011134\U00011145\U00011146"  # Rohingya, Chakma
    "\U0001e944-\U0001e94a"  # Adlam
    "\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a\ufe20-\ufe2f"
)

_WORD: Final = re.compile(rf"([{_PAIRED}]+)|([^\W_{_PAIRED}]+(?:[{_MARKS}]+[^\W_{_PAIRED}]*)*)")
_CHARACTER: Final = re.compile(rf".[{_MARKS}]*")
_NOT_WORD: Final = re.compile(rf"(?:[^\w{_MARKS}]|_)+")
_ONE_SPACELESS: Final = re.compile(f"[{_SPACELESS}]")
# Soft hyphen, tatweel, joiners, marks of direction and the selectors of a letter's form change how a word looks, not
# which word it is. The selector of emoji stays: it parts a digit from its keycap.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u0640\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0e\ufeff"
    "\U000e0100-\U000e01ef]"
)
_DOTTED_I: Final = "i\u0307"  # what case folding makes of the Turkish capital; people and Lucene's lower case write i

# Arabic words are written with and without vowel signs, hamza and dots; the variants of a letter count as one, as in
# Lucene's normaliser, and Persian's yeh and keheh as the Arabic ones.
_ARABIC: Final = re.compile("[\u0620-\u063f\u0641-\u064a\u066e\u066f\u0671-\u06d3\u06d5]")
_ARABIC_SIGNS: Final = re.compile(
    "[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u08d3-\u08ff]"
)
_ARABIC_VARIANTS: Final = str.maketrans("أإآٱؤئىیةک", "ااااويييهك")
# The article, with "and", "with", "as", "so" or "to" before it: the prefixes of Larkey's light stemmer (SIGIR 2002).
_ARABIC_ARTICLE: Final = re.compile("(?:[وبكف]?ال|لل)(?=..)")
_ARABIC_LETTERS_WITH_ARTICLE: Final = 5  # in fewer it is more often part of the word
_INDIC: Final = re.compile("[\u0900-\u0dff]")
_STEM: Final = 4

_CLOSING: Final = "\"'”’»›)\\]」』】》）"
# Full-width stops end a sentence anywhere, the others only before white space or the end of the line.
_SENTENCE_END: Final = re.compile(
    rf"[。！？｡]+[{_CLOSING}]*\s*|[.!?…؟۔।॥։።။។]+[{_CLOSING}]*(?:\s+|$)", flags=re.MULTILINE
)
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""C0 and C1 control characters but tab and line feed, and halves of surrogate pairs, which no file could store."""

# A dot after these is part of a shortened word: initials, ordinals and list numbers, and a few titles.
_SHORTENED: Final = re.compile(
    r"(?:^|[\s(.])(?:[^\W\d_]|\d{1,2}|mr|mrs|dr|prof|st|vs|nr|ca|bzw|vgl|cf|approx|sra?|mme|гг|ул|см)$",
    flags=re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """Split text into words, in order, with repetitions.

    Args:
        text: Any text.

    Returns:
        NFKC case-folded runs of letters and digits. Runs of Han, Kana, Thai, Lao, Khmer, Myanmar and Hangul become
        overlapping pairs of characters, each a letter with its marks; a run of one character stays as it is.
    """
    found: list[str] = []
    for paired, word in _WORD.findall(_INVISIBLE.sub("", _fold(text))):
        if word:
            found.append(word)
        else:
            characters = _CHARACTER.findall(paired)
            found.extend(map("".join, pairwise(characters)) if len(characters) > 1 else characters)
    return found


def word_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each word stands in a text.

    Args:
        text: Any text.

    Yields:
        Start, end and word, in order; the words are those of `words`, but where an invisible character parts one, and
        where NFKC takes a letter apart of a script without spaces (the Thai sara am).
    """
    for found in _WORD.finditer(text):
        if found[2]:
            yield from ((*found.span(), word) for word in words(found[2]))
            continue
        spans = [(found.start() + one.start(), found.start() + one.end()) for one in _CHARACTER.finditer(found[1])]
        pairs = [(first[0], last[1]) for first, last in pairwise(spans)] or spans
        yield from ((start, end, word) for start, end in pairs for word in words(text[start:end]))


def terms(text: str) -> list[str]:
    """Split text into the terms of a lexical index, in order, with repetitions.

    As `words`, but where endings or prefixes are glued to the words and no stemmer is at hand, a longer word counts
    twice: whole, and by its first four letters and signs. Truncation does for these what a stemmer does (McNamee,
    Nicholas and Mayfield, SIGIR 2009); benchmarks/first_stages.py measures it.

    Args:
        text: Any text.

    Returns:
        The words, the Turkish capital I with a dot as i; Arabic ones without vowel signs and article and with one form
        for the variants of a letter, these and the words of the Indic scripts (Devanagari to Sinhala) followed by their
        beginning.
    """
    found: list[str] = []
    for folded in words(text):
        word = folded.replace(_DOTTED_I, "i")
        arabic = _ARABIC.match(word)
        if arabic:
            word = _fold_arabic(word)
        found.append(word)
        if len(word) > _STEM and (arabic or _INDIC.match(word)):
            found.append(word[:_STEM])
    return found


def _fold_arabic(word: str) -> str:
    bare = _ARABIC_SIGNS.sub("", word).translate(_ARABIC_VARIANTS)
    article = _ARABIC_ARTICLE.match(bare) if len(bare) >= _ARABIC_LETTERS_WITH_ARTICLE else None
    return bare[article.end() :] if article else bare


def sentences(text: str) -> list[str]:
    """Split text into sentences; a line break ends a sentence too.

    Nothing but white space is lost. A dot ends no sentence before a small letter, after a single letter, after a
    number of one or two digits (`3. Mai`, `2. Click`) or after a few common shortened words.

    Args:
        text: Any text.

    Returns:
        Stripped, non-empty sentences in order, each with its closing mark.
    """
    return [sentence for line in text.splitlines() for sentence in _sentences_of_line(line.strip())]


def _sentences_of_line(line: str) -> list[str]:
    found: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(line):
        if end[0].startswith(".") and end.end() < len(line):
            before = line[max(start, end.start() - 12) : end.start()]
            if line[end.end()].islower() or _SHORTENED.search(before):
                continue
        found.append(line[start : end.end()].strip())
        start = end.end()
    found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def normalise(text: str) -> str:
    """Bring text into the form in which copies are compared.

    Args:
        text: Any text.

    Returns:
        NFKC case-folded words with one space for everything between them; empty for text without words.
    """
    return _NOT_WORD.sub(" ", _INVISIBLE.sub("", _fold(text))).strip()


def letters(text: str) -> int:
    """Count the letters of any script; digits, marks and punctuation do not count."""
    return sum(map(str.isalpha, text))


def without_spaces(text: str) -> bool:
    """Say whether most letters of the text belong to scripts written without spaces (Hangul does not)."""
    spaceless = len(_ONE_SPACELESS.findall(text))
    return spaceless > 0 and 2 * spaceless > letters(text)


def one_line(text: str) -> str:
    """Text on one line.

    Args:
        text: Any text, also what a server sent.

    Returns:
        The text without control characters and halves of surrogate pairs, runs of white space made one space.
    """
    return " ".join(filter(None, (CONTROL.sub("", word) for word in text.split())))


def quoted(text: str, n: int = 60) -> str:
    """Text as a message quotes it: in quotes, characters that cannot be seen or told apart as escapes.

    Args:
        text: Any text; what stands behind the first `n` characters is left out, with an ellipsis.
        n: Most characters of the text, at least 1.
    """
    return repr(text if len(text) <= n else text[: n - 1] + "…")


def clip(text: str, n: int) -> str:
    """Cut text to one line of at most `n` characters for display, with an ellipsis where something was cut.

    Args:
        text: Any text; it is brought on one line first.
        n: Most characters of the result, the ellipsis counted, at least 1.

    Returns:
        The line.
    """
    line = one_line(text)
    return line if len(line) <= n else line[: n - 1].rstrip() + "…"


def _fold(text: str) -> str:
    """NFKC and case folding; the second NFKC puts together what folding took apart."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
