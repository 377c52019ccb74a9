"""What a request may hold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tamis.models.serializer import DocumentText
from tamis.serving.request import RefusedError, RerankRequest, text_of


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold.

    Attributes:
        body_bytes: Most bytes of a body.
        documents: Most documents of a request.
        characters: Most characters of a query or an instruction; a document is cut to so many, and its title is.
        seconds: Most seconds from the first byte to the answer.
    """

    body_bytes: int = 16 * 2**20
    documents: int = 1000
    characters: int = 200_000
    seconds: float = 60.0

    def taken(self, asked: RerankRequest) -> tuple[RerankRequest, list[int]]:
        """What of a request is read, and the indices of documents that are cut for it.

        Raises:
            RefusedError: of kind `malformed`, with both numbers: too much of what is not cut.
        """
        if len(asked.documents) > self.documents:
            raise RefusedError("malformed", f"{len(asked.documents)} documents, at most {self.documents} are taken")
        cut = [number for number, one in enumerate(asked.documents) if self._longest(one) > self.characters]
        if cut and not asked.cut:
            longest = self._longest(asked.documents[cut[0]])
            self._refuse(f"document {cut[0]}", longest, ", and truncation was not allowed")
        for what, text in _uncut(asked):
            if len(text) > self.characters:
                self._refuse(what, len(text))
        if not cut:
            return asked, []
        return replace(asked, documents=[self._start(one) for one in asked.documents]), cut

    def _refuse(self, what: str, length: int, more: str = "") -> None:
        message = f"{what} has {length} characters, at most {self.characters} are taken{more}"
        raise RefusedError("malformed", message)

    def _longest(self, document: DocumentText) -> int:
        title = "" if isinstance(document, str) else document.get("title", "")
        return max(len(text_of(document)), len(title))

    def _start(self, document: DocumentText) -> DocumentText:
        """The first characters of a document and of its title; an id stays."""
        if isinstance(document, str):
            return document[: self.characters]
        return {name: text[: self.characters] if name in ("text", "title") else text for name, text in document.items()}


def _uncut(asked: RerankRequest) -> Iterator[tuple[str, str]]:
    """Each text of a request that is read whole or not at all, with what it is."""
    yield from (("query" if len(asked.queries) == 1 else f"query {n}", one) for n, one in enumerate(asked.queries))
    yield "instruction", asked.instruction or ""
    yield from ((f"document {n}", text_of(one)) for n, one in enumerate(asked.documents) if _named(one))


def _named(document: DocumentText) -> bool:
    return not isinstance(document, str) and "id" in document
