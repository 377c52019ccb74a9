"""How many weights a reranker has."""

from tamis.models.experts import parameter_counts
from tamis.models.sequence import SequenceScorer
from tamis.models.stream import Scorer
from tamis.models.warm import WarmCrossEncoder
from tamis.models.warm_scorer import WarmScorer


def scorer_parameters(scorer: Scorer) -> tuple[int, int]:
    """Parameters that a token passes, and all; the layers that a warm student's trained ones stand for do not count.

    Args:
        scorer: As it was loaded, before another engine takes its place.
    """
    if isinstance(scorer, WarmScorer):
        assert isinstance(scorer.student, WarmCrossEncoder), "it is loaded in torch"
        _, total = parameter_counts(scorer.student)
        replaced = parameter_counts(scorer.student.joint)[1]
        return total - replaced, total - replaced
    assert isinstance(scorer, SequenceScorer), "there are two kinds of scorers"
    return parameter_counts(scorer.model)
