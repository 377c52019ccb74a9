"""`tamis weigh`: weights of first stages beside a model, chosen by written queries and kept in the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tamis.errors import InputError
from tamis.models.checkpoint import ORDER
from tamis.models.kept_settings import checked_model, keep_in
from tamis.models.saving import add_weights
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.merge.weights import (
    RerankedHead,
    WeightChoice,
    choice_by_order,
    choice_by_scores,
    cross_fitted,
    deal_folds,
    sample_of,
)
from tamis.weighing.config import WeighingConfig
from tamis.weighing.evidence import Evidence, gather_evidence
from tamis.weighing.inputs import Notes, read_inputs
from tamis.weighing.rows import WeightRow, weight_rows

FEW: Final = 100
"""Queries below which a weight may be luck."""


@dataclass(frozen=True)
class Weighed:
    """Weights that were found and where they lie.

    Attributes:
        model: The folder whose `tamis.json` has them.
        rows: What they do.
        notes: What was left out, and what makes a weight doubtful; a line each.
        order: Weight of the order alone, whether it was kept or not.
        kept: Names of the weights that were written.
    """

    model: Path
    rows: Sequence[WeightRow]
    notes: Sequence[str]
    order: float
    kept: Sequence[str]


def weigh(asked: WeighingConfig) -> Weighed:
    """Choose the weight of first stages by written queries, and write them into the model or a copy of it.

    A query's own document is the evidence; no judgement is read.

    Raises:
        TamisError: what was given does not fit together, see the messages; nothing is written then.
    """
    files = asked.named_runs()
    folder = checked_model(asked.model, asked.out, "weights")
    given = read_inputs(asked, files)
    evidence = gather_evidence(asked, folder, given)
    doubts = _doubts(evidence.heads, asked.depth)
    chosen, order, rows = _choose(evidence)
    kept = chosen | ({ORDER: order} if asked.order else {})
    _write(folder, asked.out, kept)
    return Weighed(asked.out or folder, rows, [*given.notes, *evidence.notes, *doubts], order.general, list(kept))


def _choose(evidence: Evidence) -> tuple[dict[str, WeightChoice], WeightChoice, list[WeightRow]]:
    """The weights by first stage, that of the order, and what they do."""
    weights = MergeSettings().first_stage_weights
    samples = {name: sample_of(heads, weights) for name, heads in evidence.heads.items()}
    by_order = {name: sample_of(heads, {0.0, *weights}, by_order=True) for name, heads in evidence.heads.items()}
    chosen = {name: choice_by_scores([sample]) for name, sample in samples.items()}
    order = choice_by_order([*by_order.values()])
    fold_of = deal_folds(evidence.group_of)
    with_order = cross_fitted([*by_order.values()], choice_by_order, fold_of)
    rows: list[WeightRow] = []
    for (name, sample), of_order in zip(samples.items(), with_order, strict=True):
        (together,) = cross_fitted([sample], choice_by_scores, fold_of)
        rows += weight_rows(name, sample, chosen[name], together, evidence.group_of)
        rows += weight_rows(f"{name}: order", by_order[name], order, of_order, evidence.group_of)
    return chosen, order, rows


def _doubts(by_stage: Mapping[str, Sequence[RerankedHead]], depth: int) -> Notes:
    """First stages of which queries say nothing, and those with few.

    Raises:
        InputError: no query says anything of one.
    """
    silent = [note for name, heads in by_stage.items() for note in _silent(name, heads, depth)]
    few = {name: len(heads) for name, heads in by_stage.items() if len(heads) < FEW}
    return [
        *silent,
        *(
            f"{name}: {count} queries are few, its weight may be luck; take {FEW} or more"
            for name, count in few.items()
        ),
    ]


def _silent(name: str, heads: Sequence[RerankedHead], depth: int) -> Notes:
    """How many queries do not tell one weight from another, where some do not.

    Raises:
        InputError: none does, which is no evidence.
    """
    telling = sum(1 for head in heads if 0 < head.own.sum() < head.own.size and np.ptp(head.first) > 0)
    silent = (
        f"{len(heads) - telling:,} of {len(heads):,} queries of {name} say nothing of a weight: their own document "
        f"is not among its best {depth}, or is alone, or all scores are the same"
    )
    if not telling:
        raise InputError(f"{silent}; is this the run for these queries, and do its ids belong to the corpus?")
    return [silent] if telling < len(heads) else []


def _write(folder: Path, out: Path | None, chosen: Mapping[str, WeightChoice]) -> None:
    weights = {name: choice.general for name, choice in chosen.items()}
    of_kept = {name: choice.by_language for name, choice in chosen.items()}
    keep_in(folder, out, lambda there: add_weights(there, weights, of_kept))
