"""From bytes to text, whatever encoding somebody's editor wrote."""

import codecs
import re
from typing import Final

from tamis.formats.file_text import LeftOut
from tamis.text import CONTROL

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE: Final = 1 << 16
_NAMED: Final = re.compile(
    rb"""<meta[^>]+charset\s*=\s*["']?([\w.:-]+)|^<\?xml[^>]+encoding\s*=\s*["']([\w.:-]+)""", re.I
)
_WESTERN: Final = tuple(
    frozenset(f"{letters}{letters.upper()}’‘“”„«»–—…•€£§©®°·×\xa0")
    for letters in (
        "àâæçéèêëîïôœùûüÿ",  # French
        "äöüß",
        "áéíóúüñ¿¡ªº",  # Spanish
        "àèéìíîòóùú",  # Italian
        "ãáàâçéêíóõôúü",  # Portuguese
        "æøåäöéü",  # Danish, Norwegian, Swedish, Finnish
        "ëïéèüöáó",  # Dutch
    )
)
"""Characters beyond ASCII of languages that are written in Windows-1252, each with its marks of punctuation."""

_MOSTLY: Final = 10
"""So many good characters beyond ASCII for each broken one, and a text is UTF-8 with an accident."""


def decode(raw: bytes) -> str:
    """The text that bytes hold; its encoding is told from a byte order mark, from UTF-8's own rules, or by likelihood.

    Args:
        raw: A whole file.

    Returns:
        The text without a byte order mark. Bytes that fit nowhere become U+FFFD.

    Raises:
        LeftOut: They are no text.
    """
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(encoding_of(raw), "replace")


def decode_page(raw: bytes) -> str:
    """As `decode`, for an HTML or XML file, which may name its encoding: one in which ASCII is ASCII.

    A page that can be read as far as its declaration of UTF-16 is not in UTF-16; the HTML standard takes UTF-8 then.
    """
    found = _NAMED.search(raw[:2048])
    if found and not raw.startswith(tuple(mark for mark, _ in _MARKS)):
        label = found[1] or found[2]
        try:
            name = label.decode("ascii")
            if label.decode(name) == name:  # else the declaration, read as ASCII, would be in another encoding itself
                return raw.decode(name)
        except (LookupError, ValueError):
            pass  # a name that is wrong, or none
    return decode(raw)


def encoding_of(sample: bytes) -> str:
    """The name by which Python knows the encoding of a text.

    Args:
        sample: The text or its beginning.

    Raises:
        LeftOut: It is no text.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name if name != "utf-8" else "utf-8-sig"
    wide = _wide(sample)
    if wide:
        return wide
    lossy = sample.decode("utf-8", "replace")
    broken = lossy.count("\ufffd")
    beyond = len(lossy.encode("utf-16-le")) // 2 - len(re.findall("[\x00-\x7f]", lossy)) - broken
    if not broken or beyond > _MOSTLY * broken:
        return "utf-8"
    if b"\0" in sample:
        raise LeftOut("not text")
    return _likely(sample)


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: zero bytes stand at every other place only, if only for spaces."""
    even, odd = sample[:_SAMPLE:2].count(0), sample[1:_SAMPLE:2].count(0)
    half = min(len(sample), _SAMPLE) // 2
    for zeros, others, name in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > 0.1 * half and others < 0.01 * half:
            text = sample[: 2 * half].decode(name, "ignore").replace("\r", "")
            return "" if CONTROL.search(text) else name
    return ""


def _likely(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    first = re.search(rb"[\x80-\xff]", sample)
    start = max(0, first.start() - _SAMPLE // 2) if first else 0
    part = sample[start : start + _SAMPLE]
    if _western(part):
        return "cp1252"
    best = from_bytes(part).best()
    if best is None:
        raise LeftOut("not text")
    return best.encoding


def _western(sample: bytes) -> bool:
    """Whether Windows-1252 makes one language's letters of the bytes; the library often takes its neighbours for it."""
    text = sample.decode("cp1252", "replace")
    beyond = [character for character in text if character > "\x7f"]
    if len(beyond) > 0.3 * sum(map(str.isalpha, text)):
        return False
    return any(sum(c in letters for c in beyond) >= 0.9 * len(beyond) for letters in _WESTERN)
