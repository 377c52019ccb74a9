"""Documents as lines of text, each perhaps with the score that a first stage gave it."""

import math
import sys
from pathlib import Path

from tamis.errors import InputError
from tamis.formats.lines import filled_lines, filled_lines_of


def read_line_documents(file: Path) -> list[str]:
    """Documents of a file in UTF-8 that holds one a line, or of standard input where it is named `-`.

    Only a line feed ends a line, perhaps with a carriage return before it. Blank lines are passed over.

    Raises:
        InputError: no such file, bytes that are not UTF-8, or no line to rank.
    """
    return [text for _, text in _numbered(file)]


def read_scored_lines(file: Path, first_stage: str) -> tuple[list[str], list[float]]:
    """Documents and scores of a file that holds a score, a tab and a text a line; see `read_line_documents`.

    Args:
        file: The file.
        first_stage: What made the scores, for messages.

    Raises:
        InputError: see there; or the first line that does not begin with a finite number and a tab.
    """
    texts, scores = [], []
    for number, line in _numbered(file):
        written, tab, text = line.partition("\t")
        score = _number(written)
        if not (tab and text.strip() and math.isfinite(score)):
            raise InputError(
                f"{_name(file)}, line {number}: got {line[:60]!r}, expected SCORE<TAB>TEXT, as --first-stage "
                f"{first_stage} needs; without scores, use order or none"
            )
        texts.append(text)
        scores.append(score)
    return texts, scores


def _numbered(file: Path) -> list[tuple[int, str]]:
    found = list(filled_lines_of(sys.stdin.buffer, _name(file)) if str(file) == "-" else filled_lines(file))
    if not found:
        raise InputError(f"{_name(file)}: no lines to rank")
    return found


def _name(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan
