"""The part of a document that a student reads: what queries are written about, so that they can be answered from it."""

from pathlib import Path
from typing import Any, NamedTuple

from tamis.models.encoder import loading


class Reading(NamedTuple):
    """How a student reads a document.

    Attributes:
        start: Where its tokenizer lies.
        prefix: What stands before each document.
        tokens: Most tokens of a document, special tokens and the prefix included.
    """

    start: str | Path
    prefix: str
    tokens: int


class ReadPart:
    """Cuts texts where a student stops reading; loads its tokenizer and no weights.

    Attributes:
        tokens: Most tokens of a document, special tokens and the prefix included.
    """

    def __init__(self, reading: Reading) -> None:
        """Load the tokenizer.

        Raises:
            ModelError: a start that is not there or has no tokenizer.
        """
        start, self._prefix, self.tokens = reading
        self._tokenizer = _tokenizer(start)

    def __call__(self, text: str) -> str:
        """What is read of a text: all of it, or its beginning, cut behind the last token."""
        encoded = self._tokenizer(self._prefix + text, truncation=True, max_length=self.tokens).encodings[0]
        if not encoded.overflowing:
            return text
        return text[: max(0, max(end for _, end in encoded.offsets) - len(self._prefix))]


def _tokenizer(path: str | Path) -> Any:
    from transformers import AutoTokenizer

    with loading(path, "a student's tokenizer"):
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
