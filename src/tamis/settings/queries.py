"""`queries`: who writes queries, and how they are asked for."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tamis.settings.corpus import Similarity
from tamis.settings.section import LanguageTag, PathSection, Section
from tamis.settings.servers import ServerSettings, check_extra

QueryKind = Literal["question", "keyword", "claim"]
"""Types of query that a language model can be asked for."""


class QueryLog(PathSection):
    """Queries that people typed, of which nobody knows what answers them; a path alone has the defaults."""

    path: Path = Field(
        description="a query a line (.txt); rows with text, query or question (.jsonl, .csv, .tsv, .parquet); or a "
        ".tsv without a header, of ids and texts"
    )
    origin: Literal["target", "general"] = Field(default="target", description="the documents that they search")
    language: LanguageTag = Field(
        default="",
        description="of queries that do not say theirs, as a lower-case tag; empty: told from each text",
    )


class PromptSettings(Section):
    """How language models are asked for queries."""

    template: Path | None = Field(
        default=None, description="YAML file with words of your own; none: those that come with tamis, by language"
    )
    kinds: dict[QueryKind, Annotated[float, Field(gt=0)]] = Field(
        default={"question": 1.0}, min_length=1, description="types of query, and how often each is asked for"
    )
    difficulty: Literal["any", "easy", "hard"] = "any"
    length: Literal["any", "short", "medium", "long"] = "any"
    persona: str = Field(default="", description="who searches, in a few words")
    examples: int = Field(default=3, ge=0, le=3, description="passages with a query each that are shown before")


class LlamaSettings(Section):
    """A GGUF language model in this process; it continues a text of examples."""

    model: Path = Field(description="GGUF file")


class TransformersSettings(Section):
    """A causal language model of the Hugging Face form in this process."""

    path: Path = Field(description="Hugging Face folder or hub name")
    mode: Literal["chat", "completion"] = Field(default="completion", description="chat: it has a chat template")


class EndpointSettings(ServerSettings):
    """A server that speaks OpenAI's protocol and writes queries."""

    mode: Literal["chat", "completion"] = Field(
        default="chat", description="chat: POST URL/chat/completions; completion: POST URL/completions with examples"
    )
    max_tokens: int = Field(default=96, ge=1, description="of one answer; models that think aloud need many more")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="more fields of the request; null leaves one of ours out"
    )

    @model_validator(mode="after")
    def _extra_leaves_the_evidence_alone(self) -> "EndpointSettings":
        ours = {"model", "messages", "prompt", "seed", "temperature", "max_tokens", "n", "stream"}
        check_extra(self.extra, ours, {"seed", "temperature", "max_tokens"})
        return self


class QueriesSettings(Section):
    """Who writes queries, and how many."""

    generator: tuple[Literal["extractive", "llama", "endpoint", "transformers"], ...] = Field(
        default=("extractive",), description="one, several, or with logs none"
    )
    per_document: int = Field(default=2, ge=1, description="queries asked for per target document and generator")
    documents: int = Field(
        default=0, ge=0, description="most target documents shown to each language model, the languages alike; 0: all"
    )
    temperatures: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = Field(
        default=(0.2, 0.8), description="of language models, for a document's first query and for its others"
    )
    near_duplicate: Similarity = Field(
        default=0.0,
        description="a query whose pairs of words overlap another's of its language by this share (Jaccard) is "
        "dropped; 0: none, copies are dropped anyway",
    )
    keep_out: tuple[Path, ...] = Field(
        default=(),
        description="evaluation sets (BEIR folders, files of queries): queries and general documents that overlap them "
        "are dropped",
    )
    logs: tuple[QueryLog, ...] = Field(default=(), description="files of queries that people typed, beside the written")
    prompt: PromptSettings = PromptSettings()
    llama: LlamaSettings | None = None
    endpoint: EndpointSettings | None = None
    transformers: TransformersSettings | None = None

    @field_validator("generator", mode="before")
    @classmethod
    def _one_alone(cls, content: Any) -> Any:
        return (content,) if isinstance(content, str) else content

    @field_validator("logs")
    @classmethod
    def _names_tell_logs_apart(cls, logs: tuple[QueryLog, ...]) -> tuple[QueryLog, ...]:
        for name, count in Counter(log.path.name for log in logs).items():
            if count > 1:
                raise ValueError(f"{count} logs are called {name}, which the ids of their queries hold; rename one")
        return logs

    @model_validator(mode="after")
    def _somebody_asks(self) -> "QueriesSettings":
        if not self.generator and not self.logs:
            raise ValueError("generator is empty and there are no logs: nobody asks anything; name one of both")
        return self

    @model_validator(mode="after")
    def _generators_have_their_sections(self) -> "QueriesSettings":
        for generator, count in Counter(self.generator).items():
            if count > 1:
                raise ValueError(f"generator {generator!r} stands {count} times; once is enough")
        needs = {"llama": "model, a GGUF file", "endpoint": "url and model", "transformers": "path, a model folder"}
        for name, need in needs.items():
            if name in self.generator and getattr(self, name) is None:
                raise ValueError(f"generator {name!r} needs the section queries.{name} with {need}")
        return self
