"""One row of tokens in, one float32 logit out: the canonical form that every family becomes at loading."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tamis.models.attention import NAME, padding_bias, plain_packing
from tamis.models.batching import token_batches
from tamis.models.encoder import packed_embeddings, run_layer
from tamis.models.packing import pays
from tamis.models.precision import Precision
from tamis.models.rows import JoinedRows, Pair, TemplateRows, TokenRow


class LastTokenModel(nn.Module):
    """A causal body and a linear score, in float32, of the last token's state.

    Rows are padded on the right, where a causal body cannot look: no mask is built, and the score of a row is the same
    alone and beside longer ones.

    Attributes:
        packs: Rows are always padded: bodies of this kind bring attention of their own.
    """

    packs = False

    def __init__(self, body: Any, weight: Tensor, bias: float) -> None:
        super().__init__()
        # In the precision it was loaded in: transformers keeps in float32 what a router needs exact.
        self.body = body.eval()
        self.weight = nn.Parameter(weight.float())
        self.bias = bias

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.weight.device

    def forward(self, ids: Tensor, lengths: Tensor, second: Tensor) -> Tensor:
        """Logits of rows.

        Args:
            ids: int64 [rows, tokens], padded on the right.
            lengths: Real tokens of each row.
            second: Unused here.

        Returns:
            float32 [rows].
        """
        states = self.body(input_ids=ids, use_cache=False).last_hidden_state  # [rows, tokens, hidden]
        places = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[-1])  # [rows, 1, hidden]
        last: Tensor = states.gather(1, places)[:, 0].float()  # [rows, hidden]
        return last @ self.weight + self.bias


class ClassifierModel(nn.Module):
    """An encoder with a classification head of one label; the body may run in bfloat16, the head stays in float32.

    Attributes:
        classifier: transformers' model.
        uses_types: Whether it tells segments apart.
        precision: Number format of its matrix products.
    """

    def __init__(self, classifier: Any, uses_types: bool, precision: Precision) -> None:
        super().__init__()
        self.classifier = classifier.eval()
        self.uses_types = uses_types
        self.precision: Precision = precision
        # Our attention takes one row of mask per text; a whole matrix would be added in every layer.
        self.own_attention = classifier.config._attn_implementation == NAME

    @property
    def body(self) -> Any:
        """The transformer below the head."""
        return self.classifier.base_model

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        device: torch.device = self.classifier.device
        return device

    @property
    def packs(self) -> bool:
        """Whether rows can be scored without padding, by `packed`, and gain by it."""
        return self.own_attention and self.device.type == "cpu"

    def lower(self, level: float) -> None:
        """Take a level off every logit, in place, where the last layer of the head has a bias."""
        head = [
            m for name, m in self.classifier.named_modules() if not name.startswith(self.classifier.base_model_prefix)
        ]
        last = [module for module in head if isinstance(module, nn.Linear)][-1]
        if last.bias is not None:
            with torch.no_grad():
                last.bias.sub_(level)

    def forward(self, ids: Tensor, lengths: Tensor, second: Tensor) -> Tensor:
        """Logits of rows.

        Args:
            ids: int64 [rows, tokens], padded on the right.
            lengths: Real tokens of each row.
            second: Where the second segment of each row begins.

        Returns:
            float32 [rows].
        """
        place = torch.arange(ids.shape[1], device=ids.device)
        real = place < lengths[:, None]  # [rows, tokens]
        mask = padding_bias(real, self.precision) if self.own_attention else real.long()
        features = {"input_ids": ids, "attention_mask": mask}
        if self.uses_types:
            features["token_type_ids"] = ((place >= second[:, None]) & real).long()
        logits: Tensor = self.classifier(**features).logits  # [rows, 1]
        return logits[:, 0].to(torch.float32, copy=True)  # FSDP warns of views

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        """As `forward`, without padding; for bodies with our attention, whose last layer gives the first token alone.

        Args:
            rows: The longest first.

        Returns:
            float32 [rows].
        """
        body = self.classifier.base_model
        second = [row.second for row in rows] if self.uses_types else None
        hidden = packed_embeddings(body, [row.ids for row in rows], second)
        packing = plain_packing([row.length for row in rows], self.precision)
        for layer in body.encoder.layer:
            hidden = run_layer(layer, hidden, packing)
        first = hidden.float()
        pooler = getattr(body, "pooler", None)
        logits: Tensor = self.classifier.classifier(first if pooler is None else pooler(first))
        return logits[:, 0].float()


def halve_body(body: nn.Module) -> None:
    """Run a body in bfloat16 but for its pooler, and give its results in float32."""
    body.bfloat16()
    pooler = getattr(body, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.float()
        pooler.register_forward_pre_hook(lambda _, given: tuple(_single(value) for value in given))
    body.register_forward_hook(lambda _, __, output: type(output)({k: _single(v) for k, v in output.items()}))


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


class SequenceScorer:
    """Scores pairs with a model that reads one row of tokens a pair.

    Attributes:
        rows: How pairs become rows.
        model: What scores the rows.
        padding: The token to pad with.
        token_budget: Most tokens per forward pass; padding included, where there is any.
    """

    def __init__(
        self, rows: JoinedRows | TemplateRows, model: LastTokenModel | ClassifierModel, padding: int, token_budget: int
    ) -> None:
        self.rows = rows
        self.model = model.requires_grad_(False)
        self.padding = padding
        self.token_budget = token_budget

    @property
    def uses_types(self) -> bool:
        """Whether the body tells segments apart."""
        return isinstance(self.model, ClassifierModel) and self.model.uses_types

    def encode(
        self, pairs: Sequence[Pair], instruction: str | None = None, longest: int | None = None
    ) -> list[TokenRow]:
        """Rows of pairs; needs no model, so it can run beside it."""
        return self.rows.within(longest).rows(pairs, instruction)

    def logits(self, rows: Sequence[TokenRow], most: int | None = None) -> np.ndarray:
        """float32 [rows], in their order; `most` rows per forward pass, None for as many as the budget holds."""
        values = np.empty(len(rows), np.float32)
        lengths = [row.length for row in rows]
        for batch in token_batches(lengths, self.token_budget, padded=not self.model.packs, most=most):
            with torch.inference_mode():
                values[batch] = self._batch_logits([rows[i] for i in batch]).cpu().numpy()
        return values

    def _batch_logits(self, rows: Sequence[TokenRow]) -> Tensor:
        model = self.model
        if isinstance(model, ClassifierModel) and model.packs and pays([row.length for row in rows]):
            return model.packed(rows)
        ids, lengths, second = (tensor.to(model.device) for tensor in padded(rows, self.padding))
        logits: Tensor = model(ids, lengths, second)
        return logits


def padded(rows: Sequence[TokenRow], padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows as one batch: ids int64 [rows, tokens] padded on the right, real lengths, starts of the second segments."""
    lengths = torch.tensor([len(row.ids) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), padding, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.from_numpy(row.ids)
    return ids, lengths, torch.tensor([row.second for row in rows])
