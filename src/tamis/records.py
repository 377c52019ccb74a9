"""What flows between the stages: small frozen records with the words of the field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

GIVEN: Final = "given"
"""Writer of the queries that nobody wrote for the run: those of general corpora and of logs."""

Facts = dict[str, Any]
"""What a manifest holds, JSON-like."""

SPARSE: Final[Mapping[str, bool]] = {"sparse": True}
"""Marks a field that has no column in a file whose records all have its default."""

SERVED: Final = "~"
"""As a server answers a client who sends a first stage's candidates in its order and nothing else. This sign and the
two below stand between the names of model and first stage in the name of a system: `merged~bm25`."""

ALONE: Final = "@"
"""By the model alone."""

SCORED: Final = "+"
"""With the first stage's scores sent along."""

Way = Literal["as served", "alone", "with scores"]
"""How a model is used on a first stage's candidates."""

WAYS: Final[Mapping[str, Way]] = {SERVED: "as served", ALONE: "alone", SCORED: "with scores"}
"""By sign, in the order of tables."""

GROUPS: Final[Mapping[str, str]] = {SERVED: "as served", ALONE: "model", SCORED: "model + first stage"}
"""Group of the systems of each way, likewise."""

MODELS: Final = tuple(GROUPS.values())
"""Groups of systems that a model has a part in."""

CLIENTS: Final = (GROUPS[SERVED], GROUPS[SCORED])
"""Those among them that a client of the model's server gets."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus.

    Attributes:
        doc_id: Unique within the run.
        text: Title and body, at least one letter or digit.
        language: Lower-case BCP 47 tag, `zh-cn` or `de`; `und` where unknown.
        origin: `target` (the corpus to adapt to) or `general` (other text with given queries, the paper's stage 1).
        title: What it is called, on one line. Of a row, and of a file that gives one, the text begins with it; else the
            name of the file. Empty for a row without one.
        path: The file of a folder that it was read from, relative to that; empty for files of rows.
        document: Of a passage, the id of the document that it was cut from; empty for a whole document, as are the
            fields below.
        start: First character of the passage in the text of its document.
        end: The character after its last one.
        headings: What the passage stands below in its document, outer ones first.
    """

    doc_id: str
    text: str
    language: str
    origin: str = "target"
    title: str = ""
    path: str = ""
    document: str = field(default="", metadata=SPARSE)
    start: int = field(default=0, metadata=SPARSE)
    end: int = field(default=0, metadata=SPARSE)
    headings: tuple[str, ...] = field(default=(), metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class Query:
    """One written or given query and where it came from.

    Attributes:
        query_id: Unique within the run.
        text: What would be typed into a search box.
        language: Language of the query, as `Document.language`.
        origin: As `Document.origin`; candidates come from documents of the same origin and language.
        document_id: The document it was written from (the seed), or that answers it; empty for a query of a log, of
            which nobody knows what answers it.
        generator: `extractive`, `given`, the short name of the language model, or that of the file it was read from.
        prompt: Hash of all of the prompt but the document, empty where there was none.
        seed: Seed of the generator for this query.
        model: The language model as its server or folder calls it, empty where there was none.
        temperature: Temperature of the draw; none where there was no model, or where its server was left to choose.
        kind: `question`, `keyword` or `claim`, as the model was asked, or what its file says; empty where none does.
    """

    query_id: str
    text: str
    language: str
    origin: str
    document_id: str
    generator: str
    prompt: str = ""
    seed: int = 0
    model: str = ""
    temperature: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model is given to write one query.

    Attributes:
        text: All of it.
        hash: 12 hexadecimal digits, the same for all documents that are asked about in the same words.
    """

    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """One query that is wanted of a generator.

    Attributes:
        place: Number of the request, from 0; the answer repeats it.
        document: The document to write from, and nothing else.
        seed: From 0 below 2**31. The same document, prompt, temperature and seed give the same query.
        kind: As `Query.kind`.
        prompt: The document put into words for a language model; empty for other generators.
        temperature: As `Query.temperature`.
    """

    place: int
    document: Document
    seed: int
    kind: str = ""
    prompt: Prompt = Prompt("", "")
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What calls of a model behind a server cost.

    Attributes:
        prompt: Tokens that it read.
        completion: Tokens that it wrote.
        requests: Times that it was at work, answered or not.
    """

    prompt: int = 0
    completion: int = 0
    requests: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.prompt + other.prompt, self.completion + other.completion, self.requests + other.requests)


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What became of a `QueryRequest`.

    Attributes:
        place: As in the request.
        text: The query; may be empty.
        reason: Why there is none, a few fixed words; empty where there is one.
        final: Whether asking again would cost again and bring no other answer.
        tokens: What all attempts cost together.
    """

    place: int
    text: str = ""
    reason: str = ""
    final: bool = True
    tokens: Tokens = Tokens()


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that a stage left out. Kept and dropped add up to what came in.

    Attributes:
        record_id: Id of the document or query; of a file that was not read its path, of a row perhaps with its place.
        reason: A few fixed words, counted in the manifest.
        language: Language of the record.
        text: The text that was left out, or what is known of a file that was not read, cut to 200 characters.
        overlaps: Id of what it repeats, where that is the reason.
    """

    record_id: str
    reason: str
    language: str
    text: str = ""
    overlaps: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a first stage found for one query, best first.

    Attributes:
        query_id: The query.
        doc_ids: Documents, best first.
        scores: First-stage score of each document, same length, descending; ties already broken.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    scores: tuple[float, ...]

    def where(self, kept: Callable[[str], bool]) -> "Candidates":
        """Those whose id is to be kept, in their order."""
        pairs = [pair for pair in zip(self.doc_ids, self.scores, strict=True) if kept(pair[0])]
        return Candidates(self.query_id, tuple(doc_id for doc_id, _ in pairs), tuple(score for _, score in pairs))


@dataclass(frozen=True, slots=True)
class ScoredCandidates:
    """Candidates of one query with the teacher's scores.

    Attributes:
        query_id: The query.
        doc_ids: Documents in first-stage order.
        first_stage: First-stage score of each document.
        teacher: Teacher score of each document, any real scale, comparable within the query.
    """

    query_id: str
    doc_ids: tuple[str, ...]
    first_stage: tuple[float, ...]
    teacher: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrainingList:
    """One query with a few documents drawn over the teacher's score bins.

    Attributes:
        query_id: The query.
        domain: The specialist that speaks the query's language, or `general` where none does.
        split: `train` or `held-out` (never trained on; chooses checkpoints, merge steps and weights).
        doc_ids: Documents of the list.
        labels: Soft label of each document, higher is more relevant: z-scores, or in [-1, 1] where rescaled.
        bins: Score bin of each document, 0 (lowest) to bins - 1.
        first_stage: First-stage score of each document.
    """

    query_id: str
    domain: str
    split: str
    doc_ids: tuple[str, ...]
    labels: tuple[float, ...]
    bins: tuple[int, ...]
    first_stage: tuple[float, ...]
