"""What a run still has to do, as far as it is known when its corpus is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from tamis.records import Query

Spoken = tuple[str, str]
"""Origin and language."""


@dataclass(frozen=True)
class ExpectedQueries:
    """The queries that will be searched.

    Attributes:
        counts: How many of each origin and language.
        own: How many of them belong to a target document; the others are given with general ones, or typed.
        records: They themselves; None where they are not written yet.
    """

    counts: Mapping[Spoken, int]
    own: int
    records: Mapping[str, Query] | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def about(self) -> bool:
        """Whether they are only expected."""
        return self.records is None


@dataclass(frozen=True)
class Plan:
    """What is left of a run.

    Attributes:
        unfinished: Names of the stages that will run.
        queries: Those that will be searched.
        questions: Judged questions, about.
    """

    unfinished: frozenset[str]
    queries: ExpectedQueries
    questions: int
