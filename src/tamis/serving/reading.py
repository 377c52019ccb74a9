"""From a request to rows of tokens: what is read of each document, and what is left out."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from tamis.models.reranker import DocumentPair, Reranker, check_documents
from tamis.models.rows import SLICE, Pair
from tamis.models.serializer import DocumentText, document_text
from tamis.models.windows import Long, Windows
from tamis.serving.request import RefusedError, RerankRequest

CHARACTERS: Final = 400_000
"""Documents read at once, some tenths of a second's work: the small requests behind wait for it."""

ALL: Final = 2**31
"""Windows of a document where none is left out."""


class Reading:
    """What is read of a request's texts, a block of documents at a time; for one thread.

    Attributes:
        texts: Query and text of each document, cut to the limits asked for, in the order of the request.
        windows: The pairs that are scored of each document, at least one.
        left_out: Whether something of each document or its query was left out before it became tokens.
        rows: The row of each different pair.
    """

    def __init__(self, reranker: Reranker, words: Any, asked: RerankRequest, long: Long) -> None:
        """Check the texts; nothing is read yet.

        Args:
            reranker: The model.
            words: Its tokenizer without special tokens and limits, see `plain_backend`.
            asked: The request.
            long: What becomes of long documents where the request does not say it.

        Raises:
            InputError: names the first document that is none.
            RefusedError: more tokens of a pair than the model reads.
        """
        self.texts: list[Pair] = []
        self.windows: list[list[Pair]] = []
        self.left_out: list[bool] = []
        self.rows: dict[Pair, Any] = {}
        self._reranker, self._words, self._asked = reranker, words, asked
        self._title = reranker.serializer.title
        self._most = 1 if asked.pair_tokens else asked.windows or (ALL if long == "windows" else 1)
        self._of_long = Windows(reranker.serializer, reranker.tokenizer, asked.instruction)
        self._query = cache(lambda query: self._shortened(query, asked.query_tokens))
        self._unread = deque(_blocks(list(check_documents(asked.pairs(), self._title))))
        self._check_pair_tokens()

    def _check_pair_tokens(self) -> None:
        most = self._reranker.serializer.pair_tokens
        if (self._asked.pair_tokens or 0) > most:
            what = f"expected at most {most}, which is all that the model reads, or -1 for that"
            raise RefusedError("malformed", f"truncate_prompt_tokens: got {self._asked.pair_tokens}, {what}")

    @property
    def unread(self) -> bool:
        """Whether blocks of documents are left to read."""
        return len(self._unread) > 0

    def read_block(self) -> None:
        """Read the next documents.

        Raises:
            InputError: see `Scorer.encode`.
        """
        block = self._unread.popleft()
        new: dict[Pair, None] = {}
        for query, document in block:
            pairs = self._read(query, document)
            new |= dict.fromkeys(pair for pair in pairs if pair not in self.rows)
        encode = self._reranker.scorer.encode
        self.rows |= zip(new, encode(list(new), self._asked.instruction, self._asked.pair_tokens), strict=True)

    def _read(self, query: str, document: DocumentText) -> list[Pair]:
        """The pairs of a document, which are written down with what is left out."""
        kept, limited = self._query(query), self._limited(document)
        text = document_text(limited, self._title)
        pairs = [(kept, text)] if self._most == 1 else self._of_long(kept, limited)
        self.texts.append((kept, text))
        self.windows.append(pairs[: self._most])
        shorter = kept != query or text != document_text(document, self._title)
        self.left_out.append(shorter or len(pairs) > self._most)
        return self.windows[-1]

    def _limited(self, document: DocumentText) -> DocumentText:
        """A document of as many tokens as the request takes, its title included."""
        whole = document_text(document, self._title)
        short = self._shortened(whole, self._asked.document_tokens)
        if short == whole:
            return document
        if isinstance(document, str) or not whole.endswith(document["text"]):
            return short
        rest = short[len(whole) - len(document["text"]) :]
        return {**document, "text": rest} if rest else short

    def _shortened(self, text: str, tokens: int | None) -> str:
        # Read without windows, the model itself cuts where it reads no more: Cohere's clients send 4,096.
        beyond = self._most == 1 and tokens is not None and tokens >= self._reranker.serializer.max_tokens
        if tokens is None or beyond:
            return text
        ends = [end for _, end in self._words.encode(text, add_special_tokens=False).offsets]
        return text[: ends[tokens - 1]] if len(ends) > tokens else text


def _blocks(pairs: Sequence[DocumentPair]) -> Iterator[list[DocumentPair]]:
    """Pairs as they are read at once: up to `SLICE` of them and `CHARACTERS` of their documents, or one."""
    block: list[DocumentPair] = []
    size = 0
    for pair in pairs:
        length = len(pair[1] if isinstance(pair[1], str) else pair[1]["text"])
        if block and (len(block) == SLICE or size + length > CHARACTERS):
            yield block
            block, size = [], 0
        block.append(pair)
        size += length
    yield block
