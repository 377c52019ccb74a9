"""What the text of manuals needs before it becomes documents and queries, in many scripts."""

import re

from tamis.text import letters

# No space is written between these: ideographs, kana, and their punctuation.
_UNSPACED = "[\u3000-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]"
_SPACE_BETWEEN_UNSPACED = re.compile(f"(?<={_UNSPACED}) (?={_UNSPACED})")
_SHORT_TAGS = {"C": "en", "zh_CN": "zh"}
_CYRILLIC = re.compile("[\u0400-\u052f]")
_OWN_SCRIPT = {
    "el": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "ja": re.compile("[\u3040-\u30ff\u4e00-\u9fff]"),
    "ko": re.compile("[\uac00-\ud7a3]"),
    "mk": _CYRILLIC,
    "ru": _CYRILLIC,
    "sr": _CYRILLIC,
    "uk": _CYRILLIC,
    "zh": re.compile("[\u4e00-\u9fff]"),
}


def tidy(text: str) -> str:
    """Join lines and runs of spaces; line ends inside Chinese and Japanese sentences vanish."""
    return _SPACE_BETWEEN_UNSPACED.sub("", re.sub(r"\s+", " ", text).strip())


def language_tag(locale: str) -> str:
    """Language tag of a locale: `pt_BR` is `pt-br`, `sr@latin` is `sr-latn`."""
    return _SHORT_TAGS.get(locale) or locale.lower().replace("_", "-").replace("@latin", "-latn").replace("@", "-")


def is_dense_script(language: str) -> bool:
    """Whether one letter of this language says about as much as two or three Latin letters (Chinese, Japanese, Korean).

    Args:
        language: Language tag, `zh-cn`.
    """
    return language.split("-")[0] in {"ja", "ko", "zh"}


def uses_own_script(text: str, language: str) -> bool:
    """Whether a text holds a letter of its language's own script; true for languages that Latin letters may write.

    A heading of a Russian or Chinese manual without one was left in English.
    """
    return own_script_share(text, language) > 0


def own_script_share(text: str, language: str) -> float:
    """Share of a text's letters that are of its language's own script; 1 where Latin letters may write the language.

    Args:
        text: Any text.
        language: Language tag; `sr` is written in Cyrillic, `sr-latn` is not.
    """
    script = None if language.endswith("-latn") else _OWN_SCRIPT.get(language.split("-")[0])
    return 1.0 if script is None else len(script.findall(text)) / max(1, letters(text))


def cut_at_paragraph(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` characters, at a line end where one lies in the second half."""
    if len(text) <= limit:
        return text
    line_end = text.rfind("\n", 0, limit)
    return text[: line_end if line_end > limit // 2 else limit].rstrip()
