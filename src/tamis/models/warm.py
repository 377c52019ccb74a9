"""The warm cross-encoder: it starts as its bi-encoder and opens the view between query and document gently.

Query and document keep their own prefix, special tokens and positions. The lower layers read each alone, so their
work is done once per text and shared by all pairs. In the last `joint_layers` every token sees both texts, with
`cross_bias` added to the attention between them: at -inf it is the bi-encoder, at 0 plain joint attention, which
without training mixes the two means until they say nothing (docs/log.md). The score is, in float32,

    logit = scale * cosine(mean of the query's states, mean of the document's states)
          + match * mean over the query's states of (cosine with the document's nearest state)
          + bias

The second term is late interaction (ColBERT's MaxSim, arXiv:2004.12832) on states that have seen both texts: a mean
tells what a text is about, the nearest states tell whether each word of the query is answered. It has no weights of
its own either.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from tamis.errors import ModelError
from tamis.models.attention import padding_bias
from tamis.models.encoder import Encoder, mean_state, run_layer
from tamis.models.packing import Packing, pays
from tamis.models.precision import CastLayers, Precision, autocast
from tamis.models.serializer import Apart
from tamis.models.trained import take_over

LEARNING_MULTIPLE: Final = 16
"""Rows that are learnt from on a processor are padded to a multiple of so many tokens."""


class WarmCrossEncoder(nn.Module):
    """Cosine of the two mean vectors of a gently joint encoding, and how well each state of the query is matched.

    Attributes:
        encoder: The body; its last `joint_layers` are replaced by the trained copies in `joint`.
        joint: The joint layers, which learn.
        apart_layers: How many layers below them learn too; prepared are the states below those.
        scale: Learnt factor of the cosine.
        match: Learnt factor of the mean of the query's best matches; 0, and never learnt, where it starts at 0.
        bias: Learnt offset; does not change the order, sets where the published score is 0.5.
        experts: Bodies of experts have no warm head.
        sharded: Its trained layers are few: every process holds them whole.
    """

    experts = None
    sharded = False

    def __init__(
        self,
        encoder: Encoder,
        serializer: Apart,
        joint_layers: int,
        cross_bias: float,
        scale: float,
        bias: float,
        match: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= joint_layers <= encoder.layers:
            raise ModelError(f"joint_layers is {joint_layers}, expected 1 to {encoder.layers} for this encoder")
        self.encoder = encoder
        self.body = encoder.body  # registered, so that moving this module to a device moves the body too
        self.serializer = serializer
        self.joint_layers = joint_layers
        self.cross_bias = cross_bias
        lower = encoder.layers - joint_layers
        self.joint = nn.ModuleList(copy.deepcopy(layer) for layer in encoder.body.encoder.layer[lower:])
        self.joint.requires_grad_(True)
        self._cast = CastLayers(encoder.precision)
        self.apart_layers = 0
        self.scale = nn.Parameter(torch.tensor(scale))
        self.bias = nn.Parameter(torch.tensor(bias))
        self.match = nn.Parameter(torch.tensor(match), requires_grad=match != 0)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.scale.device

    @property
    def precision(self) -> Precision:
        """Number format of the matrix products."""
        return self.encoder.precision

    def learn_apart(self, layers: int) -> None:
        """Let layers below the joint ones learn too, in copies of this student's own; embeddings never do.

        Raises:
            ModelError: there are not so many.
        """
        lower = self._lower
        if layers > lower:
            raise ModelError(f"apart_layers is {layers}, expected at most {lower}: the layers below the joint ones")
        self.encoder = self.encoder.with_own_layers()
        self.body = self.encoder.body
        self.body.encoder.layer[lower - layers : lower].requires_grad_(True)
        self.apart_layers = layers

    def prepare_queries(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """States of each query below the layers that learn: [tokens, hidden] each."""
        ids = self.encoder.tokenise(texts, self.serializer.query_prefix, self.serializer.query_tokens)
        return self.encoder.states(ids, self._frozen, progress)

    def prepare_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """States of each document below the layers that learn: [tokens, hidden] each."""
        ids = self.encoder.tokenise(texts, self.serializer.document_prefix, self.serializer.document_tokens)
        return self.encoder.states(ids, self._frozen, progress)

    @property
    def _lower(self) -> int:
        """Layers below the joint ones."""
        return self.encoder.layers - self.joint_layers

    @property
    def _frozen(self) -> int:
        """Layers that never change, from the bottom."""
        return self._lower - self.apart_layers

    def encodings(self, texts: Sequence[str], prefix: str, max_tokens: int) -> list[Any]:
        """Records of tokenised texts, see `Encoder.encodings`."""
        return self.encoder.encodings(texts, prefix, max_tokens)

    def read(self, token_ids: Sequence[Sequence[int]], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """States of tokenised texts below the joint layers: [tokens, hidden] each."""
        return self.encoder.states(token_ids, self._lower, progress)

    def padded_length(self, longest: int) -> int:
        """Tokens of the rows of a batch whose longest pair has `longest`: a few more while a processor learns.

        oneDNN makes a kernel for every product of a new shape. Of few shapes a step takes a sixth less time and memory,
        with some 3 % of padding more (docs/log.md).
        """
        few = self.device.type == "cpu" and torch.is_grad_enabled()
        return -(-longest // LEARNING_MULTIPLE) * LEARNING_MULTIPLE if few else longest

    def forward(self, queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
        """Logits of pairs of prepared texts.

        Args:
            queries: What `prepare_queries` gave for the query of each pair.
            documents: What `prepare_documents` gave for the document of each pair.

        Returns:
            float32 [pairs], unbounded.
        """
        hidden, in_query, in_document = self._read_jointly(queries, documents)
        cosine = torch.cosine_similarity(mean_state(hidden, in_query), mean_state(hidden, in_document))
        logits: Tensor = cosine * self.scale + self.bias  # [pairs]
        return logits + _best_matches(hidden, in_query, in_document) * self.match if self.match else logits

    def _read_jointly(self, queries: Sequence[Tensor], documents: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """States of pairs after the joint layers, float32 [pairs, tokens, hidden], and two masks, see `_masks`."""
        lengths = [len(query) + len(document) for query, document in zip(queries, documents, strict=True)]
        if self.encoder.packs and not self.apart_layers and pays(lengths):
            return self._read_packed(queries, documents, lengths)
        in_query, in_document = _masks(queries, documents, self.padded_length(max(lengths)), self.device)
        pad = self._read_and_pad if self.apart_layers else _pad
        hidden = pad(queries, documents, in_query, in_document)
        bias = self._bias(in_query, in_document, hidden.dtype)
        return self._run_joint(hidden, bias), in_query, in_document

    def _read_packed(
        self, queries: Sequence[Tensor], documents: Sequence[Tensor], lengths: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Like `_read_jointly`, with the layers run without padding."""
        in_query, in_document = _masks(queries, documents, max(lengths), self.device)
        hidden = _in_one_row(queries, documents)[None]

        def bias(rows: slice, longest: int) -> Tensor:
            return self._bias(in_query[rows, :longest], in_document[rows, :longest], hidden.dtype)

        states = self._run_joint(hidden, Packing(lengths, bias))[0]  # [all, hidden]
        rows = nn.utils.rnn.pad_sequence(list(torch.split(states, lengths)), batch_first=True)  # [pairs, tokens, h]
        return rows, in_query, in_document

    def _run_joint(self, hidden: Tensor, bias: Tensor | Packing) -> Tensor:
        """States after the joint layers, of the shape of `hidden`, in float32."""
        with autocast(hidden.device, self.precision):
            for layer in self.joint:
                hidden = run_layer(self._cast.of(layer), hidden, bias)
        return hidden.float()

    def _read_and_pad(
        self, queries: Sequence[Tensor], documents: Sequence[Tensor], in_query: Tensor, in_document: Tensor
    ) -> Tensor:
        """As `_pad`, after the layers below that learn; a text that stands in several pairs is read once."""
        device = in_query.device
        query_states, query_start = self._read_once(queries, device)
        document_states, document_start = self._read_once(documents, device)
        states = torch.cat([query_states, document_states])  # [places, hidden]
        query_end, end = in_query.sum(1, keepdim=True), (in_query | in_document).sum(1, keepdim=True)  # [pairs, 1]
        # Padding repeats the document's last token: it is hidden, and no state stands in more places than it must.
        place = torch.arange(in_query.shape[1], device=device).minimum(end - 1)  # [pairs, tokens]
        in_documents = len(query_states) + document_start[:, None] + place - query_end  # [pairs, tokens]
        return states[torch.where(in_query, query_start[:, None] + place, in_documents)]  # [pairs, tokens, hidden]

    def _read_once(self, texts: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
        """States of all different texts below the joint layers, padding between them, and where each text begins."""
        different = {id(text): text for text in texts}
        rows = list(different.values())
        hidden = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)  # [texts, longest, hidden]
        lengths = torch.tensor([len(row) for row in rows])[:, None]  # [texts, 1]
        real = (torch.arange(hidden.shape[1]) < lengths).to(device)  # [texts, longest]
        hidden = self.encoder.run_layers(hidden, padding_bias(real, self.precision), self._frozen, self._lower)
        row_of = {key: number for number, key in enumerate(different)}
        start = torch.tensor([row_of[id(text)] for text in texts]).to(device) * hidden.shape[1]  # [pairs]
        return hidden.flatten(0, 1), start  # [texts × longest, hidden], [pairs]

    def _bias(self, in_query: Tensor, in_document: Tensor, dtype: torch.dtype) -> Tensor:
        """Additive attention bias [pairs, 1, tokens, tokens]: padding hidden, the other text dimmed."""
        other = in_query[:, :, None] != in_query[:, None, :]  # [pairs, tokens, tokens]
        bias = torch.zeros(other.shape, dtype=dtype, device=other.device).masked_fill_(other, self.cross_bias)
        return bias.masked_fill_(~(in_query | in_document)[:, None, :], -1e9)[:, None]

    def trained(self) -> dict[str, Tensor]:
        """The tensors that training changes, [as in the model], by their names in the saved body and of the head."""
        return {name: tensor.detach().clone() for name, tensor in self._own().items()}

    def load_trained(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `trained` gave, [as in the model], or a merge of such."""
        take_over(self._own(), tensors)

    def lower(self, level: float) -> None:
        """Take a level off every logit, in place: where it was, the published score is one half; the order stays."""
        with torch.no_grad():
            self.bias.sub_(level)

    def _own(self) -> dict[str, Tensor]:
        apart = self.body.encoder.layer[self._frozen : self._lower]
        tensors: dict[str, Tensor] = {"scale": self.scale, "bias": self.bias, "match": self.match}
        for number, layer in enumerate([*apart, *self.joint], self._frozen):
            for name, tensor in layer.state_dict(keep_vars=True).items():
                tensors[f"encoder.layer.{number}.{name}"] = tensor
        return tensors

    def whole_body(self) -> Any:
        """The body with copies of the trained layers in their places, for saving; what never learns is shared."""
        own = self.encoder.body
        never = [own.embeddings, *own.encoder.layer[: self._frozen]]
        body = copy.deepcopy(own, {id(part): part for part in never})
        for number, layer in enumerate(self.joint, self._lower):
            body.encoder.layer[number].load_state_dict(layer.state_dict())
        return body


def _pad(queries: Sequence[Tensor], documents: Sequence[Tensor], in_query: Tensor, in_document: Tensor) -> Tensor:
    """Query then document then padding, per row: states [pairs, tokens, hidden]."""
    hidden = torch.zeros(*in_query.shape, queries[0].shape[1], dtype=queries[0].dtype, device=in_query.device)
    hidden[in_query | in_document] = _in_one_row(queries, documents)
    return hidden


def _in_one_row(queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
    """The states of all pairs one after the other, query then document of each: [all tokens, hidden]."""
    return torch.cat([text for pair in zip(queries, documents, strict=True) for text in pair])


def _masks(
    queries: Sequence[Tensor], documents: Sequence[Tensor], tokens: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which places of rows of so many tokens are the query's, which the document's: [pairs, tokens] each."""
    query_end = torch.tensor([len(query) for query in queries])[:, None]  # [pairs, 1]
    end = query_end + torch.tensor([len(document) for document in documents])[:, None]  # [pairs, 1]
    place = torch.arange(tokens)  # [tokens]
    in_query = place < query_end
    return in_query.to(device), ((place < end) & ~in_query).to(device)


def _best_matches(hidden: Tensor, in_query: Tensor, in_document: Tensor) -> Tensor:
    """Mean over the query's states of the cosine with the document's nearest state: [pairs]."""
    unit = nn.functional.normalize(hidden, dim=-1)
    longest = int(in_query.sum(1).max())  # queries come first
    cosines = unit[:, :longest] @ unit.transpose(1, 2)  # [pairs, longest query, tokens]
    best = cosines.masked_fill(~in_document[:, None], -1.0).amax(2)  # [pairs, longest query]
    asked = in_query[:, :longest].float()
    return (best * asked).sum(1) / asked.sum(1)  # [pairs]
