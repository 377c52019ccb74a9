"""Text of mdoc macros, the ones of BSD's manual pages: `.Op Fl a Ar file` is `-a file`."""

import re
from collections import deque
from collections.abc import Iterable

# Those that are called inside a line too; headings, paragraphs and lists are `roff.py`'s.
MDOC_MACROS = frozenset({
    "Ad", "An", "Ao", "Ap", "Aq", "Ar", "At", "Bc", "Bd", "Bf", "Bk", "Bl", "Bo", "Bq", "Brc", "Bro", "Brq", "Bsx",
    "Bt", "Bx", "Cd", "Cm", "D1", "Db", "Dc", "Dd", "Dl", "Do", "Dq", "Dt", "Dv", "Dx", "Ec", "Ed", "Ef", "Ek",
    "El", "Em", "En", "Eo", "Er", "Es", "Ev", "Ex", "Fa", "Fc", "Fd", "Fl", "Fn", "Fo", "Fr", "Ft", "Fx", "Hf",
    "Ic", "In", "It", "Lb", "Li", "Lk", "Lp", "Ms", "Mt", "Nd", "Nm", "No", "Ns", "Nx", "Oc", "Oo", "Op", "Os",
    "Ot", "Ox", "Pa", "Pc", "Pf", "Po", "Pp", "Pq", "Qc", "Ql", "Qo", "Qq", "Rd", "Re", "Rs", "Rv", "Sc", "Sh",
    "Sm", "So", "Sq", "Ss", "St", "Sx", "Sy", "Ta", "Tg", "Tn", "Ud", "Ux", "Va", "Vt", "Xc", "Xo", "Xr",
})  # fmt: skip
_SYSTEMS = {"Ux": "UNIX", "Bx": "BSD", "Fx": "FreeBSD", "Nx": "NetBSD", "Ox": "OpenBSD", "Dx": "DragonFly"}
_CLOSING = re.compile(r"[.,;:)\]?!]+")


def mdoc_text(words: Iterable[str], name: str) -> str:
    """Render a line of mdoc roughly: words without brackets, flags with their dash, references with their section.

    Args:
        words: The macro and its arguments, among which there may be more macros.
        name: Name of the page, which `Nm` stands for.

    Returns:
        The text, in which escapes are still as they were.
    """
    pieces: list[str] = []
    waiting = deque(words)
    glued = False
    while waiting:
        word = waiting.popleft()
        if word == "Ns":
            glued = True
        elif word in MDOC_MACROS:
            pieces.extend(_macro_text(word, waiting, name))
        elif pieces and (glued or _CLOSING.fullmatch(word)):
            pieces[-1] += word
            glued = False
        else:
            pieces.append(word)
    return " ".join(pieces)


def _macro_text(macro: str, waiting: deque[str], name: str) -> list[str]:
    """What a macro puts before its arguments; it takes from `waiting` the ones it changes."""
    if macro in _SYSTEMS:
        return [_SYSTEMS[macro]]
    if macro == "Nd":
        return ["-"]
    if macro == "Fl":
        return ["-" + _own_argument(waiting)]
    if macro == "Nm":
        return [_own_argument(waiting) or name]
    if macro == "Xr" and len(waiting) > 1:
        return [f"{waiting.popleft()}({waiting.popleft()})"]
    return []


def _own_argument(waiting: deque[str]) -> str:
    if not waiting or waiting[0] in MDOC_MACROS or _CLOSING.fullmatch(waiting[0]):
        return ""
    return waiting.popleft()
