"""The sequence student: one row of tokens a pair, one label; any encoder, and any causal body, dense or of experts.

It learns in the canonical form in which it will score (`tamis.models.sequence`): an encoder reads its first token, a
causal body its last.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tamis.errors import ModelError
from tamis.models.adapters import adapted_layers, add_adapters, merged_weights, reset_adapters
from tamis.models.attention import register_attention
from tamis.models.encoder import Encoder, loading
from tamis.models.experts import ExpertLoad, is_router
from tamis.models.families import load_scorer, make_rows
from tamis.models.first_token import read_first_token_only
from tamis.models.folders import check_folder, check_tokenizer, refuse_adapter
from tamis.models.padding import padding_id
from tamis.models.positions import position_limit
from tamis.models.precision import Precision, autocast
from tamis.models.rows import JoinedRows, TemplateRows, tells_segments
from tamis.models.sequence import ClassifierModel, LastTokenModel, padded
from tamis.models.serializer import QUERIT, Joined, PairTemplate, Serializer
from tamis.models.sharding import shard
from tamis.models.shared_tokenizers import load_tokenizer
from tamis.models.trained import take_over

CAUSAL = PairTemplate("Query: {query}\nDocument: {document}")
"""The text for causal bodies whose tokenizer knows no `[CLS]`; its end-of-text token comes last."""


class SequenceStudent(nn.Module):
    """A reranker of one row a pair under training: weights in float32, matrix products in `precision`.

    Attributes:
        model: What is trained.
        rows: How two texts become a row.
        tokenizer: The body's own.
        activation: What makes a bounded score of the logit: `sigmoid`, `tanh` or `identity`.
        precision: Number format of the matrix products.
        sharded: Whether this process holds its part of every weight only.
        experts: Watches what the routers do; None for dense bodies.
    """

    def __init__(
        self,
        model: ClassifierModel | LastTokenModel,
        rows: JoinedRows | TemplateRows,
        tokenizer: Any,
        activation: str,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.model = _without_dropout(model.float())
        self.rows = rows
        self.tokenizer = tokenizer
        self.activation = activation
        self.precision: Precision = precision
        self.sharded = False
        self.experts = ExpertLoad.watch(self.body)
        if isinstance(model, ClassifierModel):
            model.precision = precision
        self.learn(embeddings=False, routers=False)

    @classmethod
    def from_encoder(cls, encoder: Encoder, serializer: Joined, seed: int) -> "SequenceStudent":
        """A new head of one label on a copy of an encoder's body; the head is drawn from `seed`."""
        from transformers import AutoModelForSequenceClassification

        config = _one_label(encoder.body.config)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            classifier = AutoModelForSequenceClassification.from_config(
                config, attn_implementation=register_attention()
            )
        classifier.base_model.load_state_dict(encoder.body.state_dict(), strict=False)
        read_first_token_only(classifier.base_model)
        limited = replace(serializer, max_tokens=min(serializer.max_tokens, encoder.positions))
        uses_types = tells_segments(encoder.tokenizer)
        model = ClassifierModel(classifier, uses_types, encoder.precision)
        return cls(model, JoinedRows(encoder.tokenizer, limited), encoder.tokenizer, "sigmoid", encoder.precision)

    @classmethod
    def from_causal(cls, path: str | Path, max_tokens: int, precision: Precision, seed: int) -> "SequenceStudent":
        """A new linear score of the last token on a causal body; the score is drawn from `seed`.

        Pairs are written as Querit's where the tokenizer knows its `[CLS]`.

        Raises:
            ModelError: no such folder, or one without a causal body.
        """
        from transformers import AutoModel

        check_folder(path)
        with loading(path, "a causal body"):
            refuse_adapter(path)
            check_tokenizer(path)
            tokenizer = load_tokenizer(path)
            body = AutoModel.from_pretrained(path, use_safetensors=True, dtype=torch.float32, trust_remote_code=False)
            knows_cls = "[CLS]" in tokenizer.get_vocab()
            text = QUERIT if knows_cls else replace(CAUSAL, suffix=tokenizer.eos_token or "")
            if not text.suffix:
                raise ModelError("the tokenizer has no end-of-text token, from which the score would be read")
            longest = min(max_tokens, position_limit(body) or max_tokens)
            rows = TemplateRows(tokenizer, replace(text, max_tokens=longest))
        hidden = body.config.get_text_config().hidden_size
        weight = torch.randn(hidden, generator=torch.Generator().manual_seed(seed)) * hidden**-0.5
        activation = "tanh" if knows_cls else "sigmoid"
        return cls(LastTokenModel(body, weight, 0.0), rows, tokenizer, activation, precision)

    @classmethod
    def from_reranker(
        cls, path: str | Path, family: str | None, serializer: Serializer | None, max_tokens: int, precision: Precision
    ) -> "SequenceStudent":
        """A reranker of any family but `warm`, with its own head and text, cut to `max_tokens` where it reads more.

        Raises:
            ModelError: see `tamis.models.families.load_scorer`.
        """
        loaded = load_scorer(path, family, serializer, "float32", max_tokens, "cpu")
        text = loaded.scorer.rows.serializer
        limited = replace(text, max_tokens=min(text.max_tokens, max_tokens))
        rows = make_rows(loaded.tokenizer, limited, loaded.scorer.rows.unread)
        return cls(loaded.scorer.model, rows, loaded.tokenizer, loaded.activation, precision)

    @property
    def body(self) -> Any:
        """The transformer below the head."""
        return self.model.body if isinstance(self.model, LastTokenModel) else self.model.classifier.base_model

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        device: torch.device = self.model.device
        return device

    @property
    def serializer(self) -> Joined | PairTemplate:
        """The serializer that makes one text of query and document."""
        return self.rows.serializer

    def learn(self, embeddings: bool, routers: bool, lora_rank: int = 0, layers: int = 0, seed: int = 0) -> None:
        """Choose what training changes.

        Args:
            embeddings: Whether the tables of tokens and positions learn too.
            routers: Whether the routers of expert bodies learn too; their correction biases are never changed.
            lora_rank: Learn adapters of this rank on every linear layer of the body instead of its weights; 0 for the
                weights.
            layers: Keep this many layers of the body, evenly spaced, the last one among them; 0 for all.
            seed: Seed of the adapters.

        Raises:
            ModelError: more layers than there are.
        """
        if layers:
            keep_layers(self.body, layers)
        self.model.requires_grad_(not lora_rank)
        if lora_rank:
            add_adapters(self.body, lora_rank, seed)
            of_body = {id(parameter) for parameter in self.body.parameters()}
            for parameter in self.model.parameters():
                if id(parameter) not in of_body:
                    parameter.requires_grad_(True)
        for name, module in self.body.named_modules():
            table = isinstance(module, nn.Embedding) or name == "embeddings"
            if table and not lora_rank:
                module.requires_grad_(embeddings)
            if is_router(module) and not lora_rank:
                module.requires_grad_(routers)

    def save_memory(self) -> None:
        """Compute activations anew on the way back instead of keeping them."""
        newer = getattr(self.body, "activation_checkpointing_enable", None)
        (newer or self.body.gradient_checkpointing_enable)()
        # transformers checkpoints while a module is in training mode; no body here has any dropout.
        self.body.train()

    def shard(self, device: torch.device) -> None:
        """Keep only this process's part of every weight, on a device; see `tamis.models.sharding`.

        Raises:
            ModelError: the body's layers are not where they are known to be.
        """
        holder, name = _find_layers(self.body, "machine.shard")
        shard(self.model, getattr(holder, name), device)
        self.sharded = True

    def prepare_queries(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """Token ids of each query, see `JoinedRows.query_ids` and `TemplateRows.query_ids`: int32 [tokens] each."""
        return _told([torch.from_numpy(ids) for ids in self.rows.query_ids(texts)], progress)

    def prepare_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Tensor]:
        """Token ids of each document: int32 [tokens] each."""
        return _told([torch.from_numpy(ids) for ids in self.rows.document_ids(texts)], progress)

    def padded_length(self, longest: int) -> int:
        """Tokens of the rows of a batch whose longest pair has `longest`: as many; there may be no more positions."""
        return longest

    def forward(self, queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
        """Logits of pairs of prepared texts: float32 [pairs]."""
        rows = [self.rows.join(q.numpy(), d.numpy()) for q, d in zip(queries, documents, strict=True)]
        ids, lengths, second = (tensor.to(self.device) for tensor in padded(rows, self._padding))
        with autocast(self.device, self.precision, cached=not self.sharded):
            logits: Tensor = self.model(ids, lengths, second)
        return logits

    @property
    def _padding(self) -> int:
        return padding_id(self.tokenizer, self.body)

    def trained(self) -> dict[str, Tensor]:
        """Copies of the tensors that training changes, [as in the model]; of adapted layers with adapters merged in.

        Of a sharded student they are in parts: `tamis.distributed.whole` puts them together.
        """
        merged = merged_weights(self.model)
        return {name: merged[name] if name in merged else p.detach().clone() for name, p in self._own().items()}

    def load_trained(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `trained` gave, [as in the model], or a merge of such; adapters start anew."""
        take_over(self._own(), tensors)
        reset_adapters(self.model)

    def lower(self, level: float) -> None:
        """Take a level off every logit, in place: where it was, the published score is one half; the order stays.

        A head without a bias, as causal bodies have, stays as it is: its stock form has no place for one.
        """
        if isinstance(self.model, ClassifierModel):
            self.model.lower(level)

    def _own(self) -> dict[str, Tensor]:
        adapted = adapted_layers(self.model)
        learns = {n: p for n, p in self.model.named_parameters() if p.requires_grad and "lora_" not in n}
        return learns | {name: layer.base_layer.weight for name, layer in adapted.items()}


def keep_layers(body: Any, count: int) -> None:
    """Leave out layers of a body, in place: `count` evenly spaced ones stay, the last one among them.

    Raises:
        ModelError: the body has fewer, or its layers are not where they are known to be.
    """
    holder, name = _find_layers(body, "student.layers")
    layers = getattr(holder, name)
    if not 1 <= count <= len(layers):
        raise ModelError(f"student.layers is {count}, expected 1 to {len(layers)} for this body")
    places = [(number + 1) * len(layers) // count - 1 for number in range(count)]
    setattr(holder, name, nn.ModuleList(layers[place] for place in places))
    body.config.num_hidden_layers = count
    if getattr(body.config, "layer_types", None):
        body.config.layer_types = [body.config.layer_types[place] for place in places]
    for number, layer in enumerate(getattr(holder, name)):
        if hasattr(layer, "self_attn"):
            layer.self_attn.layer_idx = number


def _find_layers(body: Any, field: str) -> tuple[Any, str]:
    """What holds the layers of a body, and by which name; `field` is the setting that asks."""
    holder = getattr(body, "encoder", body)
    for name in ("layer", "layers"):
        if isinstance(getattr(holder, name, None), nn.ModuleList):
            return holder, name
    raise ModelError(f"{field}: the layers of a {type(body).__name__} are not known")


def _without_dropout(model: Any) -> Any:
    """Switch dropout off, in place: it halves the speed on processors, and an exact resume would need its state."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    return model


def _one_label(config: Any) -> Any:
    changed = copy.deepcopy(config)
    changed.num_labels = 1
    return changed


def _told(found: list[Tensor], progress: Callable[[int], None] | None) -> list[Tensor]:
    if progress and found:
        progress(len(found))
    return found
