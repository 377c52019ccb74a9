"""Whether a model that was just loaded scores as a working one does; asked before it answers anybody."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from tamis.errors import ModelError
from tamis.formats.training_files import Example, read_examples
from tamis.models.reranker import PROBE, Reranker
from tamis.text import clip, one_line

PAIRS: Final = (
    *PROBE,
    ("How do I install a package?", "Packages are installed with apt."),
    ("Wie installiere ich ein Paket?", "Pakete installiert man mit apt; für Änderungen am System braucht man Rechte."),
    ("如何安装软件包？", "使用 apt 安装软件包。"),
    ("كيف أثبت حزمة؟", "تثبت الحزم بالأمر apt."),
    ("apt", "One line after the other, each of them about something else. " * 60),
)
"""Short and long texts in several scripts: what is padded, cut or read in another direction."""

TOLERANCE: Final = {"float32": 0.01, "bfloat16": 0.1, "int8": 0.1}
"""Share of the spread of the scores by which those of one pair may differ, by number format; dropout does more."""


def check_scoring(reranker: Reranker) -> None:
    """Refuse a model that cannot be working: its weights are broken, or something in it is drawn by chance.

    Args:
        reranker: The model; one that is constant is refused where it is loaded.

    Raises:
        ModelError: scores that are not finite, change from one time to the next, or depend on what is scored beside.
    """
    scores = reranker.score_pairs(PAIRS).logits
    if broken := int((~np.isfinite(scores)).sum()):
        raise ModelError(f"{reranker.path}: {broken} of {len(PAIRS)} probe texts have scores that are not finite")
    most = TOLERANCE[reranker.precision] * float(np.ptp(scores))
    again = reranker.score_pairs(PAIRS).logits
    alone = np.array([reranker.score_pairs([pair]).logits[0] for pair in PAIRS])
    for name, others in (("from one time to the next", again), ("with what is scored beside them", alone)):
        if (gap := float(np.abs(others - scores).max())) > most:
            raise ModelError(f"{reranker.path}: scores of the same probe texts change {name}, by {gap:.3g}")


def check_examples(reranker: Reranker, file: Path) -> None:
    """Refuse a model that does not put the relevant documents of some known examples first.

    Args:
        reranker: The model.
        file: A training file, see `read_examples`.

    Raises:
        InputError: the file is none.
        ModelError: names the first query for which something else is above.
    """
    for example in read_examples(file):
        relevant = _best(reranker, example, relevant=True)
        other = _best(reranker, example, relevant=False)
        if relevant is not None and other is not None and not relevant > other:
            raise ModelError(
                f"{reranker.path}: of {_quoted(example.query)} in the probe {file} it scores another document above "
                f"the relevant one, {other:.3g} against {relevant:.3g}"
            )


def _best(reranker: Reranker, example: Example, relevant: bool) -> float | None:
    texts = [passage.text for passage in example.passages if passage.relevant is relevant]
    return max(_finite(reranker.score(example.query, texts)), default=None)


def _finite(scores: Iterable[float]) -> list[float]:
    return [score for score in scores if np.isfinite(score)]


def _quoted(query: str) -> str:
    return repr(clip(one_line(query), 60))
