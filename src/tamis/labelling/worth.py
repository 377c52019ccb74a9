"""How much grading is worth, before anybody begins: the width of an interval by the number of questions."""

import math
from typing import Final

from scipy.special import stdtrit

NUMBERS: Final = (10, 20, 30, 50, 100, 200, 500)
"""Questions of the table's rows."""

SPREADS: Final = (0.1, 0.2, 0.3)
"""Standard deviations of the difference of nDCG@10 from question to question. That of `tamis-base` on BM25 against BM25
is .11 to .28 on the eight sets of `make bench-served`."""


def half_width(questions: int, spread: float, level: float = 0.95) -> float:
    """Half the width of Student's interval of a mean difference.

    Args:
        questions: How many are graded, at least 2.
        spread: Standard deviation of the difference from question to question, in nDCG.
        level: Share of intervals that hold the truth, in (0, 1).

    Raises:
        ValueError: Fewer than 2 questions.
    """
    if questions < 2:
        raise ValueError(f"{questions} questions, expected at least 2: one alone says nothing of the spread")
    return float(stdtrit(questions - 1, (1 + level) / 2)) * spread / math.sqrt(questions)
