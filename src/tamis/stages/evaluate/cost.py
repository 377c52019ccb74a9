"""How many judged questions there will be, and what reranking for them takes."""

from collections import Counter
from typing import Final

from tamis.context import RunContext
from tamis.costs.work import Work
from tamis.evaluation.systems import RERANKED
from tamis.stages.candidates.cost import documents_searched, heads_together
from tamis.stages.candidates.settings import CandidatesSettings
from tamis.stages.evaluate.settings import EvaluateSettings

_QUESTION_BYTES: Final = 150  # of a line of questions, which no stage before the evaluation opens
_STUDENTS: Final = 3  # untrained, specialists and merged are evaluated


def count_questions(settings: EvaluateSettings | None, context: RunContext) -> int:
    """Judged questions, from the size of their file: no stage before the evaluation opens it."""
    if settings is None:
        return 0
    languages = len({document.language for document in context.target.values()})
    count = max(1, settings.queries.stat().st_size // _QUESTION_BYTES)
    return min(count, settings.questions * languages) if settings.questions else count


def reranking_cost(
    settings: EvaluateSettings, candidates: CandidatesSettings, questions: int, context: RunContext, seconds: float
) -> Work:
    """Pairs that students score for the questions, whose languages are taken to be those of the documents.

    Args:
        settings: Depth and given runs.
        candidates: Say which documents a question searches.
        questions: About how many there are.
        context: The run.
        seconds: Of a pair.
    """
    stages, held = len(RERANKED) + len(settings.runs), documents_searched(candidates, context)
    languages = Counter(document.language for document in context.target.values())
    heads = sum(
        count * heads_together(held(("target", language)), settings.depth, stages)
        for language, count in languages.items()
    )
    pairs = round(_STUDENTS * questions * heads / max(languages.total(), 1))
    return Work("evaluate", "pairs to score", pairs, True, pairs * seconds)
