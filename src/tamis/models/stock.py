"""The stock cross-encoder: one label on the first token. Every engine loads it; its head starts at random."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tamis.models.encoder import Encoder
from tamis.models.precision import autocast
from tamis.models.rows import keep, special_tokens
from tamis.models.serializer import Joined
from tamis.models.trained import take_over


class StockCrossEncoder(nn.Module):
    """An `AutoModelForSequenceClassification` with one label; embeddings stay frozen.

    Other engines know one limit for the whole pair and cut the longer text. So does this class, or their scores of long
    documents would differ.

    Attributes:
        limit: Most tokens of a pair.
        room: Most tokens of both texts together, without special tokens.
    """

    def __init__(self, classifier: Any, tokenizer: Any, serializer: Joined, encoder: Encoder) -> None:
        super().__init__()
        self.classifier = classifier.eval()
        self.classifier.requires_grad_(True)
        self.classifier.base_model.embeddings.requires_grad_(False)
        self.tokenizer = tokenizer
        self.encoder = encoder
        special = special_tokens(tokenizer)
        self.limit = min(serializer.max_tokens, encoder.positions)
        self.serializer = replace(serializer, max_tokens=self.limit)
        self.room = self.limit - sum(map(len, special))
        self.opening, self.between, self.closing = (torch.from_numpy(ids).long() for ids in special)

    @classmethod
    def start(cls, encoder: Encoder, serializer: Joined, seed: int) -> "StockCrossEncoder":
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
        return self._ids(texts, self.serializer.query_prefix, progress)

    def prepare_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """Token ids of each document without special tokens: int64 [tokens] each."""
        return self._ids(texts, self.serializer.document_prefix, progress)

    def _ids(self, texts: Sequence[str], prefix: str, progress: Callable[[int], None] | None) -> list[Tensor]:
        if not texts:
            return []
        encoded = self.tokenizer(
            [prefix + text for text in texts], add_special_tokens=False, truncation=True, max_length=self.room
        )["input_ids"]
        if progress:
            progress(len(texts))
        return [torch.tensor(ids, dtype=torch.long) for ids in encoded]

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
            of_query, of_document = keep(len(query), len(document), self.room)
            first = torch.cat([self.opening, query[:of_query], self.between])
            second = torch.cat([document[:of_document], self.closing])
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

    def load_trained(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `trained` gave, or a merge of such."""
        take_over({n: p for n, p in self.classifier.named_parameters() if p.requires_grad}, tensors)
