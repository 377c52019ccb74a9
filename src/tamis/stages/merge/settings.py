"""Settings of the merge."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tamis.section import Section


class MergeSettings(Section):
    """The merge: specialists are joined one by one with SLERP, and a step that loses is refused."""

    t: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.3, 0.5, 0.7),
        min_length=1,
        description="Fractions of the arc towards a specialist that are tried, each from 0 to 1.",
    )
    refine: int = Field(
        default=1,
        ge=0,
        le=6,
        description="Number of times that the search halves its steps around the best t. Each one judges more merges.",
    )
    on: Literal["differences", "weights"] = Field(
        default="differences",
        description="What SLERP turns: the differences from the common parent, or the weights themselves.",
    )
    tolerance: float = Field(
        default=0.005,
        ge=0,
        description="Most agreement (nDCG@10 with the teacher, 0 to 1) that a domain may lose in a merge step, beside "
        "one standard error of the difference on its held-out lists. A step that costs more is refused.",
    )
    held_out: int = Field(
        default=60,
        ge=1,
        description="Number of held-out lists per domain that judge a step. More are slower and surer.",
    )
    keep: tuple[Path, ...] = Field(
        default=(),
        description="Folders of earlier runs whose domains judge every step too. What is learnt is then merged into "
        "student.start.",
    )
    judged: Path | None = Field(
        default=None,
        description="BEIR folder of graded questions on documents of the corpus (qrels/test.tsv, grades of 0 among "
        "them, as tamis label writes it). The merge refuses what loses nDCG@10 on them, in place of agreement with "
        "the teacher. Set it where a person has graded questions; measure on others then.",
    )
    weigh_on: Path | None = Field(
        default=None,
        description="BEIR folder of judged questions (qrels/test.tsv) on documents that nothing is learnt from. They "
        "choose the first stage's weight in place of held-out queries. Set it for a model of corpora that "
        "it will not have seen.",
    )
    first_stage_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75, 1.0, 2.0),
        min_length=1,
        description="Weights of the first stage's score that are tried, each at least 0. 1 is kept unless another is "
        "surely better.",
    )

    @field_validator("keep")
    @classmethod
    def _names_tell_old_domains_apart(cls, runs: tuple[Path, ...]) -> tuple[Path, ...]:
        for name, count in Counter(run.absolute().name for run in runs).items():
            if count > 1:
                raise ValueError(
                    f"{count} run folders are called {name}, with which the names of their domains begin, and one "
                    "alone would judge; rename one, or name it once"
                )
        return runs
