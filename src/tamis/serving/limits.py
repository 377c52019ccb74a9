"""What a request may hold."""

from collections.abc import Iterator
from dataclasses import dataclass

from tamis.serving.request import RefusedError, RerankRequest, text_of


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold.

    Attributes:
        body_bytes: Most bytes of a body.
        documents: Most documents of a request.
        characters: Most characters of a query, an instruction or a document.
        seconds: Most seconds from the first byte to the answer.
    """

    body_bytes: int = 16 * 2**20
    documents: int = 1000
    characters: int = 200_000
    seconds: float = 60.0

    def check(self, asked: RerankRequest) -> None:
        """Refuse what is too much.

        Raises:
            RefusedError: of kind `malformed`, with both numbers.
        """
        if len(asked.documents) > self.documents:
            raise RefusedError("malformed", f"{len(asked.documents)} documents, at most {self.documents} are taken")
        for what, text in _texts(asked):
            if len(text) > self.characters:
                raise RefusedError(
                    "malformed", f"{what} has {len(text)} characters, at most {self.characters} are taken"
                )


def _texts(asked: RerankRequest) -> Iterator[tuple[str, str]]:
    """Each text of a request with what it is."""
    yield from (("query" if len(asked.queries) == 1 else f"query {n}", one) for n, one in enumerate(asked.queries))
    yield "instruction", asked.instruction or ""
    for number, document in enumerate(asked.documents):
        yield f"document {number}", text_of(document)
        if not isinstance(document, str):
            yield f"the title of document {number}", document.get("title", "")
