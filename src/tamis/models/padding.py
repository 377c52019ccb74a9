"""The token that fills rows up in a checkpoint that others load: they need one, and some find a row's end by it.

transformers' causal classifiers read the last token that is not the padding token, so a row must not end with it.
"""

import copy
from typing import Any

import torch

from tamis.models.rows import plain_backend, special_tokens
from tamis.models.serializer import Joined, PairTemplate

NEW = "<|padding|>"
"""What the token is called where a tokenizer has none that can be taken."""


def padded_tokenizer(tokenizer: Any, end: int | None) -> Any:
    """A copy of a tokenizer that pads on the right, with another token than the one at which every row ends.

    The tokenizer's own padding token stays where it will do; else another special token is taken, or a new one added.

    Args:
        tokenizer: Of the checkpoint.
        end: See `row_end`; None where any token will do.
    """
    ready = copy.deepcopy(tokenizer)
    ready.padding_side = "right"
    if ready.pad_token_id is None or ready.pad_token_id == end:
        taken = _special_tokens(ready, end)
        ready.add_special_tokens({"pad_token": taken[0] if taken else NEW})
    return ready


def padding_id(tokenizer: Any, body: Any) -> int:
    """The token that fills rows up where a body does not look.

    It is the tokenizer's own, or the first one where it has none, or one that was added without a row in the body's
    table.
    """
    return usable_padding(tokenizer, len(body.get_input_embeddings().weight))


def usable_padding(tokenizer: Any, tokens: int) -> int:
    """As `padding_id`, of a body whose table has rows for so many tokens."""
    own = tokenizer.pad_token_id
    return own if own is not None and 0 <= own < tokens else 0


def give_row(model: Any, token: int) -> None:
    """Make the embeddings of a transformers model hold a token, in place: new rows are zero."""
    before = model.get_input_embeddings().num_embeddings
    if token >= before:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            model.resize_token_embeddings(token + 1, mean_resizing=False)
            model.get_input_embeddings().weight[before:] = 0
    # Of a body that was saved before, the table has the row and the configuration does not say so.
    model.config.get_text_config().vocab_size = max(before, token + 1)


def row_end(tokenizer: Any, serializer: Joined | PairTemplate, unread: int | None) -> int | None:
    """The token at which every row ends and a causal body is read; None where it is one of the document's.

    Args:
        tokenizer: Of the checkpoint.
        serializer: How texts become a row.
        unread: The padding token of the checkpoint's configuration: a row of two joined texts is read before it.
    """
    if isinstance(serializer, PairTemplate):
        ids = plain_backend(tokenizer).encode(serializer.suffix, add_special_tokens=False).ids
    else:
        ids = [token for token in special_tokens(tokenizer)[2].tolist() if token != unread]
    return int(ids[-1]) if ids else None


def _special_tokens(tokenizer: Any, end: int | None) -> list[str]:
    """Special tokens that can pad, the best first: named for it, then what no text holds, the unknown one last."""
    named = [tokenizer.eos_token, tokenizer.bos_token]
    known = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for token in (*named, tokenizer.unk_token):
        if token is not None:
            known[tokenizer.convert_tokens_to_ids(token)] = token
    known.pop(end if end is not None else -1, None)

    def order(number: int) -> tuple[bool, bool, bool, int]:
        token = known[number]
        return "pad" not in token.lower(), token == tokenizer.unk_token, token not in named, number

    return [known[number] for number in sorted(known, key=order)]
