"""`lists`, `student`, `train` and `merge`: what a student is, what it learns from, and how."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tamis.settings.section import NAME, Section

GENERAL = "general"
"""Domain of lists in languages that no specialist speaks; they serve the general step only."""

OTHERS = "*"
"""Stands for all languages that no other domain names."""

RESERVED = (GENERAL, "untrained", "start", "merged")
"""Students beside the specialists: no specialist may have such a name."""


class ListsSettings(Section):
    """How training lists are drawn from scored candidates."""

    bins: int = Field(default=16, ge=2)
    anchors: Literal["equal-width", "quantile"] = "equal-width"
    documents: int = Field(default=16, ge=2, description="documents per list, the seed document included")
    near: int = Field(
        default=30, ge=0, description="best candidates that lists are drawn from, beside the seed document; 0: all"
    )
    round_trip: int = Field(
        default=30,
        ge=1,
        description="a query whose seed document the teacher ranks lower is dropped; 10 for extracts and for language "
        "models that often miss their document",
    )
    solved: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share that is learnt from of the queries that the student answers already; below 1 it scores the "
        "best candidates of every query before",
    )
    rescale: Literal["none", "min-max", "rank", "quantile"] = Field(
        default="none", description="none: z-scores, for every loss but gap-hinge, which wants [-1, 1]"
    )
    rescale_over: Literal["query", "all"] = Field(
        default="query",
        description="whose lowest and highest scores become -1 and 1: each query's, or those of all queries together, "
        "so that only what stands out far has a label near 1",
    )
    held_out: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="share of the queries that is never learnt from: one by one where documents are asked about, by "
        "cluster of documents elsewhere",
    )
    domains: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="specialist name: its languages, or '*' for all that no other one names; at least one where there "
        "is a target",
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


class StudentSettings(Section):
    """What is trained, and what it starts from."""

    start: Path | None = Field(
        default=None, description="an encoder, a causal body or a reranker of any family; none: the dense encoder"
    )
    head: Literal["warm", "stock", "own"] = Field(
        default="warm",
        description="warm: the cosine of two means; stock: one new label on an encoder's first or a causal body's last "
        "token; own: the head that `start` has",
    )
    layers: int = Field(default=0, ge=0, description="layers of the body to keep, evenly spaced; 0 for all")
    joint_layers: int = Field(
        default=2, ge=1, description="last layers in which query and document see each other (warm)"
    )
    apart_layers: int = Field(
        default=0, ge=0, description="layers below the joint ones that learn too (warm); texts are read anew for those"
    )
    cross_bias: float = Field(default=-4.0, le=0, description="added to attention between query and document (warm)")
    scale: float = Field(default=20.0, gt=0, description="of the cosine at the start (warm); learnt from there")
    match: float = Field(
        default=20.0, ge=0, description="of each query token's best match at the start (warm); 0: the cosine alone"
    )
    query_tokens: int = Field(default=64, ge=8, description="most tokens of a query, special ones included")
    document_tokens: int = Field(default=192, ge=8, description="most tokens of a document, special ones included")
    embeddings: Literal["frozen", "trained"] = "frozen"
    routers: Literal["frozen", "trained"] = Field(default="frozen", description="of bodies of experts")
    lora_rank: int = Field(default=0, ge=0, description="learn low-rank adapters, merged at saving; 0: all weights")

    @model_validator(mode="after")
    def _own_head_needs_a_start(self) -> "StudentSettings":
        if self.head == "own" and self.start is None:
            raise ValueError("head 'own' needs student.start, a reranker whose head goes on")
        if self.head == "warm" and (self.lora_rank or self.embeddings == "trained"):
            raise ValueError("a warm student learns whole layers only: leave lora_rank and embeddings as they are")
        return self


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
