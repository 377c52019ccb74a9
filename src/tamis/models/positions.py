"""How long a row a body can read: what its tokenizer and configuration say, and what its table of positions holds."""

from typing import Any

from torch import nn

from tamis.errors import ModelError

TABLES = ("position_embeddings", "embed_positions", "positions_embed", "wpe")
"""What transformers calls the table in which a body looks positions up; bodies that compute them have none."""

NO_LIMIT = 1_000_000
"""From here on a limit says that there is none: a tokenizer that knows none says 10^30."""


def give_padding(config: Any, tokenizer: Any) -> None:
    """Give a configuration that names no padding token the tokenizer's, in place.

    Some bodies count positions from the one after the padding token's id, and cannot be run without it.
    """
    if getattr(config, "pad_token_id", None) is None and tokenizer.pad_token_id is not None:
        config.pad_token_id = tokenizer.pad_token_id


def position_limit(body: nn.Module) -> int | None:
    """Most tokens of a row that a body has positions for; None where it computes them and knows no end.

    A table that has a padding row is counted from the row after it, one with an offset from there, others from 0.

    Raises:
        ModelError: positions are counted from the padding token, and nothing says which one that is.
    """
    limits = []
    for name, module in body.named_modules():
        table = getattr(module, "weight", None)
        holder, _, own = name.rpartition(".")
        if own not in TABLES or table is None:
            continue
        padding = getattr(module, "padding_idx", None)
        if padding is None and getattr(body.get_submodule(holder), "padding_idx", 0) is None:
            raise ModelError(
                "this body counts positions from its padding token, but neither config.json (pad_token_id) nor the "
                "tokenizer names one; add pad_token_id to config.json"
            )
        limits.append(len(table) - (int(getattr(module, "offset", 0)) if padding is None else padding + 1))
    if limits:
        limits += _positive(getattr(getattr(body, "config", None), "max_position_embeddings", None))
    return min(limits, default=None)


def longest_row(body: Any, tokenizer: Any) -> int | None:
    """Most tokens of a row that tokenizer, configuration and table of positions allow; None where none of them says."""
    said = (
        tokenizer.model_max_length,
        getattr(body.config.get_text_config(), "max_position_embeddings", None),
        position_limit(body),
    )
    return min((limit for one in said for limit in _positive(one)), default=None)


def _positive(limit: Any) -> list[int]:
    """A limit that is one: some configurations say -1, some tokenizers 10^30."""
    return [int(limit)] if limit is not None and 0 < limit < NO_LIMIT else []
