"""Settings of the training lists."""

import re
from collections import Counter
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tamis.languages import not_a_tag
from tamis.section import NAME, Section

GENERAL = "general"
"""Domain of lists in languages that no specialist speaks; they serve the general step only."""

OTHERS = "*"
"""Stands for all languages that no other domain names."""

RESERVED = (GENERAL, "untrained", "start", "merged")
"""Students beside the specialists: no specialist may have such a name."""


class ListsSettings(Section):
    """The training lists, drawn from scored candidates."""

    bins: int = Field(
        default=16,
        ge=2,
        description="Number of bins over the teacher's scores of a query. A list draws evenly from them.",
    )
    anchors: Literal["equal-width", "quantile"] = Field(
        default="equal-width",
        description="Borders of the bins. equal-width cuts the range of scores evenly, so bins may stay empty; "
        "quantile puts about as many candidates into each.",
    )
    documents: int = Field(default=16, ge=2, description="Number of documents in a list, the seed document included.")
    near: int = Field(
        default=30,
        ge=0,
        description="Number of best candidates that lists are drawn from, beside the seed document. 0: all.",
    )
    round_trip: int = Field(
        default=30,
        ge=1,
        description="Lowest rank that the teacher may give the seed document; below it the query is dropped. Set 10 "
        "for extracts and for language models that often miss their document.",
    )
    solved: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the queries that the student already answers and still learns from. Below 1 the student "
        "scores the best candidates of every query that may be learnt from first, which takes time.",
    )
    rescale: Literal["none", "min-max", "rank", "quantile"] = Field(
        default="none",
        description="Scale of the teacher's labels within a list. none: z-scores, for every loss but gap-hinge; the "
        "others give [-1, 1], which gap-hinge needs.",
    )
    rescale_over: Literal["query", "all"] = Field(
        default="query",
        description="Scores whose lowest and highest become -1 and 1: those of each query, or of all queries "
        "together. With all, only documents that stand out far get a label near 1.",
    )
    held_out: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="Share of the queries that is never learnt from. It judges checkpoints and merges. Queries are "
        "held out one by one where documents have queries, by cluster of documents elsewhere.",
    )
    domains: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Languages of each specialist, by its name. '*' stands for all languages that no other specialist "
        "names. At least one where corpus.target is set.",
    )

    @model_validator(mode="after")
    def _what_is_not_rescaled_has_no_spread(self) -> "ListsSettings":
        if self.rescale_over == "all" and self.rescale == "none":
            raise ValueError("rescale_over all says over what to rescale, and rescale is none: set it, or leave it out")
        return self

    @model_validator(mode="after")
    def _lists_can_be_filled(self) -> "ListsSettings":
        if 0 < self.near < self.documents - 1:
            raise ValueError(
                f"near is {self.near}, too few for lists of {self.documents} documents; set it to {self.documents - 1} "
                "or more, or to 0 for all candidates"
            )
        return self

    @field_validator("domains", mode="before")
    @classmethod
    def _a_star_needs_no_list(cls, domains: object) -> object:
        if not isinstance(domains, dict):
            return domains
        return {name: (OTHERS,) if languages == OTHERS else languages for name, languages in domains.items()}

    @field_validator("domains")
    @classmethod
    def _names_and_languages_are_told_apart(cls, domains: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in domains:
            if name in RESERVED or not re.fullmatch(NAME, name):
                raise ValueError(
                    f"a domain cannot be called {name!r}; use letters, digits, '.', '_' and '-', "
                    f"and none of {', '.join(RESERVED)}"
                )
        for name, languages in domains.items():
            if not languages:
                raise ValueError(
                    f"domain {name!r} names no language, so it would never learn; name some, or '*' for all"
                )
            for language in languages:
                if language != OTHERS and (wrong := not_a_tag(language)):
                    raise ValueError(f"domain {name!r}: {wrong}")
        counts = Counter(language for languages in domains.values() for language in languages)
        for language, count in counts.items():
            if count > 1:
                called = "'*', all other languages," if language == OTHERS else f"language {language!r}"
                raise ValueError(f"{called} stands {count} times; give it to one domain")
        return domains

    def domain_for(self, language: str) -> str:
        """The specialist that speaks a language, `general` where none does."""
        found = GENERAL
        for name, languages in self.domains.items():
            if language in languages:
                return name
            if OTHERS in languages:
                found = name
        return found
