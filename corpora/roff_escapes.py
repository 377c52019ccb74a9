r"""What stands inside a line of roff, the language of manual pages: escapes (`\fBls\fP`, `\(co`) and arguments."""

import re
import unicodedata

_COMMENT = re.compile(r'(?<!\\)((?:\\\\)*)\\["#].*')
_ESCAPE = re.compile(
    r"""\\(?:
        [fmM](?:\[[^\]]*\]|\(..|.)                              # fonts and colours
      | s(?:\[[^\]]*\]|\([+-]?..|[+-]?\(?\d\d?|'[^']*')         # sizes
      | [hvwoxDbXlLNZRAB]'[^']*'                                # motions, links, boxes
      | n[+-]?(?:\[[^\]]*\]|\(..|.) | [gkzFYV](?:\[[^\]]*\]|\(..|.)
      | \*(?P<string>\[[^\]]*\]|\(..|.)
      | \[(?P<long>[^\]]*)\] | \((?P<pair>..)
      | (?P<single>.) )""",
    re.VERBOSE,
)
_CODE_POINTS = re.compile(r"u([0-9A-F]{4,5}(?:_[0-9A-F]{4,5})*)")
_BYTE = re.compile(r"char(\d{1,3})")
_ARGUMENT = re.compile(r'"(?:[^"]|"")*"?|(?:\\ |\S)+')

_CHARACTERS = {
    # Quotation marks and dashes
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "fo": "‹", "fc": "›", "Fo": "«", "Fc": "»",
    "Bq": "„", "bq": "‚",
    "em": "—", "en": "–", "hy": "-", "mi": "-",
    # ASCII
    "ti": "~", "ha": "^", "rs": "\\", "ga": "`", "lB": "[", "rB": "]", "lC": "{", "rC": "}", "ba": "|", "br": "|",
    "at": "@", "sh": "#", "Do": "$", "la": "<", "ra": ">", "sl": "/", "ul": "_",
    # Signs
    "bu": "•", "co": "©", "rg": "®", "tm": "™", "de": "°", "sc": "§", "Po": "£", "Eu": "€", "eu": "€", "dg": "†",
    "12": "½", "14": "¼", "34": "¾", "mu": "×", "di": "÷", "+-": "±", "<=": "≤", ">=": "≥", "!=": "≠", "if": "∞",
    "no": "¬", "tno": "¬", "rn": "‾", "->": "→", "<-": "←", "va": "↕", "ua": "↑", "da": "↓", "sq": "□", "ci": "○",
    "r!": "¡", "r?": "¿", "pi": "π", "*p": "π", "*m": "μ", "mc": "µ",
    # Letters that no accent makes
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "/o": "ø", "/O": "Ø", "oa": "å", "oA": "Å",
    "/l": "ł", "/L": "Ł",
}  # fmt: skip
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", ":": "\u0308", "~": "\u0303", ",": "\u0327", "v": "\u030c"}
_STRINGS = {
    "lq": "“", "rq": "”", "Lq": "“", "Rq": "”", "R": "®", "Tm": "™", "Le": "≤", "Ge": "≥", "Lt": "<", "Gt": ">",
    "Ba": "|", "Am": "&",
    # What DocBook and pod define in every page they make
    "Aq": "'", "C`": '"', "C'": '"', 'L"': '"', 'R"': '"', "--": "-",
}  # fmt: skip
_SINGLE = {
    "-": "-", "e": "\\", "\\": "\\", "'": "´", "`": "`", "_": "_", ".": ".", "~": " ", " ": " ", "0": " ", "t": " ",
}  # fmt: skip


def plain(line: str) -> str:
    """Text of a line: comments and layout vanish, named characters become themselves.

    Args:
        line: A line of roff, or a part of one.
    """
    return _ESCAPE.sub(_character, _COMMENT.sub(r"\1", line))


def arguments(text: str) -> list[str]:
    """Split what follows a macro into its arguments; double quotes hold words together, doubled they are one."""
    return [_unquoted(argument) for argument in _ARGUMENT.findall(text)]


def _unquoted(argument: str) -> str:
    if len(argument) > 1 and argument.startswith('"') and argument.endswith('"'):
        return argument[1:-1].replace('""', '"')
    return argument.strip('"')


def _character(escape: re.Match[str]) -> str:
    if escape["string"]:
        return _STRINGS.get(escape["string"].strip("[(]"), "")
    if escape["single"]:
        return _SINGLE.get(escape["single"], "")
    return _named(escape["long"] or escape["pair"] or "")


def _named(name: str) -> str:
    if points := _CODE_POINTS.fullmatch(name):
        text = "".join(chr(int(point, 16)) for point in points[1].split("_"))
        return text.encode("utf-8", "ignore").decode()  # halves of surrogate pairs are no characters
    if byte := _BYTE.fullmatch(name):
        return chr(int(byte[1]))
    if name in _CHARACTERS or len(name) != 2:
        return _CHARACTERS.get(name, "")
    composed = unicodedata.normalize("NFC", name[1] + _ACCENTS.get(name[0], ""))
    return composed if composed != name[1] and len(composed) == 1 else ""
