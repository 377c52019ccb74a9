"""Settings of the student: what it starts from, how it reads, what of it learns."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tamis.section import Section


class StudentSettings(Section):
    """The model that is trained, and the one that it starts from."""

    start: Path | None = Field(
        default=None,
        description="Model to start from: an encoder, a causal body or a reranker of any family. Empty: the encoder "
        "of candidates.dense.",
    )
    head: Literal["warm", "stock", "own"] = Field(
        default="warm",
        description="What turns texts into a score. warm: the cosine of two means, which ranks untrained; stock: one "
        "new label on an encoder's first or a causal body's last token; own: the head that start has.",
    )
    layers: int = Field(
        default=0,
        ge=0,
        description="Number of layers of the body to keep, evenly spaced. 0: all. Fewer make a smaller and faster "
        "model.",
    )
    joint_layers: int = Field(
        default=2,
        ge=1,
        description="Number of last layers in which query and document see each other. Only for the warm head.",
    )
    apart_layers: int = Field(
        default=0,
        ge=0,
        description="Number of layers below the joint ones that learn too. Texts are then read anew at every step, "
        "which takes longer. Only for the warm head.",
    )
    cross_bias: float = Field(
        default=-4.0,
        le=0,
        description="Number added to the attention between query and document before the softmax. Lower values keep "
        "the two texts further apart. Only for the warm head.",
    )
    scale: float = Field(
        default=20.0,
        gt=0,
        description="Factor of the cosine of the two means at the start; learnt from there. Only for the warm head.",
    )
    match: float = Field(
        default=20.0,
        ge=0,
        description="Factor of the mean best match of the query's tokens at the start; learnt from there. 0: the "
        "cosine alone. Only for the warm head.",
    )
    query_tokens: int = Field(
        default=64, ge=8, description="Most tokens of a query, special ones included. The rest is cut."
    )
    document_tokens: int = Field(
        default=192,
        ge=8,
        description="Most tokens of a document, special ones included. The rest is cut. Raise it for long documents; "
        "time grows with it.",
    )
    embeddings: Literal["frozen", "trained"] = Field(
        default="frozen", description="Whether the token embeddings learn. Not for the warm head."
    )
    routers: Literal["frozen", "trained"] = Field(
        default="frozen", description="Whether the routers of a body of experts learn."
    )
    lora_rank: int = Field(
        default=0,
        ge=0,
        description="Rank of low-rank adapters that learn in place of the weights and are merged at saving. 0: all "
        "weights learn. Needs tamis[lora]; not for the warm head.",
    )

    @model_validator(mode="after")
    def _own_head_needs_a_start(self) -> "StudentSettings":
        if self.head == "own" and self.start is None:
            raise ValueError("head 'own' needs student.start, a reranker whose head goes on")
        if self.head == "warm" and (self.lora_rank or self.embeddings == "trained"):
            raise ValueError("a warm student learns whole layers only: leave lora_rank and embeddings as they are")
        return self
