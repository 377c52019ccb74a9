"""The last layer of an encoder whose head reads the first token only: what it would do for the others is left out."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tamis.models.packing import Packing

BODIES = ("bert", "roberta", "xlm-roberta")
"""Model types whose heads read the first token, and whose layers have the form that is used here."""


def read_first_token_only(body: Any) -> None:
    """Let the last layer of a body of one of `BODIES` give the state of the first token alone; others stay as they are.

    The layer's tensors keep their names, so the model is saved as before.
    """
    if body.config.model_type in BODIES:
        layer = body.encoder.layer[-1]
        layer.forward = partial(first_token, layer)


def first_token(
    layer: Any, hidden: Tensor, attention_mask: Tensor | Packing | None = None, *_: Any, **__: Any
) -> Tensor:
    """A layer of BERT's form for the first token alone.

    Keys and values are needed of every token; the query, both dense layers and the normalisations of one. Of a layer's
    12 h² multiplications a token 2 h² are left.

    Args:
        layer: The layer.
        hidden: States below, [batch, tokens, hidden]; of a packed batch [1, tokens, hidden].
        attention_mask: Boolean or additive, [batch, 1, tokens or 1, tokens]; None for none; or how rows are packed.

    Returns:
        [batch, 1, hidden].
    """
    attention = layer.attention.self
    keys, values = attention.key(hidden), attention.value(hidden)

    def heads(projected: Tensor) -> Tensor:
        batch, tokens, _ = projected.shape
        return projected.view(batch, tokens, attention.num_attention_heads, -1).transpose(1, 2)

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask[:, :, :1]  # [batch, 1, 1, tokens]
        return nn.functional.scaled_dot_product_attention(
            heads(query), heads(key), heads(value), attn_mask=mask, scale=attention.scaling
        )

    if isinstance(attention_mask, Packing):
        first = hidden[0, attention_mask.starts][:, None]  # [rows, 1, hidden]
        query = attention.query(first)
        attended = torch.cat(
            [attend(query[g.rows], g.pad(keys[0]), g.pad(values[0]), g.bias) for g in attention_mask.groups]
        )
    else:
        first = hidden[:, :1]  # [batch, 1, hidden]
        attended = attend(attention.query(first), keys, values, attention_mask)  # [batch, heads, 1, width]
    seen = layer.attention.output(attended.transpose(1, 2).reshape(first.shape), first)
    state: Tensor = layer.output(layer.intermediate(seen), seen)
    return state
