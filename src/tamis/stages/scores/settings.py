"""`scores`: the teacher and its parts."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tamis.remote.settings import ServerSettings, check_extra
from tamis.section import Section
from tamis.stages.candidates.settings import EncoderSettings


class EncoderTeacher(EncoderSettings):
    """Another bi-encoder as part of the teacher."""

    kind: Literal["encoder"]
    weight: float = Field(default=1.0, gt=0)

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.path.name


class RerankerTeacher(Section):
    """A reranker of any family as part of the teacher."""

    kind: Literal["reranker"]
    path: Path = Field(description="Hugging Face folder, hub name, or tamis-base")
    instruction: str | None = Field(default=None, description="for models that take one")
    weight: float = Field(default=1.0, gt=0)

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.path.name


class RemoteTeacher(ServerSettings):
    """What the teachers behind a server have in common."""

    weight: float = Field(default=1.0, gt=0)
    max_chars: int = Field(default=8000, ge=1, description="characters of a document that are sent; the rest is cut")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="more fields of the request; null leaves one of ours out"
    )

    @property
    def name(self) -> str:
        """As the server calls it."""
        return self.model


class JudgeTeacher(RemoteTeacher):
    """A language model that is asked whether a document answers a query, by POST URL/chat/completions.

    Its score is the log-odds of yes against no, so the server has to tell `top_logprobs`.
    """

    kind: Literal["judge"]
    template: Path | None = Field(
        default=None, description="YAML file with a prompt of your own; none: the one that comes with tamis"
    )

    @model_validator(mode="after")
    def _extra_leaves_the_question_alone(self) -> "JudgeTeacher":
        optional = {"temperature", "max_tokens"}
        ours = {"model", "messages", "logprobs", "top_logprobs", "n", "stream"} | optional
        check_extra(self.extra, ours, optional)
        return self


class RemoteRerankerTeacher(RemoteTeacher):
    """A reranker that is asked by POST URL/rerank, in the way of Cohere, Jina and vLLM or in that of TEI."""

    kind: Literal["remote-reranker"]
    protocol: Literal["cohere", "tei"] = Field(
        default="cohere", description="cohere: Cohere's, also Jina's and vLLM's; tei: Text Embeddings Inference's"
    )
    batch: int = Field(default=32, ge=1, description="documents of one request at most")

    @model_validator(mode="after")
    def _extra_leaves_the_texts_alone(self) -> "RemoteRerankerTeacher":
        optional = {"top_n", "raw_scores"}
        check_extra(self.extra, {"model", "query", "documents", "texts"} | optional, optional)
        return self


class RemoteEncoderTeacher(RemoteTeacher):
    """A bi-encoder that is asked by POST URL/embeddings, in OpenAI's protocol; cosine."""

    kind: Literal["remote-encoder"]
    query_prefix: str = ""
    document_prefix: str = ""
    batch: int = Field(default=32, ge=1, description="texts of one request at most")

    @model_validator(mode="after")
    def _extra_leaves_the_texts_alone(self) -> "RemoteEncoderTeacher":
        check_extra(self.extra, {"model", "input", "encoding_format"}, ())
        return self


Teacher = EncoderTeacher | RerankerTeacher | JudgeTeacher | RemoteRerankerTeacher | RemoteEncoderTeacher


class ScoresSettings(Section):
    """The teacher: a weighted sum of per-query z-scores."""

    dense: float = Field(default=1.0, ge=0, description="weight of the bi-encoder")
    bm25: float = Field(default=0.5, ge=0, description="weight of BM25")
    use: float = Field(default=0.0, ge=0, description="weight of the Universal Sentence Encoder; 0 leaves it out")
    teachers: tuple[Annotated[Teacher, Field(discriminator="kind")], ...] = Field(
        default=(), description="more of them, asked about every candidate; alone (the three above 0) one is distilled"
    )
    seed_bonus: float = Field(
        default=6.0,
        ge=0,
        description="what being the seed document adds, in standard deviations; 6: it is the right answer, the teacher "
        "orders the rest; 0.5 where the teacher knows better",
    )

    @model_validator(mode="after")
    def _someone_teaches(self) -> "ScoresSettings":
        if not (self.dense or self.bm25 or self.use or self.teachers):
            raise ValueError("nobody teaches: give dense, bm25 or use a weight above 0, or name others in teachers")
        return self
