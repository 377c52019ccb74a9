"""Settings of the training."""

from typing import Literal

from pydantic import Field

from tamis.section import Section


class TrainSettings(Section):
    """How the student learns."""

    loss: Literal["margin-mse", "gap-hinge", "listwise", "ranknet", "lambda", "pointwise-mse", "pointwise-bce"] = (
        "listwise"
    )
    double_hard_margins: bool = Field(default=False, description="the option of the paper's loss, for gap-hinge")
    temperature: float = Field(default=1.0, gt=0, description="of the teacher's labels, for listwise")
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    lists_per_step: int = Field(default=8, ge=1)
    language_balance: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="a language with n lists is drawn in proportion to n to this power: 1 as they come, 0 all alike",
    )
    general_steps: int = Field(default=200, ge=0, description="most optimiser steps of the general student")
    specialist_steps: int = Field(default=150, ge=0, description="most optimiser steps of each specialist")
    passes: float = Field(
        default=1.0, ge=0, description="most times that a student goes through its lists: few lists, few steps; 0: any"
    )
    written_per_given: float | None = Field(
        default=None, ge=0, description="most written queries for each one given with a document; none: all"
    )
    checkpoints: int = Field(
        default=3, ge=1, description="times the held-out agreement is measured; the best one is kept"
    )
    patience: int = Field(
        default=0, ge=0, description="checkpoints without a better one after which training stops; 0 never stops early"
    )
