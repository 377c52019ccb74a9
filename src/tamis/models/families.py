"""Which kind of reranker a checkpoint is, found from its files, and how it becomes the canonical form.

    encoder     an encoder with a classification head of one label (BERT, XLM-RoBERTa, ModernBERT, GTE ...)
    causal      a causal body with a classification head of one label (`Qwen3ForSequenceClassification` ...)
    querit      a causal body, dense or mixture of experts, with `head.weight [2, hidden]` and `head.bias`
    yes-no      a causal language model that says yes or no (Qwen3-Reranker)
    warm        tamis' own: the cosine of two means; see `tamis.models.warm`

No code of a checkpoint is run.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tamis.errors import ModelError
from tamis.models.attention import register_attention
from tamis.models.chat_templates import names_roles, pair_template
from tamis.models.encoder import loading, refuse_missing
from tamis.models.first_token import BODIES as FIRST_TOKEN_BODIES
from tamis.models.first_token import read_first_token_only
from tamis.models.folders import check_folder, check_tokenizer, refuse_adapter
from tamis.models.padding import padding_id
from tamis.models.peer_files import PeerFacts, card_says_reranker, peer_facts, use_lowercase
from tamis.models.positions import give_padding, longest_row, position_limit
from tamis.models.precision import Precision
from tamis.models.rows import JoinedRows, TemplateRows, tells_segments
from tamis.models.sequence import ClassifierModel, LastTokenModel, SequenceScorer, halve_body
from tamis.models.serializer import QUERIT, QWEN3_RERANKER, Apart, Joined, PairTemplate, Serializer
from tamis.models.shared_tokenizers import load_tokenizer

logger = logging.getLogger(__name__)

FAMILIES = ("encoder", "causal", "querit", "yes-no", "warm")

OLD_ACTIVATION = "sbert_ce_default_activation_function"
"""Field of `config.json` in which sentence-transformers stored the activation before its version 4."""

HEADS = ("classifier.weight", "classifier.out_proj.weight", "score.weight")
"""Last tensors of heads, by which a classifier is known whose configuration names no architecture."""

FALLBACK_TOKENS = 512
"""Most tokens of a pair where neither tokenizer nor body says."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A reranker in the canonical form.

    Attributes:
        scorer: Tokenises and scores pairs.
        family: One of `FAMILIES`.
        activation: What makes a bounded score of its logit: `sigmoid`, `tanh` or `identity`.
        tokenizer: The checkpoint's own.
    """

    scorer: SequenceScorer
    family: str
    activation: str
    tokenizer: Any


def load_scorer(
    path: str | Path,
    family: str | None,
    serializer: Serializer | None,
    precision: Precision,
    token_budget: int,
    device: str | torch.device,
    max_tokens: int | None = None,
    trust_remote_code: bool = False,
) -> Loaded:
    """Load a reranker of any family but `warm`.

    Args:
        path: Hugging Face folder or hub name.
        family: One of `FAMILIES`, or None to find it from the files.
        serializer: In place of the family's default.
        precision: Number format of the body; the score is float32 either way.
        token_budget: Most tokens per forward pass, padding included.
        device: Where to run.
        max_tokens: In place of the serializer's own limit.
        trust_remote_code: Let transformers run code that the checkpoint brings; only for bodies it does not know.

    Raises:
        ModelError: an unknown family, a head that is missing, weights that are missing or broken, an adapter, or more
            tokens than the body has positions for.
    """
    check_folder(path)
    with loading(path, "a reranker"):
        refuse_adapter(path)
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        peer = peer_facts(path)
        told, family = family is not None or serializer is not None, family or find_family(path, config)
        check_tokenizer(path, own_code=trust_remote_code)
        if family not in LOADERS:
            raise ModelError(f"{path}: family {family!r} is not one of {', '.join(FAMILIES)}")
        tokenizer = load_tokenizer(path, trust_remote_code)
        if serializer is not None:
            peer = replace(peer, chat=False)  # it says how a pair is written
        if family == "yes-no" and not told:
            _say_assumed(path, tokenizer, peer)
        tokenizer.model_max_length = peer.longest or tokenizer.model_max_length
        if peer.lowercase:
            use_lowercase(tokenizer)
        model, default, activation = LOADERS[family](path, config, tokenizer, peer, precision, trust_remote_code)
        limit = position_limit(model.body)
        text = _limited(serializer, default, max_tokens, limit)
        # transformers' causal classifiers read the last token that is not the padding token of their configuration.
        unread = config.get_text_config().pad_token_id if family == "causal" else None
        rows = make_rows(tokenizer, text, unread)
        scorer = SequenceScorer(rows, model.to(device), padding_id(tokenizer, model.body), token_budget)
    return Loaded(scorer, family, activation, tokenizer)


def _limited(
    given: Serializer | None, default: Joined | PairTemplate, max_tokens: int | None, limit: int | None
) -> Joined | PairTemplate:
    """The serializer of a checkpoint: what was asked for, or the family's default as far as there are positions.

    Raises:
        ModelError: one for warm checkpoints, or more tokens asked for than there are positions.
    """
    text = given or default
    if isinstance(text, Apart):
        raise ModelError("serializer: kind 'apart' is for warm checkpoints only")
    if max_tokens is not None:
        text = replace(text, max_tokens=max_tokens)
    if limit is None or text.max_tokens <= limit:
        return text
    if given is None and max_tokens is None:
        return replace(text, max_tokens=limit)
    raise ModelError(f"max_tokens is {text.max_tokens}, but this body has positions for {limit} tokens; ask for fewer")


def find_family(path: str | Path, config: Any) -> str:
    """The family of a checkpoint by its configuration and the names of its tensors.

    Raises:
        ModelError: no score head; says what was found and what is known.
    """
    architecture = (getattr(config, "architectures", None) or ["none"])[0]
    names = {} if architecture.endswith("ForSequenceClassification") else tensor_files(path)
    if not names or (architecture == "none" and any(head in names for head in HEADS)):
        return "causal" if is_causal(config) else "encoder"
    if "head.weight" in names:
        return "querit"
    if architecture.endswith("ForCausalLM"):
        return "yes-no"
    raise ModelError(
        f"{path}: no score head (architecture {architecture}); expected a checkpoint of one of the families "
        f"{', '.join(FAMILIES)}"
    )


def is_causal(config: Any) -> bool:
    """Whether a body of this configuration reads each token with those before it only."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def make_rows(
    tokenizer: Any, serializer: Joined | PairTemplate, unread: int | None = None
) -> JoinedRows | TemplateRows:
    """What makes rows of pairs by a serializer; for `unread` see `JoinedRows`."""
    if isinstance(serializer, PairTemplate):
        return TemplateRows(tokenizer, serializer)
    return JoinedRows(tokenizer, serializer, unread)


ScorerParts = tuple[LastTokenModel | ClassifierModel, Joined | PairTemplate, str]
"""Model, default serializer, activation."""


def _load_encoder(
    path: str | Path, config: Any, tokenizer: Any, peer: PeerFacts, precision: Precision, trust: bool
) -> ScorerParts:
    from transformers import AutoModelForSequenceClassification

    _one_label(path, config)
    if peer.chat:
        raise ModelError(
            f"{path}: sentence-transformers reads pairs by a chat template; that is for causal bodies here"
        )
    plain = config.model_type in FIRST_TOKEN_BODIES
    attention = register_attention() if plain else None
    give_padding(config, tokenizer)
    how = {"config": config, "attn_implementation": attention}
    classifier = _load(AutoModelForSequenceClassification, path, "float32", trust, **how)
    read_first_token_only(classifier.base_model)
    if precision == "bfloat16":
        halve_body(classifier.base_model)
    uses_types = tells_segments(tokenizer)
    serializer = Joined(peer.prompt, max_tokens=longest_row(classifier, tokenizer) or FALLBACK_TOKENS)
    return ClassifierModel(classifier, uses_types, precision), serializer, stored_activation(path, config, peer)


def _load_causal(
    path: str | Path, config: Any, tokenizer: Any, peer: PeerFacts, precision: Precision, trust: bool
) -> ScorerParts:
    from transformers import AutoModelForSequenceClassification

    _one_label(path, config)
    classifier = _load(AutoModelForSequenceClassification, path, precision, trust, config=config)
    bias = classifier.score.bias
    weight = classifier.score.weight[0].detach()
    model = LastTokenModel(classifier.base_model, weight, 0.0 if bias is None else bias.item())
    # Qwen3-Rerankers turned into classifiers say which tokens their row came from; they read the same text.
    from_tokens = getattr(config, "classifier_from_token", None)
    longest = longest_row(classifier, tokenizer) or FALLBACK_TOKENS
    default = QWEN3_RERANKER if from_tokens else Joined(peer.prompt, max_tokens=longest)
    return model, _chat_text(path, tokenizer, peer, longest) or default, stored_activation(path, config, peer)


def _load_querit(
    path: str | Path, config: Any, tokenizer: Any, peer: PeerFacts, precision: Precision, trust: bool
) -> ScorerParts:
    """The logit is (z1 - z0) / 2 of the two: the published score, p1 - p0, is its tanh."""
    from transformers import AutoModel

    body = _load(AutoModel, path, precision, trust)
    head = read_tensors(path, ("head.weight", "head.bias"))
    weight, bias = head["head.weight"].float(), head["head.bias"].float()
    hidden = config.get_text_config().hidden_size
    if weight.shape != (2, hidden) or bias.shape != (2,):
        shapes = f"{list(weight.shape)} and {list(bias.shape)}"
        raise ModelError(f"{path}: head.weight and head.bias have the shapes {shapes}, expected [2, {hidden}] and [2]")
    model = LastTokenModel(body, (weight[1] - weight[0]) / 2, (bias[1] - bias[0]).item() / 2)
    return model, QUERIT, "tanh"


def _load_yes_no(
    path: str | Path, config: Any, tokenizer: Any, peer: PeerFacts, precision: Precision, trust: bool
) -> ScorerParts:
    """The difference of two rows of the language model's head, those of yes and no unless its files say otherwise.

    P(yes) against no is its sigmoid.
    """
    from transformers import AutoModelForCausalLM

    yes, no = peer.tokens or _yes_and_no(path, tokenizer)
    model = _load(AutoModelForCausalLM, path, precision, trust)
    body, head = model.base_model, model.get_output_embeddings()
    if getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        raise ModelError(f"{path}: this language model bends its logits (final_logit_softcapping); no row gives them")
    longest = longest_row(body, tokenizer) or FALLBACK_TOKENS
    default = QWEN3_RERANKER if peer.tokens is None else Joined(peer.prompt, max_tokens=longest)
    text = _chat_text(path, tokenizer, peer, longest) or default
    rows = _rows_of(head.weight, yes, no)
    bias = 0.0 if head.bias is None else float(_rows_of(head.bias, yes, no))
    return LastTokenModel(body, rows, bias), text, stored_activation(path, model.config, peer)


def _yes_and_no(path: str | Path, tokenizer: Any) -> tuple[int, int]:
    """The tokens of yes and no of a Qwen3-Reranker.

    Raises:
        ModelError: the tokenizer is another model's.
    """
    vocabulary = tokenizer.get_vocab()
    for token in ("yes", "no", "<|im_start|>"):
        if token not in vocabulary:
            raise ModelError(
                f"{path}: a language model without the token {token!r} of Qwen3-Reranker; families known: "
                f"{', '.join(FAMILIES)}"
            )
    return vocabulary["yes"], vocabulary["no"]


def _say_assumed(path: str | Path, tokenizer: Any, peer: PeerFacts) -> None:
    """Say once of a language model that it is read as a reranker where none of its files says that it is one."""
    if peer.tokens is None and peer.chat is None and not names_roles(tokenizer) and not card_says_reranker(path):
        _say_once(str(path))


@cache
def _say_once(path: str) -> None:
    logger.warning(
        "%s: a language model of which no file says that it is a reranker; it is scored as a Qwen3-Reranker, by yes "
        "against no behind that model's prompt, which means nothing for a model that was not trained so. If it was, "
        'say so in its tamis.json: {"format": 2, "family": "yes-no"}; a plain language model can teach as kind judge',
        path,
    )


def _rows_of(table: Tensor, yes: int, no: int | None) -> Tensor:
    """Row of yes, less that of no where there is one: float32, [a row]."""
    found = table.detach()[yes].float()
    return found if no is None else found - table.detach()[no].float()


def _chat_text(path: str | Path, tokenizer: Any, peer: PeerFacts, longest: int) -> PairTemplate | None:
    """The text of a pair by the tokenizer's chat template; None where pairs do not go through it.

    Where no file of sentence-transformers says, they do if the template names the roles of a reranker.

    Raises:
        ModelError: they do, and the template is not understood.
    """
    if not (names_roles(tokenizer) if peer.chat is None else peer.chat):
        return None
    found = pair_template(tokenizer, peer.prompt, longest, peer.chat_arguments)
    if found is None:
        raise ModelError(
            f"{path}: its chat template does not put a query and then a document into one text, each once; say how a "
            "pair is written in tamis.json (serializer)"
        )
    return found


LOADERS = {"encoder": _load_encoder, "causal": _load_causal, "querit": _load_querit, "yes-no": _load_yes_no}


def _load(auto: Any, path: str | Path, precision: Precision, trust: bool, **more: Any) -> Any:
    """A model of one of transformers' auto classes, from safetensors, with no tensor made up."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model, report = auto.from_pretrained(
        path, use_safetensors=True, output_loading_info=True, dtype=dtype, trust_remote_code=trust, **more
    )
    refuse_missing(path, report["missing_keys"])
    return model


def _one_label(path: str | Path, config: Any) -> None:
    if not config.architectures:
        config.num_labels = 1  # nothing says, so the weights have to: a head of another shape cannot be loaded
    if config.num_labels != 1:
        raise ModelError(f"{path}: the classification head has {config.num_labels} labels, expected one")


def stored_activation(path: str | Path, config: Any, peer: PeerFacts) -> str:
    """The activation that a checkpoint stores, found as sentence-transformers finds it.

    Its own file goes before `config.json`, where the field has another name since its version 4. The default for one
    label is the sigmoid.

    Args:
        path: Folder or hub name, for the message.
        config: Of transformers.
        peer: What its own file says.

    Raises:
        ModelError: an activation of another kind.
    """
    stored = getattr(config, "sentence_transformers", None)
    if isinstance(stored, Mapping) and "activation_fn" in stored:
        in_config = stored["activation_fn"]
    else:
        in_config = getattr(config, OLD_ACTIVATION, None)
    named = in_config if peer.activation is None else peer.activation
    known = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Identity": "identity"}
    if named is None:
        return "sigmoid"
    name = str(named).rpartition(".")[2]
    if name not in known:
        raise ModelError(f"{path}: activation {named!r} is not one of Sigmoid, Tanh and Identity")
    return known[name]


def tensor_files(path: str | Path) -> dict[str, str]:
    """File of every tensor of a checkpoint, by tensor name.

    Raises:
        ModelError: a shard that the index names is missing.
    """
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

    names = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)  # in the order in which transformers looks for them
    single, index = (cached_file(path, name, _raise_exceptions_for_missing_entries=False) for name in names)
    if single is not None or index is None:
        single = single or cached_file(path, SAFE_WEIGHTS_NAME)  # which says what is missing
        with safe_open(single, framework="pt") as file:
            return dict.fromkeys(file.keys(), str(single))
    shards: dict[str, str] = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
    return {name: str(cached_file(path, shard)) for name, shard in shards.items()}


def read_tensors(path: str | Path, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Single tensors of a checkpoint, each [its shape there].

    Raises:
        ModelError: one of them is missing.
    """
    files = tensor_files(path)
    refuse_missing(path, set(names) - files.keys())
    found: dict[str, Tensor] = {}
    for name in names:
        with safe_open(files[name], framework="pt") as file:
            found[name] = file.get_tensor(name)
    return found
