"""Attention for processors: in bfloat16 two matrix products beat the fused kernel, for learning and for short rows.

torch's fused attention for processors keeps nothing for the way back and computes it anew in a kernel that runs at a
tenth of the matrix-product rate: a training step of the warm student spends 43 % of its time there. Laid out as two
products it takes less than half (32 pairs of 180 tokens, 12 heads: 53 ms instead of 129, forward and backward). Forward
alone they win up to about 190 tokens (4,096 tokens in rows of 128: 6.4 ms instead of 10.1; in rows of 256: 16 instead
of 15). In float32, for longer rows and on accelerators the fused kernel is kept.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tamis.models.packing import Packing
from tamis.models.precision import Precision

NAME = "tamis"
"""What `attn_implementation` is called with."""


SHORT = 192
"""Most tokens of a row for which two products are the faster way without gradients."""


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | Packing | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention with an additive bias, in the form that transformers calls.

    Args:
        module: The layer, unused.
        query: [batch, heads, tokens, width]; key and value likewise.
        key: See `query`.
        value: See `query`.
        bias: Added to the scaled products, broadcastable to [batch, heads, tokens, tokens]; None for none. A packing,
            where the batch is one long row: each of its rows is then read by itself.
        scaling: Factor of the products, before the bias.
        kwargs: What else transformers passes on; there is no dropout here.

    Returns:
        [batch, tokens, heads, width], and no weights.
    """
    if not isinstance(bias, Packing):
        return _attended(query, key, value, bias, scaling).contiguous(), None
    found = []
    for group in bias.groups:
        queries, keys, values = (group.pad(one.transpose(1, 2)[0]).transpose(1, 2) for one in (query, key, value))
        found.append(group.unpad(_attended(queries, keys, values, group.bias, scaling)))
    return torch.cat(found)[None], None  # [1, tokens, heads, width]


def _attended(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scaling: float) -> Tensor:
    """[batch, heads, tokens, width] each to [batch, tokens, heads, width]."""
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and _two_products_are_faster(query, bias):
        attended = _two_products(query * scaling, key, value, bias)
    else:
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scaling)
    return attended.transpose(1, 2)


def _two_products_are_faster(query: Tensor, bias: Tensor | None) -> bool:
    if bias is not None and bias.dtype == torch.bool:
        return False
    if torch.is_grad_enabled() and query.requires_grad:
        return True
    return (bias is None or bias.shape[2] == 1) and query.shape[2] <= SHORT


def _two_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    batch, heads, tokens, width = query.shape
    rows = batch * heads
    queries, keys = query.reshape(rows, tokens, width), key.reshape(rows, tokens, width)  # [rows, tokens, width]
    if bias is None:
        weights = torch.bmm(queries, keys.mT)  # [rows, tokens, tokens]
    elif bias.shape[2] == 1:
        weights = (torch.bmm(queries, keys.mT).view(batch, heads, tokens, tokens) + bias).view(rows, tokens, tokens)
    else:
        of_rows = bias.to(query.dtype).expand(batch, heads, tokens, tokens).reshape(rows, tokens, tokens)
        weights = torch.baddbmm(of_rows, queries, keys.mT)
    attended = torch.bmm(torch.softmax(weights, dim=-1), value.reshape(rows, tokens, width))  # [rows, tokens, width]
    return attended.view(batch, heads, tokens, width)


def padding_bias(real: Tensor, precision: Precision) -> Tensor | None:
    """Additive attention bias [batch, 1, 1, tokens] that hides padding; None where there is none (a faster path)."""
    if bool(real.all()):
        return None
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill(~real, -1e9)[:, None, None, :]


def plain_packing(lengths: Sequence[int], precision: Precision) -> Packing:
    """A packing of rows each of which sees all of itself."""
    own = torch.tensor(lengths)[:, None]  # [rows, 1]
    return Packing(lengths, lambda rows, longest: padding_bias(torch.arange(longest) < own[rows], precision))


def register_attention() -> str:
    """Make the attention known to transformers; returns the name to load models with."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
