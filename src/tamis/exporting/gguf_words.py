"""A tokenizer in the words of llama.cpp: its pieces, and what stands around and between two texts.

llama.cpp knows three kinds by name: `t5` is SentencePiece's unigram model, `bert` are the word pieces of uncased BERT,
`gpt2` is byte-level BPE. What it would split otherwise is refused here, or shows in the scores that are compared.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tamis.errors import ModelError
from tamis.models.rows import plain_backend, special_tokens
from tamis.models.serializer import Joined, PairTemplate

NORMAL, UNKNOWN, CONTROL, USER, UNUSED = 1, 2, 3, 4, 5
"""Kinds of tokens."""

_UNLIKELY: Final = -10_000.0
"""Score of what no text holds."""

_QWEN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen's tokenizers split texts."""


@dataclass(frozen=True, slots=True)
class Words:
    """A tokenizer.

    Attributes:
        model: `t5`, `bert` or `gpt2`.
        pre: How texts are split before; a name that llama.cpp has.
        tokens: All of them, by their numbers.
        kinds: Kind of each.
        scores: Log-probability of each; none where the model has none.
        merges: Of byte-level BPE.
        charsmap: How SentencePiece normalises characters.
    """

    model: str
    pre: str
    tokens: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    charsmap: bytes = b""


def words_of(tokenizer: Any, size: int) -> Words:
    """A tokenizer for llama.cpp.

    Args:
        tokenizer: Of the checkpoint.
        size: Rows of the body's table, which may have more than there are tokens.

    Raises:
        ModelError: a kind that llama.cpp does not know.
    """
    content = json.loads(plain_backend(tokenizer).to_str())
    kind = content["model"]["type"]
    make = {"Unigram": _unigram, "WordPiece": _word_pieces, "BPE": _bytes}.get(kind)
    if make is None:
        raise ModelError(f"llama.cpp has no tokenizer of the kind {kind}; it has Unigram, WordPiece and byte-level BPE")
    return make(content, size)


def _unigram(content: Mapping[str, Any], size: int) -> Words:
    vocabulary = content["model"]["vocab"]
    pieces = [piece for piece, _ in vocabulary]
    kinds = [NORMAL] * len(pieces)
    if (unknown := content["model"]["unk_id"]) is not None:
        kinds[unknown] = UNKNOWN
    tokens, kinds = _with_added(content, pieces, kinds, size)
    scores = [score for _, score in vocabulary] + [_UNLIKELY] * (len(tokens) - len(vocabulary))
    charsmap = next((one["precompiled_charsmap"] for one in _steps(content["normalizer"], "Precompiled")), "")
    return Words("t5", "default", tokens, kinds, scores, charsmap=base64.b64decode(charsmap or ""))


def _word_pieces(content: Mapping[str, Any], size: int) -> Words:
    normal = next(_steps(content["normalizer"], "BertNormalizer"), None)
    if normal is None or not normal["lowercase"] or normal["strip_accents"] is False:
        raise ModelError("llama.cpp takes the case and the accents off the words of BERT; this tokenizer keeps them")
    pieces = _in_order(content["model"]["vocab"])
    tokens, kinds = _with_added(content, pieces, [NORMAL] * len(pieces), size)
    # Its pieces say where a word begins, not where it goes on.
    marked = [_marked(token) if kind == NORMAL else token for token, kind in zip(tokens, kinds, strict=True)]
    return Words("bert", "default", marked, kinds, [0.0] * len(marked))


def _marked(piece: str) -> str:
    return piece.removeprefix("##") if piece.startswith("##") else f"\u2581{piece}"


def _bytes(content: Mapping[str, Any], size: int) -> Words:
    split = next(_steps(content["pre_tokenizer"], "Split"), None)
    of_bytes = next(_steps(content["pre_tokenizer"], "ByteLevel"), None)
    if of_bytes is None:
        raise ModelError("llama.cpp has no BPE but the one on bytes")
    if split is not None and split["pattern"].get("Regex") != _QWEN:
        raise ModelError("llama.cpp splits texts by a pattern that it knows by name; the one of this tokenizer is none")
    pieces = _in_order(content["model"]["vocab"])
    tokens, kinds = _with_added(content, pieces, [NORMAL] * len(pieces), size)
    merges = [one if isinstance(one, str) else " ".join(one) for one in content["model"]["merges"]]
    return Words("gpt2", "gpt-2" if split is None else "qwen2", tokens, kinds, merges=merges)


def _in_order(vocabulary: Mapping[str, int]) -> list[str]:
    """Pieces by their numbers; a number without a piece is named for it."""
    by_number = {number: piece for piece, number in vocabulary.items()}
    return [by_number.get(number, f"[unused {number}]") for number in range(max(by_number) + 1)]


def _steps(part: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a kind of a normalizer or a pre-tokenizer, which may be a sequence of them."""
    if not part:
        return
    if part["type"] == kind:
        yield part
    for one in part.get("normalizers", part.get("pretokenizers", ())):
        yield from _steps(one, kind)


def _with_added(
    content: Mapping[str, Any], pieces: Sequence[str], kinds: Sequence[int], size: int
) -> tuple[list[str], list[int]]:
    """Tokens and their kinds with those that were added, and as many as the body's table has rows."""
    tokens, found = list(pieces), list(kinds)
    for number in range(len(tokens), size):
        tokens.append(f"[PAD{number}]")
        found.append(UNUSED)
    for one in content["added_tokens"]:
        tokens[one["id"]] = one["content"]
        if found[one["id"]] != UNKNOWN:
            found[one["id"]] = CONTROL if one["special"] else USER
    return tokens, found


@dataclass(frozen=True, slots=True)
class Around:
    """What llama.cpp puts around and between two texts to be scored.

    Attributes:
        numbers: Special tokens by llama.cpp's names for them: `bos`, `eos` ...
        bos: Whether the first stands before the query.
        eos: Whether the second stands behind each text.
        sep: Whether a third stands before the document.
        template: In place of all three: a text with `{query}` and `{document}`; empty for none.
    """

    numbers: Mapping[str, int]
    bos: bool = False
    eos: bool = False
    sep: bool = False
    template: str = ""


def around(tokenizer: Any, serializer: Joined | PairTemplate) -> Around:
    """How a pair becomes a row: by special tokens where llama.cpp knows the order, by a template otherwise."""
    numbers = {
        name: number
        for name in ("bos", "eos", "sep", "pad", "unk", "mask", "cls")
        if (number := getattr(tokenizer, f"{name}_token_id", None)) is not None
    }
    if isinstance(serializer, PairTemplate):
        text = serializer.template.replace("{instruction}", serializer.instruction)
        return Around(numbers, template=serializer.prefix + text + serializer.suffix)
    opening, between, closing = (part.tolist() for part in special_tokens(tokenizer))
    plain = not serializer.query_prefix and not serializer.document_prefix
    if plain and len(opening) <= 1 and len(closing) <= 1 and between[:1] == closing and len(between) <= 2:
        named = {"bos": opening, "eos": closing, "sep": between[1:]}
        numbers |= {name: ids[0] for name, ids in named.items() if ids}
        return Around(numbers, bos=bool(opening), eos=bool(closing), sep=len(between) == 2)
    backend = plain_backend(tokenizer)
    before, middle, after = ("".join(map(backend.id_to_token, ids)) for ids in (opening, between, closing))
    query, document = serializer.query_prefix + "{query}", serializer.document_prefix + "{document}"
    return Around(numbers, template=before + query + middle + document + after)
