"""Which number format the heavy products run in; scores themselves are always float32."""

import copy
import time
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Final, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from torch import nn

from tamis.errors import InputError

Precision = Literal["float32", "bfloat16"]

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

CPU_TOKENS, GPU_TOKENS, LEARNING_GPU_TOKENS = 2048, 65_536, 16_384
"""Tokens per forward pass unless asked for more: on two cores 8,192 run a fifth slower than 2,048; a GPU that learns
needs room for what the gradients are made of."""


def fastest_precision() -> Precision:
    """bfloat16 where the processor multiplies it natively, else float32."""
    if torch.cuda.is_available():
        return "bfloat16"
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


def fastest_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_precision(given: Any) -> Precision:
    """The number format that a caller asked for; the fastest one of `auto`.

    Raises:
        InputError: another one: all else would be computed in float32 without a word.
    """
    if isinstance(given, str) and given == "auto":
        return fastest_precision()
    for known in PRECISIONS:
        if isinstance(given, str) and given == known:
            return known
    raise InputError(f"precision is {given!r:.100}, expected one of {', '.join(PRECISIONS)}, auto")


def chosen_device(given: Any) -> torch.device:
    """The device that a caller asked for; the fastest one where nothing is said.

    Raises:
        InputError: no device, or none that is here.
    """
    if given is None or given == "":
        return fastest_device()
    try:
        device = torch.device(given)
        torch.zeros(1, device=device).item()
    except Exception as error:  # of each backend another one
        why = str(error).strip().partition("\n")[0]
        raise InputError(f"device is {given!r:.100}, which cannot be used here: {why:.200}") from None
    return device


def scoring_tokens(device: torch.device) -> int:
    """Tokens per forward pass that score fastest: as many as a processor's cache holds, or as fill a GPU."""
    return CPU_TOKENS if device.type == "cpu" else GPU_TOKENS


def autocast(device: torch.device, precision: Precision, cached: bool = True) -> AbstractContextManager[object]:
    """Run matrix products in `precision`; normalisations and sums stay in float32.

    Until the outermost context ends, weights stay cast, unless not `cached`: a whole body beside a sharded one.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=cached)


def with_cast_matrices(module: nn.Module) -> nn.Module:
    """A module that never learns with the matrices of its products in bfloat16; changed in place.

    Autocast keeps what it has cast only of weights that learn, and turns all others into bfloat16 again at every pass:
    a sixth of the time of a layer over 300 tokens, a third over 28. The results are the same to the bit.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.to(torch.bfloat16)
    return module


class CastLayers:
    """Layers to run under autocast, with their matrices cast once; the layers themselves stay, to be saved."""

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._cast: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    def of(self, layer: nn.Module) -> nn.Module:
        """What to run in place of a layer: itself in float32 or where it learns, else a copy as `with_cast_matrices`.

        A layer is where it will run, and has the weights that it will have, when it is first asked for.
        """
        if self._precision == "float32" or any(weight.requires_grad for weight in layer.parameters()):
            return layer
        if layer not in self._cast:
            self._cast[layer] = with_cast_matrices(copy.deepcopy(layer))
        return self._cast[layer]


@cache
def product_rate(device: torch.device, precision: Precision, size: int = 1536, seconds: float = 0.1) -> float:
    """Operations a second of this machine's matrix products, measured once: the floor under the time of any model.

    Args:
        device: Where to multiply.
        precision: Number format.
        size: Rows and columns; large enough to reach the rate, small enough for a processor's cache.
        seconds: How long to try; the best of many products counts.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
