"""`queries`: who writes queries, and how they are asked for."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from tamis.remote.settings import ServerSettings, check_extra
from tamis.section import LanguageTag, PathSection, Section
from tamis.stages.corpus.settings import Similarity

QueryKind = Literal["question", "keyword", "claim"]
"""Types of query that a language model can be asked for."""


_TAKEN: Final = frozenset({"extractive", "given", "log"})


def writer_name(path: Path) -> str:
    """What the queries of a file are called by: the file's name without its ending, `mine` for `some/mine.tsv.gz`."""
    name = path.with_suffix("") if path.suffix.lower() in (".gz", ".zst") else path
    return name.stem


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
        default={"question": 2.0, "keyword": 1.0, "claim": 0.5},
        min_length=1,
        description="types of query, and how often each is asked for; of the default those that an own template has",
    )
    difficulty: Literal["any", "easy", "hard"] = "any"
    length: Literal["any", "short", "medium", "long"] = "any"
    persona: str = Field(default="", description="who searches, in a few words")
    examples: int = Field(default=3, ge=0, le=3, description="passages with a query each that are shown before")
    like: Path | None = Field(
        default=None,
        description="8 to 50 queries of your users, a query a line, id and query between a tab, or rows (.jsonl, .csv, "
        ".parquet): a few of them are shown in each prompt as examples of style; none of them may be judged",
    )


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
        default=(),
        description="language models that write, by the sections below; extractive: what the documents say themselves, "
        "which costs nothing and teaches little",
    )
    written: tuple[Path, ...] = Field(
        default=(),
        description="files of queries about target documents, whoever wrote them: rows with document-id and query "
        "(.tsv, .csv, .jsonl, .parquet), if you like with an id, language and kind",
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

    @field_validator("written")
    @classmethod
    def _names_tell_written_queries_apart(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        for name, count in Counter(map(writer_name, files)).items():
            if count > 1:
                raise ValueError(f"{count} files are called {name}, which the ids of their queries hold; rename one")
            if name in _TAKEN:
                raise ValueError(f"a file cannot be called {name}: other queries have that name; rename it")
        return files

    @property
    def anybody(self) -> bool:
        """Whether anything asks about the target documents."""
        return bool(self.generator or self.written or self.logs)

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
