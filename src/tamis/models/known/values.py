"""States as they lie on disk: two bytes a value, or one byte a value and a scale a token.

Of 8 bits, a value is `round(127 * state / (factor * scale))`: the factor belongs to its dimension and is the same for
all texts, the scale to its token. Bodies have a few dimensions that are far larger than all others (Dettmers et al.
2022, arXiv 2208.07339); without factors they would take the bits of the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Name = Literal["float16", "int8"]

_LEAST: Final = 1e-6
"""Of factors and scales: what is always 0 is divided by it."""


@dataclass(frozen=True, slots=True)
class Values:
    """One form of states on disk.

    Attributes:
        token: Type of the states of one token, given their number.
        pack: float32 [tokens, hidden] and factors [hidden] to an array of that type, [tokens].
        unpack: The way back, to float32 [tokens, hidden].
    """

    token: Callable[[int], np.dtype[Any]]
    pack: Callable[[Floats, Floats], NDArray[Any]]
    unpack: Callable[[NDArray[Any], Floats], Floats]


def factors_of(states: Floats) -> Floats:
    """Factor of each dimension: the root of the mean square over some tokens, [tokens, hidden] to [hidden]."""
    found: Floats = np.maximum(np.sqrt(np.square(states).mean(0)), _LEAST).astype(np.float32)
    return found


def _float16(hidden: int) -> np.dtype[Any]:
    return np.dtype([("values", "<f2", (hidden,))])


def _int8(hidden: int) -> np.dtype[Any]:
    return np.dtype([("scale", "<f4"), ("values", "i1", (hidden,))])


def _to_float16(states: Floats, factors: Floats) -> NDArray[Any]:
    packed = np.empty(len(states), _float16(states.shape[1]))
    packed["values"] = states
    return packed


def _from_float16(packed: NDArray[Any], factors: Floats) -> Floats:
    found: Floats = packed["values"].astype(np.float32)
    return found


def _to_int8(states: Floats, factors: Floats) -> NDArray[Any]:
    even = states / factors
    scale = np.maximum(np.abs(even).max(1), _LEAST)
    packed = np.empty(len(states), _int8(states.shape[1]))
    packed["scale"] = scale
    packed["values"] = np.rint(even * (127 / scale[:, None]))
    return packed


def _from_int8(packed: NDArray[Any], factors: Floats) -> Floats:
    found: Floats = packed["values"].astype(np.float32)
    found *= factors
    found *= packed["scale"][:, None] / np.float32(127)
    return found


VALUES: Final[dict[str, Values]] = {
    "float16": Values(_float16, _to_float16, _from_float16),
    "int8": Values(_int8, _to_int8, _from_int8),
}
"""Forms by name."""
