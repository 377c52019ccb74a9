"""A recipe: one frozen section per stage, read from YAML; an unknown key is an error that names the nearest one."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tamis.errors import SettingsError

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names that become file names."""

QueryKind = Literal["question", "keyword", "claim"]
"""Types of query that a language model can be asked for."""

RESERVED = ("general", "untrained", "start", "merged")
"""Students beside the specialists: no specialist may have such a name."""

FIRST_STAGE_NAMES = ("bm25", "dense", "hybrid", "teacher")
"""What ranks without a student: no run of the user's may have such a name."""


LEAST_SIMILAR = 0.5
"""Lowest share of common shingles that can be asked for: below it nearly every pair would have to be compared."""


class Section(BaseModel):
    """A part of a recipe: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _off_or_similar(share: float) -> float:
    if share and share < LEAST_SIMILAR:
        raise ValueError(
            f"{share:g} would call texts near-duplicates that hardly are; set 0 for off, or {LEAST_SIMILAR:g} to 1"
        )
    return share


Similarity = Annotated[float, Field(ge=0, le=1), AfterValidator(_off_or_similar)]
"""Jaccard similarity from which texts are near-duplicates; 0 for off."""


class GeneralCorpus(Section):
    """A judged set whose own queries are the given ones of stage 1; a path alone stands for one with the defaults."""

    path: Path = Field(
        description="BEIR folder, or a training file of FlagEmbedding, sentence-transformers or Tevatron"
    )
    splits: tuple[Annotated[str, Field(pattern=NAME)], ...] = Field(
        default=("test",), min_length=1, description="files qrels/SPLIT.tsv of a BEIR folder whose queries are given"
    )
    limit: int = Field(default=0, ge=0, description="most documents per language, 0 for all")
    language: str = Field(
        default="",
        pattern=r"^([a-z]{2,3}(-[a-z0-9]{1,8})*)?$",
        description="of documents that do not say theirs, as a lower-case tag; empty: told from each text",
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, content: Any) -> Any:
        return {"path": content} if isinstance(content, str | Path) else content


class CorpusSettings(Section):
    """Which documents to adapt to, and which other documents bring given queries along."""

    target: Path | None = Field(
        default=None,
        description="documents without any labels: BEIR folder, file or folder of rows (.jsonl, .csv, .tsv, .parquet, "
        "a folder of datasets), or folder of .txt/.md/.html files; none: train the general student only",
    )
    general: tuple[GeneralCorpus, ...] = ()
    languages: tuple[str, ...] = Field(
        default=(), description="to tell apart, and to take general documents of; empty: all"
    )
    max_chars: int = Field(default=1_000_000, ge=1, description="a longer document is dropped and counted")
    near_duplicate: Similarity = Field(
        default=0.0,
        description="a document whose runs of five words overlap another's of its language by this share (Jaccard) is "
        "dropped, judged or not; 0: none, copies are dropped anyway",
    )

    @field_validator("general")
    @classmethod
    def _names_tell_general_corpora_apart(cls, general: tuple[GeneralCorpus, ...]) -> tuple[GeneralCorpus, ...]:
        paths: dict[str, Path] = {}
        for one in general:
            other = paths.setdefault(one.path.name, one.path)
            if other != one.path:
                raise ValueError(
                    f"{other} and {one.path} have one name, with which the ids of their documents begin; rename one"
                )
        return general


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


def _has_host_and_port(url: str) -> bool:
    """Whether what stands before the path is a host, perhaps with a port that there can be."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False


class ServerSettings(Section):
    """A model behind a server. Where it stands and what may be spent changes no result, what it is called does."""

    url: str = Field(description="up to the version, for instance http://localhost:8000/v1")
    model: str = Field(min_length=1, description="as the server calls it")
    revision: str = Field(default="", description="of your own choice, to tell two models of one name apart")
    key_variable: str = Field(
        default="OPENAI_API_KEY", description="name of the environment variable with the key; may be unset"
    )
    prompt_price: float = Field(default=0.0, ge=0, description="of a million tokens of prompts, in any currency")
    completion_price: float = Field(default=0.0, ge=0, description="of a million tokens of answers")
    request_price: float = Field(default=0.0, ge=0, description="of a thousand requests, where these are paid for")
    budget_tokens: int = Field(default=0, ge=0, description="most tokens that a run folder may cost, 0: no limit")
    budget_money: float = Field(default=0.0, ge=0, description="most money that a run folder may cost, 0: no limit")

    @field_validator("url")
    @classmethod
    def _url_without_secrets(cls, url: str) -> str:
        # Messages show the address: it must hold no secret. What came is not repeated here for the same reason.
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url) or not _has_host_and_port(url):
            raise ValueError(
                "expected http:// or https://, a host and a path, without a user, '?' or '#', for instance "
                "http://localhost:8000/v1; a key belongs into the environment variable of key_variable"
            )
        return url.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _name_and_not_the_key(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("expected the name of an environment variable, for instance OPENAI_API_KEY, not the key")
        return name

    @model_validator(mode="after")
    def _a_budget_in_money_has_prices(self) -> "ServerSettings":
        if self.budget_money and not (self.prompt_price or self.completion_price or self.request_price):
            raise ValueError(
                "budget_money needs prompt_price and completion_price, of a million tokens each, or request_price"
            )
        return self


PLACE_AND_PRICE = frozenset(ServerSettings.model_fields) - {"model", "revision"}
"""Settings of a server that change no result."""


def _check_extra(extra: Mapping[str, Any], ours: Collection[str], optional: Collection[str]) -> None:
    """More fields of a request may not replace ours; null leaves one of the optional ones out."""
    for name, value in extra.items():
        if name in ours and not (value is None and name in optional):
            may = f"; {', '.join(sorted(optional))} may be null" if optional else ""
            raise ValueError(f"extra: {name!r} is set by tamis{may}")


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
        _check_extra(self.extra, ours, {"seed", "temperature", "max_tokens"})
        return self


class QueriesSettings(Section):
    """Who writes queries, and how many."""

    generator: tuple[Literal["extractive", "llama", "endpoint", "transformers"], ...] = Field(
        default=("extractive",), min_length=1, description="one or several"
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
    prompt: PromptSettings = PromptSettings()
    llama: LlamaSettings | None = None
    endpoint: EndpointSettings | None = None
    transformers: TransformersSettings | None = None

    @field_validator("generator", mode="before")
    @classmethod
    def _one_alone(cls, content: Any) -> Any:
        return (content,) if isinstance(content, str) else content

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
        description="TREC run of your own engine for the given queries of a general corpus, by its folder's name",
    )

    @model_validator(mode="after")
    def _weights_are_used(self) -> "CandidatesSettings":
        if self.fusion == "rrf" and self.weights:
            raise ValueError(
                "weights are for fusion weighted, reciprocal ranks have none: set fusion or leave them out"
            )
        return self


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
        _check_extra(self.extra, ours, optional)
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
        _check_extra(self.extra, {"model", "query", "documents", "texts"} | optional, optional)
        return self


class RemoteEncoderTeacher(RemoteTeacher):
    """A bi-encoder that is asked by POST URL/embeddings, in OpenAI's protocol; cosine."""

    kind: Literal["remote-encoder"]
    query_prefix: str = ""
    document_prefix: str = ""
    batch: int = Field(default=32, ge=1, description="texts of one request at most")

    @model_validator(mode="after")
    def _extra_leaves_the_texts_alone(self) -> "RemoteEncoderTeacher":
        _check_extra(self.extra, {"model", "input", "encoding_format"}, ())
        return self


Teacher = EncoderTeacher | RerankerTeacher | JudgeTeacher | RemoteRerankerTeacher | RemoteEncoderTeacher


class ScoresSettings(Section):
    """The teacher: a weighted sum of per-query z-scores."""

    dense: float = Field(default=1.0, ge=0, description="weight of the bi-encoder")
    bm25: float = Field(default=0.5, ge=0, description="weight of BM25")
    use: float = Field(default=0.5, ge=0, description="weight of the Universal Sentence Encoder; 0 leaves it out")
    teachers: tuple[Annotated[Teacher, Field(discriminator="kind")], ...] = Field(
        default=(), description="more of them, asked about every candidate; alone (the three above 0) one is distilled"
    )
    seed_bonus: float = Field(
        default=0.5, ge=0, description="what being the seed document adds, in standard deviations"
    )

    @model_validator(mode="after")
    def _someone_teaches(self) -> "ScoresSettings":
        if not (self.dense or self.bm25 or self.use or self.teachers):
            raise ValueError("nobody teaches: give dense, bm25 or use a weight above 0, or name others in teachers")
        return self


class ListsSettings(Section):
    """How training lists are drawn from scored candidates."""

    bins: int = Field(default=16, ge=2)
    anchors: Literal["equal-width", "quantile"] = "equal-width"
    documents: int = Field(default=8, ge=2, description="documents per list, the seed document included")
    round_trip: int = Field(
        default=10, ge=1, description="a query whose seed document the teacher ranks lower is dropped"
    )
    rescale: Literal["none", "min-max", "rank", "quantile"] = Field(
        default="none", description="none: z-scores, for every loss but gap-hinge, which wants [-1, 1]"
    )
    held_out: float = Field(
        default=0.15, gt=0, lt=1, description="share of seed documents whose queries are never trained on"
    )
    domains: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="specialist name: its languages; at least one where there is a target"
    )

    @field_validator("domains")
    @classmethod
    def _names_and_languages_are_told_apart(cls, domains: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in domains:
            if name in RESERVED or not re.match(NAME, name):
                raise ValueError(
                    f"a domain cannot be called {name!r}; use letters, digits, '.', '_' and '-', "
                    f"and none of {', '.join(RESERVED)}"
                )
        counts = Counter(language for languages in domains.values() for language in languages)
        for language, count in counts.items():
            if count > 1:
                raise ValueError(f"language {language!r} stands {count} times; give it to one domain")
        return domains

    @property
    def domain_of(self) -> dict[str, str]:
        """The specialist that speaks each language."""
        return {language: name for name, languages in self.domains.items() for language in languages}


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
        "margin-mse"
    )
    double_hard_margins: bool = Field(default=False, description="the option of the paper's loss, for gap-hinge")
    temperature: float = Field(default=0.5, gt=0, description="of the teacher's labels, for listwise")
    learning_rate: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    lists_per_step: int = Field(default=4, ge=1)
    language_balance: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="a language with n lists is drawn in proportion to n to this power: 1 as they come, 0 all alike",
    )
    general_steps: int = Field(default=200, ge=0)
    written_per_given: float = Field(
        default=1.0, ge=0, description="most written queries for each given one, where some are given"
    )
    specialist_steps: int = Field(default=150, ge=0)
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
    first_stage_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.0, 0.25, 0.5, 1.0, 2.0), min_length=1, description="tried; 1 unless another is surely better"
    )


class EvaluateSettings(Section):
    """The judged questions; no other stage reads them."""

    queries: Path
    qrels: Path
    depth: int = Field(default=20, ge=1, description="how many candidates of each first stage are reranked")
    questions: int = Field(default=0, ge=0, description="most questions per language, drawn by hash; 0 for all")
    rounds: int = Field(default=100_000, ge=100, description="sign flips of the paired randomisation test")
    runs: dict[str, Path] = Field(
        default_factory=dict,
        description="TREC run of your own engine for the judged questions, by a name; reranked like bm25 and hybrid",
    )

    @field_validator("runs")
    @classmethod
    def _names_of_runs_are_free(cls, runs: dict[str, Path]) -> dict[str, Path]:
        for name in runs:
            if name in FIRST_STAGE_NAMES or not re.match(NAME, name):
                raise ValueError(
                    f"a run cannot be called {name!r}; use letters, digits, '.', '_' and '-', "
                    f"and none of {', '.join(FIRST_STAGE_NAMES)}"
                )
        return runs


class RequestsSettings(Section):
    """How servers are asked."""

    concurrency: int = Field(default=8, ge=1, description="requests under way at a time")
    timeout: float = Field(default=120.0, gt=0, description="seconds for one answer")
    attempts: int = Field(default=6, ge=1, description="times one request is sent before it is given up")
    wait: float = Field(
        default=1.0, gt=0, description="seconds before the second attempt, twice as many before each further one"
    )


class MachineSettings(Section):
    """What changes speed but not results; never part of a key."""

    threads: int = Field(default=2, ge=1)
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    token_budget: int = Field(default=2048, ge=64, description="tokens per forward pass")
    recompute: bool = Field(
        default=False, description="learn with the memory of one forward pass, for a third more time; same gradients"
    )
    checkpointing: bool = Field(
        default=False, description="keep no activations inside the body either (not for warm students)"
    )
    shard: bool = Field(
        default=False,
        description="each process keeps its part of weights, gradients and optimiser state (FSDP), for bodies larger "
        "than one GPU; needs torchrun (not for warm students)",
    )
    requests: RequestsSettings = RequestsSettings()
    cache: Path | None = Field(
        default=None,
        description="folder for what teachers and language models answered, shared by all runs; none: tamis in "
        "$XDG_CACHE_HOME or ~/.cache. On a disk of this machine: sqlite does not lock across a network",
    )


class Recipe(Section):
    """Everything a run needs."""

    name: str = Field(pattern=NAME)
    seed: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of matrix products; scores: float32"
    )
    corpus: CorpusSettings
    queries: QueriesSettings = QueriesSettings()
    candidates: CandidatesSettings
    scores: ScoresSettings = ScoresSettings()
    lists: ListsSettings = ListsSettings()
    student: StudentSettings = StudentSettings()
    train: TrainSettings = TrainSettings()
    merge: MergeSettings = MergeSettings()
    evaluate: EvaluateSettings | None = None
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> "Recipe":
        if self.corpus.target is None:
            if not self.corpus.general:
                raise ValueError("corpus has neither target nor general: name a corpus to learn from")
            if self.lists.domains or self.evaluate:
                raise ValueError(
                    "without corpus.target there is nothing to adapt to: leave lists.domains and evaluate out"
                )
        elif not self.lists.domains:
            raise ValueError("lists.domains is missing; name the languages of each specialist")
        return self

    @model_validator(mode="after")
    def _runs_belong_to_general_corpora(self) -> "Recipe":
        known = [general.path.name for general in self.corpus.general]
        for name in self.candidates.runs:
            if name not in known:
                raise ValueError(
                    f"candidates.runs: no general corpus is called {name!r}; a run's name is that of the folder whose "
                    f"given queries it answers: {', '.join(known) or 'there is none'}"
                )
        return self

    @model_validator(mode="after")
    def _old_domains_need_their_model(self) -> "Recipe":
        settings = (self.student.head, self.train.general_steps, self.merge.on)
        if self.merge.keep and settings != ("own", 0, "weights"):
            raise ValueError(
                "merge.keep merges into the model that the student starts from: set student.start to it, student.head "
                "to own, train.general_steps to 0 and merge.on to weights"
            )
        return self

    @model_validator(mode="after")
    def _warm_students_are_not_sharded(self) -> "Recipe":
        if self.machine.shard and self.student.head == "warm":
            raise ValueError(
                "machine.shard is for students that learn all layers, a warm one learns its last ones: leave it out, "
                "or set student.head to stock or own"
            )
        return self

    @model_validator(mode="after")
    def _hinge_needs_bounded_labels(self) -> "Recipe":
        if self.train.loss == "gap-hinge" and self.lists.rescale == "none":
            raise ValueError("train.loss gap-hinge compares with scores in [-1, 1]: set lists.rescale to min-max")
        return self


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe.

    Relative paths inside it are relative to the working directory, as on a command line.

    Args:
        path: The file.
        changes: `section.key=value` each, value in YAML; they replace what the file says.

    Raises:
        SettingsError: no such file, not YAML, an unknown key, or a value out of range; one line names the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as a recipe: {error}") from None
    content = _parse(text, str(path))
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a recipe with sections, got {_shown(content)}")
    for change in changes:
        _apply(content, change)
    return recipe_from(content, str(path))


def _apply(content: dict[str, Any], change: str) -> None:
    """Put `section.key=value` into a recipe's content."""
    name, equals, value = change.partition("=")
    if not equals:
        raise SettingsError(f"--set {change}: expected KEY=VALUE, for instance train.loss=gap-hinge")
    *sections, key = name.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise SettingsError(f"--set {change}: {section!r} is not a section of the recipe")
    content[key] = _parse(value, f"--set {change}")


def _parse(text: str, where: str) -> Any:
    """Content of a YAML text. PyYAML's own errors, and what it lets through: impossible dates, bottomless nesting."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def recipe_from(content: Mapping[str, Any], name: str) -> Recipe:
    """Check a recipe given as nested mappings; `name` stands for it in messages.

    Raises:
        SettingsError: see `read_recipe`.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"{name}: unknown key {field!r}{_nearest(first['loc'])}") from None
        if first["type"] == "missing":
            raise SettingsError(f"{name}: {field} is missing; add it") from None
        if first["type"] == "value_error":  # our own words
            where = f"{name}: {field}" if field else name
            raise SettingsError(f"{where}: {first['ctx']['error']}") from None
        expected = "expected a section with keys" if first["type"] == "model_type" else first["msg"]
        raise SettingsError(f"{name}: {field}: {expected}, got {_shown(first['input'])}") from None


def _shown(value: object, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _nearest(location: tuple[int | str, ...]) -> str:
    """' (did you mean ...?)' for an unknown key, or the keys that its section knows."""
    section: type[BaseModel] = Recipe
    within: list[type[BaseModel]] = []
    for part in location[:-1]:
        if part in section.model_fields:
            within = _sections(section.model_fields[str(part)].annotation)
            section = within[0] if len(within) == 1 else section
        elif isinstance(part, str):  # names one of several sections by its kind
            section = next((one for one in within if part in get_args(one.model_fields["kind"].annotation)), section)
    known = list(section.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections in a field's type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]
