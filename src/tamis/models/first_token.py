"""The last layer of an encoder whose head reads the first token only: what it would do for the others is left out."""

from functools import partial
from typing import Any

from torch import Tensor, nn

BODIES = ("bert", "roberta", "xlm-roberta")
"""Model types whose heads read the first token, and whose layers have the form that is used here."""


def read_first_token_only(body: Any) -> None:
    """Let the last layer of a body of one of `BODIES` give the state of the first token alone; others stay as they are.

    The layer's tensors keep their names, so the model is saved as before.
    """
    if body.config.model_type in BODIES:
        layer = body.encoder.layer[-1]
        layer.forward = partial(first_token, layer)


def first_token(layer: Any, hidden: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """A layer of BERT's form for the first token alone.

    Keys and values are needed of every token; the query, both dense layers and the normalisations of one. Of a layer's
    12 h² multiplications a token 2 h² are left.

    Args:
        layer: The layer.
        hidden: States below, [batch, tokens, hidden].
        attention_mask: Boolean or additive, [batch, 1, tokens or 1, tokens]; None for none.

    Returns:
        [batch, 1, hidden].
    """
    attention = layer.attention.self
    first = hidden[:, :1]

    def heads(projected: Tensor) -> Tensor:
        batch, tokens, _ = projected.shape
        return projected.view(batch, tokens, attention.num_attention_heads, -1).transpose(1, 2)

    attended = nn.functional.scaled_dot_product_attention(
        heads(attention.query(first)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
        scale=attention.scaling,
    )
    seen = layer.attention.output(attended.transpose(1, 2).reshape(first.shape), first)
    state: Tensor = layer.output(layer.intermediate(seen), seen)
    return state
