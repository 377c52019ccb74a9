"""`candidates`: the first stages."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tamis.section import Section


class EncoderSettings(Section):
    """A bi-encoder: L2-normalised vectors, cosine."""

    path: Path = Field(description="Hugging Face or sentence-transformers folder, or hub name")
    query_prefix: str = ""
    document_prefix: str = ""
    max_length: int = Field(default=512, ge=8, description="tokens, special ones included")
    pooling: Literal["mean", "cls", "last"] | None = Field(
        default=None, description="none: what the folder says, else mean for encoders and last for causal bodies"
    )
    trust_remote_code: bool = Field(default=False, description="run code that the checkpoint brings")


class Bm25Settings(Section):
    """Robertson's k1 and b; the defaults are Anserini's."""

    k1: float = Field(default=0.9, gt=0)
    b: float = Field(default=0.4, ge=0, le=1)


class FusionWeights(Section):
    """Of the first stages' z-scores in a weighted hybrid; the teacher's own by default."""

    bm25: float = Field(default=0.5, ge=0)
    dense: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _someone_counts(self) -> "FusionWeights":
        if not (self.bm25 or self.dense):
            raise ValueError("nobody counts: give bm25 or dense a weight above 0")
        return self


class CandidatesSettings(Section):
    """The first stages, where and how deep they look."""

    depth: int = Field(default=100, ge=2, description="candidates per query")
    languages: Literal["same", "cross", "any"] = Field(
        default="same", description="of the documents: the query's own, all but it, or all; for mining and evaluation"
    )
    bm25: Bm25Settings = Bm25Settings()
    dense: EncoderSettings
    index: Literal["exact", "faiss"] = Field(
        default="exact", description="of the vectors; faiss: an approximate graph in memory (HNSW)"
    )
    fusion: Literal["rrf", "weighted"] = Field(
        default="weighted", description="of BM25 and dense: a weighted sum of z-scores, or reciprocal ranks"
    )
    weights: FusionWeights | None = Field(default=None, description="for fusion weighted; none: bm25 0.5, dense 1")
    runs: dict[str, Path] = Field(
        default_factory=dict,
        description="TREC run of your own engine for the given queries of a general corpus or a log, by the name of "
        "its folder or file",
    )

    @model_validator(mode="after")
    def _weights_are_used(self) -> "CandidatesSettings":
        if self.fusion == "rrf" and self.weights:
            raise ValueError(
                "weights are for fusion weighted, reciprocal ranks have none: set fusion or leave them out"
            )
        return self
