"""How a query and a document become tokens: data that travels with the checkpoint in `tamis.json`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Serializer:
    """Prefixes and token limits; the document never loses room to a long query, nor the query to a document.

    Attributes:
        query_prefix: Put before each query.
        document_prefix: Put before each document.
        query_tokens: Most tokens of a query, special tokens included; the rest is cut.
        document_tokens: Most tokens of a document, special tokens included; the rest is cut. The stock cross-encoder
            knows the sum of both limits only.
    """

    query_prefix: str = ""
    document_prefix: str = ""
    query_tokens: int = 64
    document_tokens: int = 192
