"""`candidates`: the first stages."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tamis.own_parts import Retriever
from tamis.section import Section


class EncoderSettings(Section):
    """A bi-encoder. Its vectors are L2-normalised and compared by cosine."""

    path: Path = Field(
        description="Folder or hub name of the bi-encoder, in the Hugging Face or sentence-transformers form."
    )
    query_prefix: str = Field(
        default="",
        description="Text put before every query. Set it to what the encoder was trained with, for instance 'query: ' "
        "for e5. Left out: the prompt that its folder names, else nothing.",
    )
    document_prefix: str = Field(
        default="",
        description="Text put before every document. Set it to what the encoder was trained with, for instance "
        "'passage: ' for e5. Left out: the prompt that its folder names, else nothing.",
    )
    max_length: int = Field(
        default=512,
        ge=8,
        description="Most tokens of a text, special ones included. Longer texts are cut. Left out: as many as its "
        "folder names (max_seq_length), else 512.",
    )
    pooling: Literal["mean", "cls", "last"] | None = Field(
        default=None,
        description="How token vectors become one vector. Empty: what the folder says, otherwise mean for encoders "
        "and last for causal bodies.",
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run Python code that comes with the checkpoint. Only for checkpoints whose code you have read.",
    )


class Bm25Settings(Section):
    """Parameters of BM25 (Robertson's k1 and b). The defaults are those of Anserini."""

    k1: float = Field(
        default=0.9, gt=0, description="Saturation of term frequency. Higher values let repeated words count more."
    )
    b: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Strength of the correction for document length, from 0 (none) to 1 (full).",
    )


class FusionWeights(Section):
    """Weights of the first stages' z-scores in a weighted hybrid."""

    bm25: float = Field(default=0.5, ge=0, description="Weight of BM25's z-score in the hybrid. 0 leaves it out.")
    dense: float = Field(
        default=1.0, ge=0, description="Weight of the bi-encoder's z-score in the hybrid. 0 leaves it out."
    )

    @model_validator(mode="after")
    def _someone_counts(self) -> "FusionWeights":
        if not (self.bm25 or self.dense):
            raise ValueError("nobody counts: give bm25 or dense a weight above 0")
        return self


class CandidatesSettings(Section):
    """The first stages: which documents they search, and how many they find."""

    depth: int = Field(default=100, ge=2, description="Number of candidates that each first stage keeps for a query.")
    languages: Literal["same", "cross", "any"] = Field(
        default="same",
        description="Languages of the documents that a query searches, in mining and evaluation: its own (same), all "
        "others (cross) or all (any).",
    )
    bm25: Bm25Settings = Bm25Settings()
    dense: EncoderSettings
    index: Literal["exact", "faiss"] = Field(
        default="exact",
        description="Search over the vectors. exact compares with all of them; faiss uses an approximate graph in "
        "memory (HNSW), for millions of documents.",
    )
    fusion: Literal["rrf", "weighted"] = Field(
        default="weighted",
        description="How BM25 and dense become the hybrid: a weighted sum of z-scores, or reciprocal ranks (rrf).",
    )
    weights: FusionWeights | None = Field(
        default=None, description="Weights of the hybrid, only with fusion weighted. Empty: bm25 0.5 and dense 1."
    )
    runs: dict[str, Path] = Field(
        default_factory=dict,
        description="TREC runs of your own engine, for the given queries of a general corpus or for a log. The key is "
        "the name of that folder or file.",
    )

    retriever: Retriever | None = None

    @model_validator(mode="after")
    def _weights_are_used(self) -> "CandidatesSettings":
        if self.fusion == "rrf" and self.weights:
            raise ValueError(
                "weights are for fusion weighted, reciprocal ranks have none: set fusion or leave them out"
            )
        return self
