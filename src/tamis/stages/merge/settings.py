"""Settings of the merge."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tamis.section import Section


class MergeSettings(Section):
    """Sequential SLERP with a gate."""

    t: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.3, 0.5, 0.7), min_length=1, description="fractions of the arc tried for every specialist"
    )
    refine: int = Field(default=1, ge=0, le=6, description="times the search halves the steps around the best t")
    on: Literal["differences", "weights"] = Field(default="differences", description="what SLERP turns")
    tolerance: float = Field(default=0.005, ge=0, description="how far a domain may fall in a step")
    held_out: int = Field(default=60, ge=1, description="held-out lists per domain that judge a step")
    keep: tuple[Path, ...] = Field(
        default=(),
        description="folders of earlier runs whose domains judge too; the student's start is then merged with",
    )
    weigh_on: Path | None = Field(
        default=None,
        description="BEIR folder of judged questions on documents that nothing is learnt from (qrels/test.tsv): they "
        "weigh the first stages in place of held-out queries, for corpora that the model will not have seen",
    )
    first_stage_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75, 1.0, 2.0), min_length=1, description="tried; 1 unless another is surely better"
    )
