"""What a chain trains: the warm student or one of a row a pair, both scored from prepared texts."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from tamis.models.batching import token_batches
from tamis.models.sequence_student import SequenceStudent
from tamis.models.warm import WarmCrossEncoder

Student = WarmCrossEncoder | SequenceStudent


def score_prepared(
    student: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor],
    queries: Sequence[Tensor],
    documents: Sequence[Tensor],
    token_budget: int,
    most: int | None = None,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Score prepared pairs, batch by batch, the longest first.

    Args:
        student: The model: logits of prepared queries and documents.
        queries: The prepared query of each pair, [tokens, hidden] or [tokens].
        documents: The prepared document of each pair, likewise.
        token_budget: Most tokens per forward pass, padding included.
        most: Most pairs per forward pass; None for as many as the budget holds.

    Yields:
        Indices of the pairs of a batch and their logits, [pairs of the batch], float32.
    """
    lengths = [len(query) + len(document) for query, document in zip(queries, documents, strict=True)]
    for batch in token_batches(lengths, token_budget, most=most):
        with torch.no_grad():  # not inference_mode: a sharded student learns in the same memory afterwards
            logits = student([queries[i] for i in batch], [documents[i] for i in batch])
        yield batch, logits.float().cpu().numpy()
