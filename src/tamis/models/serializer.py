"""How a query and a document become one text or two: data that travels with the checkpoint in `tamis.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from string import Formatter
from typing import Any

from tamis.errors import ModelError


@dataclass(frozen=True, slots=True)
class Apart:
    """Two texts, each with its own limit: what the warm cross-encoder reads.

    Attributes:
        query_prefix: Put before each query.
        document_prefix: Put before each document.
        query_tokens: Most tokens of a query, special tokens included; the rest is cut.
        document_tokens: Most tokens of a document, special tokens included; the rest is cut.
        title: How a document's title and text become one.
    """

    query_prefix: str = ""
    document_prefix: str = ""
    query_tokens: int = 64
    document_tokens: int = 192
    title: str = "{title}\n{text}"

    @property
    def max_tokens(self) -> int:
        """Most tokens that are read of a text, whether query or document."""
        return max(self.query_tokens, self.document_tokens)

    @property
    def pair_tokens(self) -> int:
        """Most tokens that are read of a query and a document together."""
        return self.query_tokens + self.document_tokens


@dataclass(frozen=True, slots=True)
class Joined:
    """Two texts in one sequence, with the tokenizer's own special tokens around and between them.

    Attributes:
        query_prefix: Put before each query.
        document_prefix: Put before each document.
        max_tokens: Most tokens of the sequence, special tokens included. The longer text is cut.
        title: How a document's title and text become one.
    """

    query_prefix: str = ""
    document_prefix: str = ""
    max_tokens: int = 512
    title: str = "{title}\n{text}"

    @property
    def pair_tokens(self) -> int:
        """Most tokens that are read of a query and a document together."""
        return self.max_tokens


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """One text made from a template, between a fixed beginning and a fixed end.

    Attributes:
        template: Holds `{query}`, may hold `{instruction}`, ends with `{document}`: what is cut is the document.
        prefix: Tokenised by itself and put before.
        suffix: Tokenised by itself and put after; the score is read from its last token.
        instruction: What `{instruction}` says unless the caller says something else.
        max_tokens: Most tokens of the sequence.
        title: How a document's title and text become one.
    """

    template: str
    prefix: str = ""
    suffix: str = ""
    instruction: str = ""
    max_tokens: int = 4096
    title: str = "{title}\n{text}"

    @property
    def pair_tokens(self) -> int:
        """Most tokens that are read of a query and a document together."""
        return self.max_tokens

    def __post_init__(self) -> None:
        """Refuse a template that would lose a text.

        Raises:
            ModelError: names the template.
        """
        named = placeholders(self.template) or []
        once = named.count("query") == named.count("document") == 1
        if not once or not {*named} <= {"instruction", "query", "document"} or not self.template.endswith("{document}"):
            raise ModelError(
                f"serializer: template {self.template!r}: expected one with {{query}}, perhaps {{instruction}}, "
                "and {document} at its end"
            )


def placeholders(text: str) -> list[str] | None:
    """Names in braces, in their order; None where a brace is no placeholder, or says more than a name.

    A format behind a name could make a text of any length, an attribute show what is nobody's business.
    """
    try:
        named = [(name, form, how) for _, name, form, how in Formatter().parse(text) if name is not None]
    except ValueError:
        return None
    plain = all(name.isidentifier() and not form and not how for name, form, how in named)
    return [name for name, _, _ in named] if plain else None


Serializer = Apart | Joined | PairTemplate

KINDS: Mapping[str, type[Serializer]] = {"apart": Apart, "joined": Joined, "template": PairTemplate}
"""What `tamis.json` calls them."""

# The text with which the published results of Querit-Reranker were made (authors' evaluation wrapper in mteb).
QUERIT = PairTemplate(
    template="{instruction} Query: {query}; Content: {document}",
    suffix="[CLS]",
    instruction="Judge whether the Content meets the requirements based on the Query.",
    title="{title} {text}",
)

# The model card of Qwen3-Reranker.
QWEN3_RERANKER = PairTemplate(
    prefix="<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
    template="<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}",
    suffix="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
    max_tokens=8192,
    title="{title} {text}",
)


def to_facts(serializer: Serializer) -> dict[str, Any]:
    """The serializer as `tamis.json` holds it."""
    kind = next(name for name, of in KINDS.items() if isinstance(serializer, of))
    return {"kind": kind, **asdict(serializer)}


def from_facts(facts: Mapping[str, Any]) -> Serializer:
    """What `to_facts` wrote, checked.

    Raises:
        ModelError: an unknown kind or field, or a value of another type.
    """
    given = dict(facts)
    kind = given.pop("kind", None)
    if kind not in KINDS:
        raise ModelError(f"serializer: kind {kind!r}, expected one of {', '.join(KINDS)}")
    types = {field.name: field.type for field in fields(KINDS[kind])}
    for name, value in given.items():
        if name not in types:
            raise ModelError(f"serializer: unknown field {name!r}, expected some of {', '.join(types)}")
        if type(value) is not types[name]:
            raise ModelError(
                f"serializer: {name} is {value!r}, expected {getattr(types[name], '__name__', types[name])}"
            )
    if kind == "template" and "template" not in given:
        raise ModelError("serializer: the template is missing")
    title = given.get("title", "{text}")
    named = placeholders(title)
    if named is None or not {*named} <= {"title", "text"}:
        raise ModelError(f"serializer: title {title!r}: expected {{title}} and {{text}} alone between braces")
    limits = [name for name in given if name.endswith("_tokens") and given[name] < 8]
    for name in limits:
        raise ModelError(f"serializer: {name} is {given[name]}, expected at least 8")
    return KINDS[kind](**given)


def encoder_prefixes(serializer: Serializer | None) -> tuple[str, str]:
    """Texts that the bi-encoder beside a model wants before a query and before a document.

    Args:
        serializer: The model's own; one that reads both texts apart has them from its bi-encoder. For any other, and
            for None, they are those of e5.
    """
    known = serializer if isinstance(serializer, Apart) else Apart("query: ", "passage: ")
    return known.query_prefix, known.document_prefix


DocumentText = str | Mapping[str, str]
"""A text, or a mapping with `text` and perhaps `title`."""


def document_text(document: DocumentText, title: str) -> str:
    """One text of a document: title and text by the serializer's `title`, or the text alone where there is no title."""
    if isinstance(document, str):
        return document
    heading = document.get("title") or ""
    return title.format(title=heading, text=document["text"]) if heading else document["text"]
