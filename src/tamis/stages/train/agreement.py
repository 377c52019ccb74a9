"""Agreement of a student with its teacher on held-out lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tamis.errors import ModelError
from tamis.formulas.ranking import agreement
from tamis.models.prepared import Prepared
from tamis.models.student import Student, score_prepared
from tamis.records import TrainingList
from tamis.stages.train.settings import TrainSettings


@dataclass(frozen=True)
class TrainingTexts:
    """Texts by id, and what was already prepared of them."""

    prepared: Prepared
    queries: Mapping[str, str]
    documents: Mapping[str, str]

    def pairs(self, lists: Sequence[TrainingList]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Prepared queries and documents of every pair of the lists, and the list each belongs to, [pairs], int64."""
        query_ids = [one.query_id for one in lists for _ in one.doc_ids]
        doc_ids = [doc_id for one in lists for doc_id in one.doc_ids]
        index = torch.tensor([number for number, one in enumerate(lists) for _ in one.doc_ids])  # [pairs]
        queries = self.prepared.queries(query_ids, self.queries)
        return queries, self.prepared.documents(doc_ids, self.documents), index


def grades_of(labels: Sequence[float], settings: TrainSettings) -> np.ndarray:
    """What a loss asks of the order of a list: the labels, for `listwise` their shares of its target, up to a factor.

    Labels and what comes of them are [documents of the list].

    Where one document takes nearly all of that distribution, the order of the others says little about what is learnt:
    by their labels a student that had found the right documents was ranked below the one it came from (docs/log.md).
    """
    grades = np.asarray(labels, dtype=np.float64)
    if settings.loss != "listwise":
        return grades
    shares: np.ndarray = np.exp((grades - grades.max()) / settings.temperature)
    return shares


def mean_agreement(
    student: Student, lists: Sequence[TrainingList], texts: TrainingTexts, settings: TrainSettings, token_budget: int
) -> float:
    """Mean agreement of the student's order with the teacher's grades over lists; in [0, 1], 0 without lists."""
    return float(agreements(student, lists, texts, settings, token_budget).mean()) if lists else 0.0


def agreements(
    student: Student, lists: Sequence[TrainingList], texts: TrainingTexts, settings: TrainSettings, token_budget: int
) -> np.ndarray:
    """Agreement of the student's order with the teacher's grades on each of some lists: [lists], in [0, 1].

    Raises:
        ModelError: a score is not finite; names its query.
    """
    queries, documents, index = texts.pairs(lists)
    logits = np.empty(len(queries))  # [pairs]
    for batch, values in score_prepared(student, queries, documents, token_budget):
        logits[batch] = values
    if not np.isfinite(logits).all():
        raise ModelError(
            f"scores of query {lists[int(index[np.argmin(np.isfinite(logits))])].query_id} are not finite; "
            "the weights are broken, lower train.learning_rate"
        )
    ends = np.cumsum([len(one.doc_ids) for one in lists])[:-1]
    parts = np.split(logits, ends)  # [documents] of each list
    return np.array([agreement(part, grades_of(one.labels, settings)) for part, one in zip(parts, lists, strict=True)])
