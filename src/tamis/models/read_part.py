"""The part of a document that a student reads: what queries are written about, so that they can be answered from it."""

from pathlib import Path
from typing import Any, Final, NamedTuple

from tamis.artifacts import item_key
from tamis.models.encoder import loading
from tamis.models.shared_tokenizers import TOKENIZER_FILES, hashes_of, load_tokenizer

_CHARACTERS: Final = 16  # of a token, at most, in nearly every text


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

    def count(self, text: str) -> int:
        """Tokens of a text, the prefix and special tokens included."""
        tokenizer = self._tokenizer.backend_tokenizer
        tokenizer.no_truncation()  # what a call before may have set
        return len(tokenizer.encode(self._prefix + text))

    def is_longer(self, text: str, tokens: int) -> bool:
        """Whether a text has more tokens than a number; of a long one the beginning tells."""
        start = text[: _CHARACTERS * tokens]
        return self.count(start) > tokens or (len(start) < len(text) and self.count(text) > tokens)


def tokenizer_identity(path: str | Path) -> str:
    """Hash of the files that a tokenizer is loaded from, none of them weights; of a hub model its name."""
    if not Path(path).is_dir():
        return str(path)
    return item_key(*hashes_of(Path(path), TOKENIZER_FILES))


def _tokenizer(path: str | Path) -> Any:
    with loading(path, "a student's tokenizer"):
        return load_tokenizer(path)
