"""`queries`: who writes queries, and how they are asked for."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from tamis.own_parts import Writer
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
    """Queries that people typed, without their answers. A path alone stands for one with the defaults."""

    path: Path = Field(
        description="File of queries: one a line (.txt); rows with text, query or question (.jsonl, .csv, .tsv, "
        ".parquet); or a .tsv of ids and texts without a header."
    )
    origin: Literal["target", "general"] = Field(
        default="target", description="Documents that the queries search: those of corpus.target or of corpus.general."
    )
    language: LanguageTag = Field(
        default="",
        description="Lower-case tag for queries that do not say their language. Empty: told from each text.",
    )


class PromptSettings(Section):
    """The prompt that asks language models for queries."""

    template: Path | None = Field(
        default=None,
        description="YAML file with a prompt of your own. Empty: the prompts that come with tamis, by language.",
    )
    kinds: dict[QueryKind, Annotated[float, Field(gt=0)]] = Field(
        default={"question": 2.0, "keyword": 1.0, "claim": 0.5},
        min_length=1,
        description="Types of query to ask for, each with how often it is asked for beside the others. Default: those "
        "of question, keyword and claim that the template has.",
    )
    difficulty: Literal["any", "easy", "hard"] = Field(
        default="any", description="How hard the queries shall be. any leaves it open."
    )
    length: Literal["any", "short", "medium", "long"] = Field(
        default="any", description="How long the queries shall be. any leaves it open."
    )
    persona: str = Field(default="", description="Who searches, in a few words. Empty: nobody in particular.")
    examples: int = Field(
        default=3, ge=0, le=3, description="Number of passages with a query that the prompt shows before the document."
    )
    like: Path | None = Field(
        default=None,
        description="File of 8 to 50 queries of your users: a query a line, id and query between a tab, or rows "
        "(.jsonl, .csv, .parquet). A few stand in each prompt as examples of style. None of them may be a "
        "judged question.",
    )


class LlamaSettings(Section):
    """A GGUF language model that runs in this process."""

    model: Path = Field(description="GGUF file of the language model. It continues a text of examples.")


class TransformersSettings(Section):
    """A causal language model of the Hugging Face form that runs in this process."""

    path: Path = Field(description="Folder or hub name of the causal language model, in the Hugging Face form.")
    mode: Literal["chat", "completion"] = Field(
        default="completion",
        description="Form of the prompt. chat needs a model with a chat template; completion continues a text of "
        "examples.",
    )


class EndpointSettings(ServerSettings):
    """A server that speaks OpenAI's protocol and writes queries."""

    mode: Literal["chat", "completion"] = Field(
        default="chat",
        description="What is asked: chat sends POST URL/chat/completions, completion sends POST URL/completions with "
        "examples.",
    )
    max_tokens: int = Field(
        default=96, ge=1, description="Most tokens of one answer. Models that think aloud need many more."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="More fields of the request body. null leaves one of ours out (seed, temperature or max_tokens).",
    )

    @model_validator(mode="after")
    def _extra_leaves_the_evidence_alone(self) -> "EndpointSettings":
        ours = {"model", "messages", "prompt", "seed", "temperature", "max_tokens", "n", "stream"}
        check_extra(self.extra, ours, {"seed", "temperature", "max_tokens"})
        return self


class QueriesSettings(Section):
    """The writers of queries, and how many queries they write."""

    generator: tuple[Literal["extractive", "llama", "endpoint", "transformers"], ...] = Field(
        default=(),
        description="Language models that write queries, each set up in its section below. extractive takes phrases "
        "of the documents: it costs nothing and teaches little.",
    )
    written: tuple[Path, ...] = Field(
        default=(),
        description="Files of queries about target documents, whoever wrote them: rows with document-id and query "
        "(.tsv, .csv, .jsonl, .parquet), and if you like id, language and kind.",
    )
    per_document: int = Field(
        default=2, ge=1, description="Number of queries that each generator is asked for about a target document."
    )
    documents: int = Field(
        default=0,
        ge=0,
        description="Most target documents that each language model is shown, spread over the languages. 0: all.",
    )
    temperatures: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = Field(
        default=(0.2, 0.8),
        description="Sampling temperatures of language models: for a document's first query and for its others.",
    )
    near_duplicate: Similarity = Field(
        default=0.0,
        description="Lowest share of common word pairs (Jaccard) from which a query of the same language is dropped "
        "as a near-duplicate. 0: off; exact copies are dropped anyway.",
    )
    keep_out: tuple[Path, ...] = Field(
        default=(),
        description="Evaluation sets, as BEIR folders or files of queries. Queries and general documents that overlap "
        "them are dropped.",
    )
    logs: tuple[QueryLog, ...] = Field(
        default=(),
        description="Files of queries that people typed, beside the written ones. Each entry is a path, or a section "
        "with the keys below.",
    )
    prompt: PromptSettings = PromptSettings()
    llama: LlamaSettings | None = None
    endpoint: EndpointSettings | None = None
    transformers: TransformersSettings | None = None
    writer: Writer | None = None

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
        return bool(self.generator or self.written or self.logs or self.writer)

    @model_validator(mode="after")
    def _own_writer_has_a_name_of_its_own(self) -> "QueriesSettings":
        if self.writer and self.writer.name in {*_TAKEN, *map(writer_name, self.written)}:
            raise ValueError(f"a writer cannot be called {self.writer.name}: other queries have that name; rename it")
        return self

    @model_validator(mode="after")
    def _generators_have_their_sections(self) -> "QueriesSettings":
        for generator, count in Counter(self.generator).items():
            if count > 1:
                raise ValueError(f"generator {generator!r} stands {count} times; once is enough")
            field = type(self).model_fields.get(generator)
            if field and getattr(self, generator) is None:
                section = get_args(field.annotation)[0].model_fields
                needed = " and ".join(name for name, setting in section.items() if setting.is_required())
                raise ValueError(f"generator {generator!r} needs the section queries.{generator} with {needed}")
        return self
