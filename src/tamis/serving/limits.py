"""What a request may hold."""

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
        titles = [one.get("title", "") for one in asked.documents if not isinstance(one, str)]
        texts = [*asked.queries, asked.instruction or "", *titles, *map(text_of, asked.documents)]
        longest = max(map(len, texts))
        if longest > self.characters:
            raise RefusedError("malformed", f"a text of {longest} characters, at most {self.characters} are taken")
