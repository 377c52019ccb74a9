"""The bi-encoder: a BERT-like body read from an ordinary Hugging Face folder, run layer by layer."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.errors import ModelError
from tamis.models.attention import NAME, padding_bias, plain_packing, register_attention
from tamis.models.batching import token_batches
from tamis.models.folders import check_folder, check_tokenizer, refuse_adapter
from tamis.models.packing import Packing, pays
from tamis.models.padding import padding_id
from tamis.models.positions import give_padding, position_limit
from tamis.models.precision import CastLayers, Precision, autocast
from tamis.models.shared_tokenizers import load_tokenizer

BODIES = ("bert", "roberta", "xlm-roberta")
"""Model types whose layers can be run one by one."""


class Encoder:
    """A frozen encoder body with its tokenizer.

    Attributes:
        body: The transformers model, in evaluation mode, without gradients.
        tokenizer: Its tokenizer.
        layers: Number of transformer layers.
        precision: Number format of the matrix products.
        token_budget: Most tokens per forward pass, padding included.
        padding: The token that fills rows up.
        positions: Most tokens of one text that the body has positions for.
    """

    def __init__(self, body: Any, tokenizer: Any, precision: Precision = "float32", token_budget: int = 8192) -> None:
        self.body = body.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.layers = len(body.encoder.layer)
        self.precision: Precision = precision
        self.token_budget = token_budget
        self.padding = padding_id(tokenizer, body)
        self.positions: int = position_limit(body) or tokenizer.model_max_length
        self._cast = CastLayers(precision)

    @classmethod
    def load(cls, path: str | Path, precision: Precision = "float32", token_budget: int = 8192) -> "Encoder":
        """Load from a Hugging Face folder or hub name; safetensors only, no code of the checkpoint is run.

        Raises:
            ModelError: no such folder, an unknown body, or weights that are missing or broken.
        """
        from transformers import AutoConfig, AutoModel

        check_folder(path)
        with loading(path, "an encoder"):
            refuse_adapter(path)
            check_tokenizer(path)
            config = AutoConfig.from_pretrained(path, trust_remote_code=False)
            if config.model_type not in BODIES:
                raise ModelError(f"{path}: model type {config.model_type!r} is not one of {', '.join(BODIES)}")
            tokenizer = load_tokenizer(path)
            give_padding(config, tokenizer)
            body, report = AutoModel.from_pretrained(
                path,
                config=config,
                add_pooling_layer=False,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation=register_attention(),
                dtype=torch.float32,
                output_loading_info=True,
            )
            refuse_missing(path, report["missing_keys"])
            return cls(body, tokenizer, precision, token_budget)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        device: torch.device = self.body.device
        return device

    @property
    def packs(self) -> bool:
        """Whether the layers can read a batch without padding, and gain by it, see `tamis.models.packing`."""
        return bool(self.body.config._attn_implementation == NAME) and self.device.type == "cpu"

    def with_own_layers(self) -> "Encoder":
        """This encoder with a copy of its layers. The embeddings are shared: most of the weights, and always frozen."""
        body = copy.deepcopy(self.body, {id(self.body.embeddings): self.body.embeddings})
        return Encoder(body, self.tokenizer, self.precision, self.token_budget)

    def tokenise(self, texts: Sequence[str], prefix: str, max_tokens: int) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut at the end to `max_tokens` or `positions`."""
        return [encoding.ids for encoding in self.encodings(texts, prefix, max_tokens)]

    def encodings(self, texts: Sequence[str], prefix: str, max_tokens: int) -> list[Any]:
        """As `tokenise`, but the tokenizers library's own records, which also know what was cut."""
        return encodings(self.tokenizer, texts, prefix, min(max_tokens, self.positions))

    @torch.no_grad()
    def states(
        self, token_ids: Sequence[Sequence[int]], layers: int, progress: Callable[[int], None] | None = None
    ) -> list[Tensor]:
        """Hidden states after the first `layers` layers.

        Args:
            token_ids: Token ids of each text.
            layers: 0 (embeddings) to `self.layers`.
            progress: Called with the number of finished texts after each batch.

        Returns:
            One tensor [tokens, hidden] per text, in bfloat16 where that is the precision, in input order.
        """
        states: list[Tensor] = [torch.empty(0)] * len(token_ids)
        for batch in token_batches([len(ids) for ids in token_ids], self.token_budget):
            for index, found in zip(batch, self._batch_states([token_ids[i] for i in batch], layers), strict=True):
                states[index] = found.clone()  # a view would keep the whole batch
            if progress:
                progress(len(batch))
        return states

    def _batch_states(self, rows: Sequence[Sequence[int]], layers: int) -> list[Tensor]:
        """As `states`, of one batch, the longest row first; views of one tensor."""
        lengths = [len(row) for row in rows]
        if self.packs and pays(lengths):
            packing = plain_packing(lengths, self.precision)
            hidden = self.run_layers(packed_embeddings(self.body, rows), packing, 0, layers)  # [1, tokens, hidden]
            return list(torch.split(hidden[0], lengths))  # [tokens, hidden] each
        ids, real = right_padded(rows, self.padding, self.device)
        hidden = self.run_layers(self.body.embeddings(ids), padding_bias(real, self.precision), 0, layers)
        return [states[:length] for states, length in zip(hidden, lengths, strict=True)]

    def run_layers(self, hidden: Tensor, bias: Tensor | Packing | None, first: int, end: int) -> Tensor:
        """Hidden states of a batch after the layers from `first` to before `end`, with gradients if any learns.

        Args:
            hidden: States before `first`, [texts, tokens, hidden]; of a packed batch [1, tokens, hidden].
            bias: What hides padding, see `padding_bias`, or how the texts are packed.
            first: The first layer, counted from 0.
            end: The layer before which to stop.

        Returns:
            Of the shape of `hidden`, in bfloat16 where that is the precision.
        """
        with autocast(self.device, self.precision):
            for layer in self.body.encoder.layer[first:end]:
                hidden = run_layer(self._cast.of(layer), hidden, bias)
        return hidden.to(torch.bfloat16 if self.precision == "bfloat16" else torch.float32)

    def embed(
        self,
        texts: Sequence[str],
        prefix: str,
        max_tokens: int,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """L2-normalised mean of the last layer's states.

        Returns:
            float32 [texts, hidden], rows of norm 1.
        """
        states = self.states(self.tokenise(texts, prefix, max_tokens), self.layers, progress)
        if not states:
            return np.zeros((0, self.body.config.hidden_size), np.float32)
        means = torch.stack([state.float().mean(0) for state in states])  # [texts, hidden]
        vectors: np.ndarray = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
        return vectors


def encodings(tokenizer: Any, texts: Sequence[str], prefix: str, max_tokens: int) -> list[Any]:
    """The tokenizers library's records of texts, special tokens included, cut at the end; see `Encoder.encodings`."""
    if not texts:
        return []
    encoded = tokenizer([prefix + text for text in texts], truncation=True, max_length=max_tokens)
    found: list[Any] = encoded.encodings
    return found


def right_padded(rows: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids of a batch, padded on the right, and which of them are real: [rows, tokens] each."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(longest, device=device) < lengths[:, None]


def mean_state(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of a mask: float32 [rows, tokens, hidden] to [rows, hidden]."""
    weights = mask.float()[:, :, None]  # [rows, tokens, 1]
    return (states * weights).sum(1) / weights.sum(1)


def packed_embeddings(
    body: Any, rows: Sequence[Sequence[int] | np.ndarray], second: Sequence[int] | None = None
) -> Tensor:
    """Embeddings of rows of token ids, one after the other, each with positions of its own: [1, tokens, hidden].

    Args:
        body: A body of one of the classes in `BODIES`.
        rows: Token ids.
        second: Where the second segment of each row begins; None for one segment.
    """
    padding = body.embeddings.position_embeddings.padding_idx
    ids, positions, types = [], [], []
    for number, row in enumerate(rows):
        own = torch.as_tensor(row, dtype=torch.long)
        place = torch.arange(len(own))
        ids.append(own)
        types.append((place >= second[number]).long() if second else torch.zeros_like(own))
        if padding is not None:  # RoBERTa counts from the position after padding's own, and does not count padding
            real = (own != padding).long()
            place = real.cumsum(0) * real + padding
        positions.append(place)
    given = (torch.cat(parts)[None] for parts in (ids, types, positions))  # [1, tokens] each
    embedded: Tensor = body.embeddings(**dict(zip(("input_ids", "token_type_ids", "position_ids"), given, strict=True)))
    return embedded


def run_layer(layer: Any, hidden: Tensor, bias: Tensor | Packing | None) -> Tensor:
    """One transformer layer; [batch, tokens, hidden], of packed rows [1, tokens, hidden], to the same shape."""
    output = layer(hidden, attention_mask=bias)
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


@contextmanager
def loading(path: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a loader raises into a `ModelError` of one line that names the folder.

    transformers' report of tensors that it does not use is silenced: every loader checks for itself.
    """
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except ModelError as error:
        raise error if str(path) in str(error) else ModelError(f"{path}: {error}") from None
    except Exception as error:  # transformers, tokenizers and safetensors: each has errors of its own, some plain ones
        raise ModelError(f"{path}: cannot be loaded as {what}: {' '.join(str(error).split())[:300]}") from None
    finally:
        logging.set_verbosity(verbosity)


def refuse_missing(path: str | Path, missing: Iterable[str]) -> None:
    """Refuse weights that transformers would make up at random.

    Raises:
        ModelError: names the first of the missing tensors.
    """
    for name in sorted(missing):
        raise ModelError(f"{path}: the checkpoint lacks the tensor {name!r}; it would be random")
