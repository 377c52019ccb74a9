"""Settings of the student: what it starts from, how it reads, what of it learns."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tamis.section import Section


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
