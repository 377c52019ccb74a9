"""Weights that lie in a file which is mapped into memory, taken into memory of the process's own."""

from torch import nn

from tamis.models.sequence import SequenceScorer
from tamis.models.stream import Scorer
from tamis.models.warm_scorer import WarmScorer


def take_weights(scorer: Scorer) -> None:
    """Let what is written into a model's files later change nothing.

    Weights are read from files as they are needed. Whoever copies another model over them changes the scores of one
    that has been loaded, or ends the process where the file becomes shorter.

    Args:
        scorer: Of a reranker; weights on an accelerator are copies already, and so are those of other engines.
    """
    model = scorer.student if isinstance(scorer, WarmScorer) else getattr(scorer, "model", None)
    if isinstance(scorer, WarmScorer | SequenceScorer) and isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.device.type == "cpu":
                tensor.data = tensor.data.clone()
