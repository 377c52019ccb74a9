"""Written queries that name a whole document of which there are passages: which passage each is about."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tamis.formats.written_queries import WrittenQuery
from tamis.records import Document
from tamis.text import words


def passages_by_document(documents: Mapping[str, Document]) -> dict[str, list[Document]]:
    """The passages of each document that was cut, in their order, by its id."""
    passages: dict[str, list[Document]] = {}
    for document in documents.values():
        if document.document:
            passages.setdefault(document.document, []).append(document)
    return passages


def about_passages(
    queries: Iterable[WrittenQuery], passages: Mapping[str, Sequence[Document]]
) -> Iterator[WrittenQuery]:
    """Queries about whole documents, made queries about passages where the document was cut.

    A query is about the passage that shares most of its words, each counted by the logarithm of how few of the
    document's passages have it; of equals the first.

    Args:
        queries: Each names a document, or a passage, in `document_id`.
        passages: See `passages_by_document`.

    Yields:
        The queries in order; one that shares no word with some passages of its document and not with others unchanged.
    """
    known: dict[str, _Words] = {}
    for query in queries:
        if own := passages.get(query.document_id, ()):
            said = known.setdefault(query.document_id, _Words(own))
            yield query._replace(document_id=said.nearest(query.text) or query.document_id)
        else:
            yield query


class _Words:
    """The words of a document's passages."""

    def __init__(self, passages: Sequence[Document]) -> None:
        self._words = {passage.doc_id: frozenset(words(passage.text)) for passage in passages}
        self._counts = Counter(word for said in self._words.values() for word in said)

    def nearest(self, query: str) -> str:
        """Id of the passage that a query is about; empty where its words tell none from another."""
        asked = sorted(set(words(query)) & self._counts.keys())
        weights = {word: math.log(len(self._words) / self._counts[word]) for word in asked}
        shared = {doc_id: sum(weights[word] for word in asked if word in said) for doc_id, said in self._words.items()}
        best = max(shared, key=lambda doc_id: shared[doc_id])
        return best if shared[best] > 0 else ""
