"""`scores`: the teacher and its parts."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tamis.own_parts import Teacher as OwnTeacher
from tamis.remote.settings import ServerSettings, check_extra
from tamis.section import Section
from tamis.stages.candidates.settings import EncoderSettings


class EncoderTeacher(EncoderSettings):
    """A further bi-encoder as a part of the teacher."""

    kind: Literal["encoder"] = Field(description="Type of the teacher: a bi-encoder on this machine.")
    weight: float = Field(default=1.0, gt=0, description="Weight of its z-scores in the teacher's sum.")

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.name


class RerankerTeacher(Section):
    """A reranker of any family as a part of the teacher."""

    kind: Literal["reranker"] = Field(description="Type of the teacher: a reranker of any family on this machine.")
    path: Path = Field(description="Folder or hub name of the reranker, or tamis-base or tamis-small.")
    instruction: str | None = Field(
        default=None, description="Instruction in the prompt, for rerankers that take one. Empty: the model's own."
    )
    weight: float = Field(default=1.0, gt=0, description="Weight of its z-scores in the teacher's sum.")

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.name


class RemoteTeacher(ServerSettings):
    """What the teachers behind a server have in common."""

    weight: float = Field(default=1.0, gt=0, description="Weight of its z-scores in the teacher's sum.")
    max_chars: int = Field(
        default=8000, ge=1, description="Most characters of a document that are sent. The rest is cut."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="More fields of the request body. null leaves an optional one of ours out."
    )

    @property
    def name(self) -> str:
        """Name of the model, as the server calls it."""
        return self.model


class JudgeTeacher(RemoteTeacher):
    """A language model that is asked whether a document answers a query, by POST URL/chat/completions.

    Its score is the log-odds of yes against no, so the server has to tell `top_logprobs`.
    """

    kind: Literal["judge"] = Field(
        description="Type of the teacher: a language model behind a server that answers yes or no."
    )
    template: Path | None = Field(
        default=None, description="YAML file with a prompt of your own. Empty: the one that comes with tamis."
    )

    @model_validator(mode="after")
    def _extra_leaves_the_question_alone(self) -> "JudgeTeacher":
        optional = {"temperature", "max_tokens"}
        ours = {"model", "messages", "logprobs", "top_logprobs", "n", "stream"} | optional
        check_extra(self.extra, ours, optional)
        return self


class RemoteRerankerTeacher(RemoteTeacher):
    """A reranker that is asked by POST URL/rerank, in the form of Cohere, Jina and vLLM or of TEI."""

    kind: Literal["remote-reranker"] = Field(description="Type of the teacher: a reranker behind a server.")
    protocol: Literal["cohere", "tei"] = Field(
        default="cohere",
        description="Form of request and answer. cohere: Cohere's, also Jina's and vLLM's; tei: Text Embeddings "
        "Inference's.",
    )
    batch: int = Field(default=32, ge=1, description="Most documents of one request.")

    @model_validator(mode="after")
    def _extra_leaves_the_texts_alone(self) -> "RemoteRerankerTeacher":
        optional = {"top_n", "raw_scores"}
        check_extra(self.extra, {"model", "query", "documents", "texts"} | optional, optional)
        return self


class RemoteEncoderTeacher(RemoteTeacher):
    """A bi-encoder that is asked by POST URL/embeddings, in OpenAI's protocol. Its vectors are compared by cosine."""

    kind: Literal["remote-encoder"] = Field(description="Type of the teacher: a bi-encoder behind a server.")
    query_prefix: str = Field(
        default="", description="Text put before every query. Set it to what the encoder was trained with."
    )
    document_prefix: str = Field(
        default="", description="Text put before every document. Set it to what the encoder was trained with."
    )
    batch: int = Field(default=32, ge=1, description="Most texts of one request.")

    @model_validator(mode="after")
    def _extra_leaves_the_texts_alone(self) -> "RemoteEncoderTeacher":
        check_extra(self.extra, {"model", "input", "encoding_format"}, ())
        return self


OnServer = JudgeTeacher | RemoteRerankerTeacher | RemoteEncoderTeacher

Teacher = EncoderTeacher | RerankerTeacher | OnServer | OwnTeacher
"""What `teachers` may hold; `KINDS` of `teachers/teacher.py` says what each is made into."""


class ScoresSettings(Section):
    """The teacher: a weighted sum of per-query z-scores."""

    dense: float = Field(
        default=1.0, ge=0, description="Weight of the bi-encoder's z-scores in the teacher's sum. 0 leaves it out."
    )
    bm25: float = Field(
        default=0.5, ge=0, description="Weight of BM25's z-scores in the teacher's sum. 0 leaves it out."
    )
    use: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the Universal Sentence Encoder's z-scores. 0 leaves it out; other values need "
        "tamis[demo].",
    )
    teachers: tuple[Annotated[Teacher, Field(discriminator="kind")], ...] = Field(
        default=(),
        description="Further teachers, asked about every candidate. One alone, with the three weights above at 0, is "
        "distilled.",
    )
    seed_bonus: float = Field(
        default=6.0,
        ge=0,
        description="Standard deviations added to the score of the seed document. 6 makes it the right answer, and "
        "the teacher orders the rest. Set 0.5 where the teacher knows better.",
    )

    @model_validator(mode="after")
    def _someone_teaches(self) -> "ScoresSettings":
        if not (self.dense or self.bm25 or self.use or self.teachers):
            raise ValueError("nobody teaches: give dense, bm25 or use a weight above 0, or name others in teachers")
        return self

    @property
    def in_words(self) -> str:
        """The teacher's scorers with their weights: `1 bi-encoder + 0.5 BM25`."""
        weights = {"bi-encoder": self.dense, "BM25": self.bm25, "USE": self.use}
        weights |= {teacher.name: teacher.weight for teacher in self.teachers}
        return " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
