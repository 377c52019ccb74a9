"""Which number format the heavy products run in; scores themselves are always float32."""

import time
from contextlib import AbstractContextManager
from functools import cache
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

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


def scoring_tokens(device: torch.device) -> int:
    """Tokens per forward pass that score fastest: as many as a processor's cache holds, or as fill a GPU."""
    return CPU_TOKENS if device.type == "cpu" else GPU_TOKENS


def autocast(device: torch.device, precision: Precision, cached: bool = True) -> AbstractContextManager[object]:
    """Run matrix products in `precision`; normalisations and sums stay in float32.

    Until the outermost context ends, weights stay cast, unless not `cached`: a whole body beside a sharded one.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=cached)


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
