"""What a scorer of pairs is asked at once."""

from dataclasses import dataclass

GroupScores = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A query and documents that are scored for it in one request.

    Attributes:
        query: Its text.
        documents: Their texts, at least one.
    """

    query: str
    documents: tuple[str, ...]
