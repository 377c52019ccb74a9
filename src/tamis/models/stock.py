"""The stock cross-encoder: one label on the first token. Every engine loads it; its head starts at random."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tamis.errors import ModelError
from tamis.models.encoder import Encoder
from tamis.models.precision import autocast
from tamis.models.serializer import Serializer


class StockCrossEncoder(nn.Module):
    """An `AutoModelForSequenceClassification` with one label; embeddings stay frozen."""

    head = "stock"

    def __init__(self, classifier: Any, tokenizer: Any, serializer: Serializer, encoder: Encoder) -> None:
        super().__init__()
        self.classifier = classifier.eval()
        self.classifier.requires_grad_(True)
        self.classifier.base_model.embeddings.requires_grad_(False)
        self.tokenizer = tokenizer
        self.serializer = serializer
        self.encoder = encoder
        special = tokenizer("", "")["input_ids"]  # what the tokenizer puts around and between two texts
        self.opening = torch.tensor(special[:1])
        self.between = torch.tensor(special[1:-1])
        self.closing = torch.tensor(special[-1:])

    @classmethod
    def start(cls, encoder: Encoder, serializer: Serializer, seed: int) -> "StockCrossEncoder":
        """A new classifier on a copy of an encoder's body; the head is drawn from `seed`."""
        from transformers import AutoModelForSequenceClassification

        config = copy.deepcopy(encoder.body.config)
        config.num_labels = 1
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            classifier = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa")
        classifier.base_model.load_state_dict(encoder.body.state_dict(), strict=False)
        return cls(classifier, encoder.tokenizer, serializer, encoder)

    def prepare_queries(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """Token ids of each query without special tokens: int64 [tokens] each."""
        return self._ids(texts, self.serializer.query_prefix, self.serializer.query_tokens, progress)

    def prepare_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """Token ids of each document without special tokens: int64 [tokens] each."""
        return self._ids(texts, self.serializer.document_prefix, self.serializer.document_tokens, progress)

    def _ids(
        self, texts: Sequence[str], prefix: str, limit: int, progress: Callable[[int], None] | None
    ) -> list[Tensor]:
        encoded = self.tokenizer([prefix + text for text in texts], add_special_tokens=False)["input_ids"]
        if progress:
            progress(len(texts))
        return [torch.tensor(ids[: limit - 2], dtype=torch.long) for ids in encoded]

    def forward(self, queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
        """Logits of pairs of prepared texts: float32 [pairs]."""
        features = self._pack(queries, documents)
        with autocast(self.classifier.device, self.encoder.precision):
            logits: Tensor = self.classifier(**features).logits
        return logits[:, 0].float()

    def _pack(self, queries: Sequence[Tensor], documents: Sequence[Tensor]) -> dict[str, Tensor]:
        """Pairs with the tokenizer's own special tokens, padded on the right: each [pairs, tokens]."""
        rows, types = [], []
        for query, document in zip(queries, documents, strict=True):
            first = torch.cat([self.opening, query, self.between])
            second = torch.cat([document, self.closing])
            rows.append(torch.cat([first, second]))
            types.append(torch.cat([torch.zeros_like(first), torch.ones_like(second)]))
        pad = nn.utils.rnn.pad_sequence
        lengths = torch.tensor([len(row) for row in rows])
        features = {
            "input_ids": pad(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id),
            "attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
        }
        if "token_type_ids" in self.tokenizer.model_input_names:
            features["token_type_ids"] = pad(types, batch_first=True)
        return {name: tensor.to(self.classifier.device) for name, tensor in features.items()}

    def trained(self) -> dict[str, Tensor]:
        """The tensors that training changes, by their names in the saved classifier."""
        return {n: p.detach().clone() for n, p in self.classifier.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def load_trained(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `trained` gave, or a merge of such."""
        own = {n: p for n, p in self.classifier.named_parameters() if p.requires_grad}
        if own.keys() != tensors.keys():
            raise ModelError(f"trained tensors do not fit this model: {sorted(own.keys() ^ tensors.keys())[0]!r}")
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
