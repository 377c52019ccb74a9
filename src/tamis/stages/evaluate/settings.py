"""Settings of the evaluation: the judged questions."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from tamis.section import NAME, Section

FIRST_STAGE_NAMES = ("bm25", "dense", "hybrid", "teacher", "order")
"""What ranks without a student, and what a checkpoint calls an order without scores: no run of the user's may have
such a name."""


class EvaluateSettings(Section):
    """The judged questions that measure the result. No other stage reads them."""

    queries: Path = Field(description="File queries.jsonl with the judged questions.")
    qrels: Path = Field(description="File with the judgements, qrels/SPLIT.tsv of a BEIR folder.")
    depth: int = Field(default=20, ge=1, description="Number of candidates of each first stage that are reranked.")
    questions: int = Field(default=0, ge=0, description="Most questions per language, drawn by hash. 0: all.")
    rounds: int = Field(
        default=100_000,
        ge=100,
        description="Number of sign flips of the paired randomisation test. p cannot be lower than one in this number.",
    )
    runs: dict[str, Path] = Field(
        default_factory=dict,
        description="TREC runs of your own engine for the judged questions, by a name. They are reranked like bm25 "
        "and hybrid.",
    )

    @field_validator("runs")
    @classmethod
    def _names_of_runs_are_free(cls, runs: dict[str, Path]) -> dict[str, Path]:
        for name in runs:
            if name in FIRST_STAGE_NAMES or not re.fullmatch(NAME, name):
                raise ValueError(
                    f"a run cannot be called {name!r}; use letters, digits, '.', '_' and '-', "
                    f"and none of {', '.join(FIRST_STAGE_NAMES)}"
                )
        return runs
