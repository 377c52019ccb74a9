"""Settings of the training."""

from typing import Literal

from pydantic import Field

from tamis.section import Section


class TrainSettings(Section):
    """Loss, optimiser and number of steps of the training."""

    loss: Literal["margin-mse", "gap-hinge", "listwise", "ranknet", "lambda", "pointwise-mse", "pointwise-bce"] = Field(
        default="listwise",
        description="Loss over the documents of a list. gap-hinge is the paper's and needs lists.rescale; ranknet and "
        "lambda read only the teacher's order.",
    )
    double_hard_margins: bool = Field(
        default=False,
        description="Double the margin of documents that the student ranks high, as an option of the paper's loss "
        "does. Only for gap-hinge.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Divisor of the teacher's labels before the softmax. Lower values stress the best document. Only "
        "for listwise.",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="Highest learning rate of AdamW.")
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of AdamW, for each step and unit of learning rate."
    )
    lists_per_step: int = Field(
        default=8, ge=1, description="Number of lists in one optimiser step. A list holds lists.documents pairs."
    )
    language_balance: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Exponent of a language's number of lists in the chance to draw it. 1: languages as they come; 0: "
        "all languages alike.",
    )
    general_steps: int = Field(
        default=200, ge=0, description="Most optimiser steps of the general student. 0: it is left as it starts."
    )
    specialist_steps: int = Field(default=150, ge=0, description="Most optimiser steps of each specialist.")
    passes: float = Field(
        default=1.0,
        ge=0,
        description="Most times that a student goes through its lists, so that few lists mean few steps. 0: no limit.",
    )
    written_per_given: float | None = Field(
        default=None, ge=0, description="Most written queries for each query that is given with a document. Empty: all."
    )
    checkpoints: int = Field(
        default=3,
        ge=1,
        description="Number of times that the held-out agreement is measured. Of those above the start the last is "
        "kept, unless an earlier one is better by more than 0.005.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Number of checkpoints without a better one after which training stops. 0: never early.",
    )
