"""How many judged questions there will be, and what reranking for them takes."""

from typing import Final

from tamis.context import RunContext
from tamis.costs.work import Work
from tamis.evaluation.systems import RERANKED
from tamis.stages.evaluate.settings import EvaluateSettings

_QUESTION_BYTES: Final = 150  # of a line of questions, which no stage before the evaluation opens
_STUDENTS: Final = 3  # untrained, specialists and merged are evaluated
_OVERLAP: Final = 0.8  # share of the heads of two first stages that they do not have in common, of both together


def count_questions(settings: EvaluateSettings | None, context: RunContext) -> int:
    """Judged questions, from the size of their file: no stage before the evaluation opens it."""
    if settings is None:
        return 0
    languages = len({document.language for document in context.target.values()})
    count = max(1, settings.queries.stat().st_size // _QUESTION_BYTES)
    return min(count, settings.questions * languages) if settings.questions else count


def reranking_cost(settings: EvaluateSettings, questions: int, seconds: float) -> Work:
    """Pairs that students score for the questions; `seconds` of a pair."""
    stages = len(RERANKED) + len(settings.runs)
    pairs = round(_STUDENTS * questions * settings.depth * (1 + (stages - 1) * _OVERLAP))
    return Work("evaluate", "pairs to score", pairs, True, pairs * seconds)
