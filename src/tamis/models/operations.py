"""Counting what a model computes, so that its speed can be set against the machine's rate of matrix products."""

from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode

_aten: Final[Any] = torch.ops.aten


def _forward(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """Operations of both products of attention; keys may have fewer heads than queries."""
    batch, heads, tokens, width = query
    return 2 * batch * heads * tokens * key[2] * (width + value[3])


def _backward(_slope: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """The scores anew, and the slopes of scores, queries, keys and values: five products for two."""
    return _forward(query, key, value) * 5 // 2


ATTENTION: Final = {
    getattr(_aten, f"_scaled_dot_product_{kernel}{way}"): count
    for kernel in ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
    for way, count in (("", _forward), ("_backward", _backward))
}
"""torch refuses to count attention whose keys have fewer heads than its queries, and overlooks that of processors."""


def operation_counter() -> FlopCounterMode:
    """A context that counts the floating point operations of matrix products and attention within it."""
    return FlopCounterMode(display=False, custom_mapping=ATTENTION)
