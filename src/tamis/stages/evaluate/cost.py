"""How many judged questions there will be."""

from typing import Final

from tamis.context import Workshop

_QUESTION_BYTES: Final = 150  # of a line of questions, which no stage before the evaluation opens


def count_questions(shop: Workshop) -> int:
    """Judged questions, from the size of their file: no stage before the evaluation opens it."""
    settings = shop.recipe.evaluate
    if settings is None:
        return 0
    languages = len({d.language for d in shop.documents.values() if d.origin == "target"})
    found = max(1, settings.queries.stat().st_size // _QUESTION_BYTES)
    return min(found, settings.questions * languages) if settings.questions else found
