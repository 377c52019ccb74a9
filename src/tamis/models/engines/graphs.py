"""A reranker as functions of tensors that can leave torch: what an engine compiles.

A classifier or a causal body is one graph, `model`: `input_ids` and `attention_mask` (and `token_type_ids` where the
body tells segments apart), padded on the right, give `logits` [pairs, 1].

A warm student is `model`, from the tokens of both texts to `logits`, and the same in two parts, so that a text that
stands in many pairs is read once:

    states    input_ids, attention_mask [texts, tokens] -> states [texts, tokens, hidden]
    joint     states and attention masks of queries and of documents -> logits [pairs, 1]

Each text is padded on the right by itself, so that of a pair padding stands between the texts, too: joint layers know
no positions, and what the mask hides is seen by nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tamis.models.encoder import mean_state, run_layer
from tamis.models.sequence import ClassifierModel, LastTokenModel, SequenceScorer
from tamis.models.warm import WarmCrossEncoder

HIDDEN = -1e9
"""Added to the attention to padding."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A function of tensors whose first two sizes are free.

    Attributes:
        name: `model`, `states` or `joint`.
        module: Computes it.
        example: Inputs by name; what is not one of the first two sizes holds for all inputs.
        output: Name of what comes out.
    """

    name: str
    module: nn.Module
    example: dict[str, Tensor]
    output: str

    def program(self) -> torch.export.ExportedProgram:
        """The operations, for any number of rows and tokens."""
        sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        module = self.module.eval()
        return torch.export.export(module, (), kwargs=self.example, dynamic_shapes=dict.fromkeys(self.example, sizes))


class SequenceModule(nn.Module):
    """The canonical form of every family but `warm`."""

    def __init__(self, model: LastTokenModel | ClassifierModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits [pairs, 1]."""
        if isinstance(self.model, ClassifierModel):
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                given["token_type_ids"] = token_type_ids
            logits: Tensor = self.model.classifier(**given).logits
            return logits
        scores: Tensor = self.model(input_ids, attention_mask.sum(1), attention_mask)  # [pairs]
        return scores[:, None]


class StatesModule(nn.Module):
    """The layers of a warm student that read each text alone."""

    def __init__(self, student: WarmCrossEncoder) -> None:
        super().__init__()
        body: Any = student.body
        self.embeddings = body.embeddings
        self.layers = nn.ModuleList(body.encoder.layer[: len(body.encoder.layer) - student.joint_layers])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """States [texts, tokens, hidden]."""
        hidden: Tensor = self.embeddings(input_ids=input_ids)
        bias = torch.zeros_like(attention_mask, dtype=hidden.dtype).masked_fill(attention_mask == 0, HIDDEN)
        for layer in self.layers:
            hidden = run_layer(layer, hidden, bias[:, None, None, :])  # [texts, tokens, hidden]
        return hidden


class JointModule(nn.Module):
    """The layers of a warm student that read both texts, and its head; see `tamis.models.warm`."""

    def __init__(self, student: WarmCrossEncoder) -> None:
        super().__init__()
        self.layers = student.joint
        self.cross_bias, self.matches = student.cross_bias, bool(student.match)
        self.scale, self.bias, self.match = student.scale, student.bias, student.match

    def forward(
        self, query_states: Tensor, query_mask: Tensor, document_states: Tensor, document_mask: Tensor
    ) -> Tensor:
        """Logits [pairs, 1]."""
        hidden = torch.cat([query_states, document_states], 1)  # [pairs, both texts' tokens, hidden]
        of_query = query_states.shape[1]
        bias = self._bias(query_mask, document_mask, hidden.dtype)
        for layer in self.layers:
            hidden = run_layer(layer, hidden, bias)
        query, document = hidden[:, :of_query], hidden[:, of_query:]
        cosine = torch.cosine_similarity(mean_state(query, query_mask), mean_state(document, document_mask))
        logits = cosine * self.scale + self.bias  # [pairs]
        if self.matches:
            logits = logits + _matched(query, query_mask, document, document_mask) * self.match
        return logits[:, None]

    def _bias(self, query_mask: Tensor, document_mask: Tensor, dtype: torch.dtype) -> Tensor:
        """As `WarmCrossEncoder._bias`: [pairs, 1, tokens, tokens]."""
        real = torch.cat([query_mask, document_mask], 1) != 0  # [pairs, tokens]
        in_query = torch.cat([torch.ones_like(query_mask), torch.zeros_like(document_mask)], 1)  # [pairs, tokens]
        other = (in_query[:, :, None] != in_query[:, None, :]).to(dtype) * self.cross_bias
        return other.masked_fill(~real[:, None, :], HIDDEN)[:, None]


class WholeWarmModule(nn.Module):
    """A warm student from tokens to logits."""

    def __init__(self, student: WarmCrossEncoder) -> None:
        super().__init__()
        self.states, self.joint = StatesModule(student), JointModule(student)

    def forward(self, query_ids: Tensor, query_mask: Tensor, document_ids: Tensor, document_mask: Tensor) -> Tensor:
        """Logits [pairs, 1]."""
        query, document = self.states(query_ids, query_mask), self.states(document_ids, document_mask)
        logits: Tensor = self.joint(query, query_mask, document, document_mask)
        return logits


def _matched(query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> Tensor:
    """Mean over the query's states of the cosine with the document's nearest state: [pairs]."""
    one, other = nn.functional.normalize(query, dim=-1), nn.functional.normalize(document, dim=-1)
    cosines = (one @ other.transpose(1, 2)).masked_fill(document_mask[:, None, :] == 0, -1.0)
    asked = query_mask.to(query.dtype)
    return (cosines.amax(2) * asked).sum(1) / asked.sum(1)


def sequence_graph(scorer: SequenceScorer) -> Graph:
    """The one graph of a reranker that reads a row of tokens a pair."""
    ids, mask = _tokens(7)
    example = {"input_ids": ids, "attention_mask": mask}
    if scorer.uses_types:
        example["token_type_ids"] = torch.zeros_like(ids)
    return Graph("model", SequenceModule(scorer.model), example, "logits")


def warm_graph(student: WarmCrossEncoder) -> Graph:
    """A warm student in one graph."""
    (query, query_mask), (document, document_mask) = _tokens(7), _tokens(11)
    example = {
        "query_ids": query,
        "query_mask": query_mask,
        "document_ids": document,
        "document_mask": document_mask,
    }
    return Graph("model", WholeWarmModule(student), example, "logits")


def warm_parts(student: WarmCrossEncoder) -> tuple[Graph, Graph]:
    """A warm student in two graphs, `states` and `joint`."""
    (ids, query_mask), (_, document_mask) = _tokens(7), _tokens(11)
    hidden = student.encoder.body.config.hidden_size
    example = {
        "query_states": torch.randn(*query_mask.shape, hidden),
        "query_mask": query_mask,
        "document_states": torch.randn(*document_mask.shape, hidden),
        "document_mask": document_mask,
    }
    return (
        Graph("states", StatesModule(student), {"input_ids": ids, "attention_mask": query_mask}, "states"),
        Graph("joint", JointModule(student), example, "logits"),
    )


def _tokens(length: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of three rows, the second one padded: int64 [3, length] each."""
    ids = torch.full((3, length), 5)
    mask = torch.ones_like(ids)
    mask[1, length - 2 :] = 0
    return ids, mask
