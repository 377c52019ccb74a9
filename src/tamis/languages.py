"""Language tags, and the language of a text, told by py3langid: of documents without one, and of queries."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final

UNKNOWN_LANGUAGE: Final = "und"

LANGUAGE_TAG: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
"""A lower-case tag."""

_NAMES: Final = """\
af Afrikaans, am Amharic, an Aragonese, ar Arabic, as Assamese, az Azerbaijani, be Belarusian, bg Bulgarian,
bho Bhojpuri, bn Bengali, bo Tibetan, br Breton, bs Bosnian, ca Catalan, ceb Cebuano, ckb Central Kurdish, cs Czech,
cy Welsh, da Danish, de German, dz Dzongkha, el Greek, en English, eo Esperanto, es Spanish, et Estonian, eu Basque,
fa Persian, fi Finnish, fil Filipino, fo Faroese, fr French, fy Frisian, ga Irish, gd Scottish Gaelic, gl Galician,
gu Gujarati, ha Hausa, he Hebrew, hi Hindi, hr Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, id Indonesian,
ig Igbo, is Icelandic, it Italian, ja Japanese, jv Javanese, ka Georgian, kk Kazakh, km Khmer, kn Kannada, ko Korean,
ku Kurdish, ky Kyrgyz, la Latin, lb Luxembourgish, lo Lao, lt Lithuanian, lv Latvian, mg Malagasy, mk Macedonian,
ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese, my Burmese, nb Norwegian Bokmål, ne Nepali, nl Dutch,
nn Norwegian Nynorsk, no Norwegian, oc Occitan, om Oromo, or Odia, pa Punjabi, pl Polish, ps Pashto, pt Portuguese,
qu Quechua, ro Romanian, ru Russian, rw Kinyarwanda, sd Sindhi, se Northern Sami, si Sinhala, sk Slovak, sl Slovenian,
sn Shona, so Somali, sq Albanian, sr Serbian, su Sundanese, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik,
th Thai, ti Tigrinya, tk Turkmen, tl Tagalog, tr Turkish, tt Tatar, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek,
vi Vietnamese, vo Volapük, wa Walloon, wo Wolof, xh Xhosa, yi Yiddish, yo Yoruba, zh Chinese, zu Zulu"""
"""Languages by tag, as prompts call them."""

# The first characters tell the language as well as the whole text, in bounded time.
_IDENTIFIED_CHARACTERS: Final = 2000


def language_identifier(languages: Sequence[str] | None) -> Callable[[str], str]:
    """Make a function that tells the language of a text, with py3langid.

    Args:
        languages: The only answers to choose from, as lower-case tags; `zh-cn` is told by its primary part, and of two
            tags with the same primary part the first is the answer. None: every language that py3langid knows.

    Returns:
        Text -> tag; `und` where py3langid knows none of `languages`. With a single language that one is always the
        answer. The model is loaded with the first text.
    """
    if languages is not None and len(languages) == 1:
        return lambda text: languages[0]
    load = cache(lambda: _identifier(languages))
    return lambda text: load()(text)


def _identifier(languages: Sequence[str] | None) -> Callable[[str], str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    known = set(identifier.labels) - {"zxx"}  # zxx: no language at all
    if languages is None:
        answers = {code: code for code in known}
    else:
        answers = {primary(tag): tag for tag in reversed(languages) if primary(tag) in known}
    if not answers:
        return lambda text: UNKNOWN_LANGUAGE
    identifier.set_languages(answers)
    return lambda text: answers[identifier.classify(text[:_IDENTIFIED_CHARACTERS])[0]]


def cannot_be_told(languages: Sequence[str]) -> list[str]:
    """Those of some tags that py3langid has never heard of: a text is told to be in one of the others."""
    return [tag for tag in languages if primary(tag) not in _told()]


@cache
def _told() -> frozenset[str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return frozenset(LanguageIdentifier.from_model_file(MODEL_FILE).labels)


@cache
def language_names() -> Mapping[str, str]:
    """English names of languages by tag."""
    pairs = (pair.split(maxsplit=1) for pair in _NAMES.replace("\n", " ").split(", "))
    return {tag: name for tag, name in pairs}


def primary(tag: str) -> str:
    """The first part of a language tag: `zh` of `zh-cn`."""
    return tag.split("-")[0]


def not_a_tag(value: str) -> str | None:
    """Why something is no language tag, with the nearest one; None where it is one."""
    if LANGUAGE_TAG.fullmatch(value):
        return None
    return f"{value!r} is no language tag; {_meant(value)}"


def _meant(value: str) -> str:
    written = value.strip().lower().replace("_", "-")
    if LANGUAGE_TAG.fullmatch(written):
        return f"did you mean {written!r}?"
    tag_of = {name.lower(): tag for tag, name in language_names().items()}
    near = difflib.get_close_matches(written[:40], tag_of, n=1)
    if not near:
        return "expected one in lower case such as de or zh-cn"
    return f"did you mean {tag_of[near[0]]!r}, {language_names()[tag_of[near[0]]]}?"
