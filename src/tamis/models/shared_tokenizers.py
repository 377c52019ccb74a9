"""One vocabulary in memory for all tokenizers that are read from the same files.

One of 250,000 words takes some 280 MB and a second to read; a run has a bi-encoder, a student and a reader of lengths
that all use it, a server one a model. What a user changes of its tokenizer stays its own: truncation, padding, the
normaliser, added tokens. Threads may use them beside each other as if each had been read by itself.
"""

import copy
import itertools
import threading
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from tamis.artifacts import file_hash, item_key

TOKENIZER_FILES: Final = ("*token*.json", "vocab*", "merges*", "*.model", "special_*.json")
"""Patterns of the files that a tokenizer is loaded from, none of them weights."""

_BESIDE: Final = ("config.json", "chat_template*")
"""Files besides that transformers looks at while it loads one."""


class _Original:
    """A tokenizer as it was read, which nobody but this module uses.

    Attributes:
        tokenizer: It.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer


_originals: WeakValueDictionary[str, _Original] = WeakValueDictionary()
_in_use: WeakKeyDictionary[Any, _Original] = WeakKeyDictionary()  # an original goes with the last of its users
_lock = threading.Lock()


def load_tokenizer(path: str | Path, trust_remote_code: bool = False) -> Any:
    """A tokenizer of transformers, one's own but for its vocabulary.

    That of a hub, or of a checkpoint whose own code is run, shares nothing.

    Args:
        path: Folder or hub name.
        trust_remote_code: Whether transformers may run code that the checkpoint brings.
    """
    from transformers import AutoTokenizer

    if trust_remote_code or not Path(path).is_dir():
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    key = item_key(*hashes_of(Path(path), (*TOKENIZER_FILES, *_BESIDE)))
    with _lock:
        original = _originals.get(key)
        if original is None:
            original = _Original(AutoTokenizer.from_pretrained(path, trust_remote_code=False))
            if not _is_fast(original.tokenizer):
                return original.tokenizer
            _originals[key] = original
        own = _own(original.tokenizer)
        own.name_or_path = own.init_kwargs["name_or_path"] = str(path)
        _in_use[own] = original
    return own


def beside(backend: Any) -> Any:
    """Another tokenizer of the tokenizers library with the same vocabulary in memory, and all else its own."""
    from tokenizers import Tokenizer

    other = Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "encode_special_tokens"):
        setattr(other, part, getattr(backend, part))
    added = backend.get_added_tokens_decoder()
    for special, tokens in itertools.groupby((added[number] for number in sorted(added)), lambda token: token.special):
        (other.add_special_tokens if special else other.add_tokens)(list(tokens))
    # Tokens compare by their text alone. Numbers with gaps between them cannot be given again.
    if repr(sorted(other.get_added_tokens_decoder().items())) != repr(sorted(added.items())):
        return Tokenizer.from_str(backend.to_str())
    if backend.truncation:
        other.enable_truncation(**backend.truncation)
    if backend.padding:
        other.enable_padding(**backend.padding)
    return other


def hashes_of(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """Name and hash of each file of a folder that fits one of some patterns, in order of the names."""
    files = {file for pattern in patterns for file in folder.glob(pattern)}
    return [part for file in sorted(files) for part in (file.name, file_hash(file))]


def _is_fast(tokenizer: Any) -> bool:
    from tokenizers import Tokenizer

    return isinstance(getattr(tokenizer, "_tokenizer", None), Tokenizer)


def _own(tokenizer: Any) -> Any:
    """A copy of a fast tokenizer that shares its vocabulary."""
    backend = tokenizer._tokenizer
    return copy.deepcopy(tokenizer, {id(backend): beside(backend)})
