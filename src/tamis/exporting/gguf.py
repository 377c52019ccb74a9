"""GGUF: one file for llama.cpp and what is built on it (Ollama, LM Studio, llama-server's `/rerank`).

Bodies: BERT and XLM-RoBERTa with the head of their classifiers, and Qwen3 with a score on the last token. llama.cpp
reads the score of a Qwen3 body from a softmax over two labels, of which the second one is 0 here; so its score is the
sigmoid of the logit, while that of an encoder is the logit itself.

llama.cpp's own converter leaves the pooler of a BERT classifier out, which is half of its head.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.errors import ModelError
from tamis.exporting.gguf_words import Around, Words, around, words_of
from tamis.extras import missing_package
from tamis.models.reranker import Reranker
from tamis.models.rows import Pair
from tamis.models.sequence import ClassifierModel, LastTokenModel, SequenceScorer

Form = Literal["float16", "q8_0"]
"""Of the matrices: two bytes a value, or 8 bits and a scale for 32 of them."""

FILE: Final = "model.gguf"

SURE: Final = 8.0
"""Logits of Qwen3 are compared up to here: beyond, float32 tells their sigmoids no longer apart."""

_BLOCK: Final = 32
"""Values of a row that share a scale in q8_0."""

_EXACT: Final = ("position_embd", "token_types", "cls")
"""Beginnings of names of matrices that stay float32: they are small, or the score hangs on them."""

_SPARE: Final = 64
"""Tokens that a context has beyond the longest row: llama.cpp may split a text into a few more."""

Tensors = Iterator[tuple[str, Tensor]]


def require_gguf() -> None:
    """Make sure that a file can be written and loaded again.

    Raises:
        MissingPartError: names the package that is not there.
    """
    try:
        import gguf  # noqa: F401
        import xllamacpp  # noqa: F401
    except ImportError as error:
        raise missing_package("--to gguf", error.name or "gguf", "gguf") from None


def write_gguf(form: Form, reranker: Reranker, scorer: SequenceScorer, folder: Path) -> None:
    """Write `model.gguf`.

    Raises:
        ModelError: a body, a head or a tokenizer that llama.cpp does not know, by its name.
        MissingPartError: the package gguf is not installed.
    """
    require_gguf()
    import gguf

    model, name = scorer.model, str(reranker.path)
    kind = model.body.config.model_type
    encoder = isinstance(model, ClassifierModel)
    if kind not in (("bert", "xlm-roberta", "roberta") if encoder else ("qwen3",)):
        raise ModelError(
            f"{name}: llama.cpp cannot rank with a body of type {kind}; BERT, XLM-RoBERTa and Qwen3 can be"
        )
    words = words_of(reranker.tokenizer, model.body.get_input_embeddings().num_embeddings)
    writer = gguf.GGUFWriter(folder / FILE, "bert" if encoder else "qwen3")
    writer.add_name(Path(name).name)
    tensors = _encoder(writer, scorer, name) if isinstance(model, ClassifierModel) else _qwen3(writer, model, name)
    writer.add_context_length(scorer.rows.serializer.max_tokens)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    _add_words(writer, words, around(reranker.tokenizer, scorer.rows.serializer))
    _add_tensors(writer, tensors, form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _encoder(writer: Any, scorer: SequenceScorer, name: str) -> Tensors:
    """Note the sizes of an encoder; returns its tensors.

    Raises:
        ModelError: an activation that llama.cpp does not have for it, or segments that are told apart.
    """
    model = scorer.model
    assert isinstance(model, ClassifierModel), "the caller saw to it"
    body: Any = model.body
    config = body.config
    if config.hidden_act != "gelu":
        raise ModelError(f"{name}: llama.cpp computes BERT with gelu, this body has {config.hidden_act}")
    types = body.embeddings.token_type_embeddings.weight
    if scorer.uses_types and not torch.equal(types[0], types[1]):
        raise ModelError(
            f"{name}: this BERT tells query and document apart by token types, and llama.cpp reads all tokens as of "
            "the first type: it would score otherwise"
        )
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_token_type_count(len(types))
    return _encoder_tensors(model, body, scorer.rows.serializer.max_tokens)


_LAYER: Final[Mapping[str, str]] = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""Parts of a layer of BERT, by transformers' name."""


def _encoder_tensors(model: ClassifierModel, body: Any, positions: int) -> Tensors:
    embeddings = body.embeddings
    # RoBERTa counts positions from the one behind padding's.
    padding = embeddings.position_embeddings.padding_idx
    first = 0 if padding is None else padding + 1
    yield "token_embd.weight", embeddings.word_embeddings.weight
    yield "token_types.weight", embeddings.token_type_embeddings.weight
    # llama.cpp wants as many positions as the model reads tokens; a body may have more.
    yield "position_embd.weight", embeddings.position_embeddings.weight[first : first + positions]
    yield from _linear("token_embd_norm", embeddings.LayerNorm)
    for number, layer in enumerate(body.encoder.layer):
        for theirs, ours in _LAYER.items():
            yield from _linear(f"blk.{number}.{ours}", layer.get_submodule(theirs))
    head = model.classifier.classifier
    one_step = isinstance(head, torch.nn.Linear)  # BERT: the pooler is a part of the body
    yield from _linear("cls", body.pooler.dense if one_step else head.dense)
    yield from _linear("cls.output", head if one_step else head.out_proj)


def _linear(name: str, module: Any) -> Tensors:
    yield f"{name}.weight", module.weight
    yield f"{name}.bias", module.bias


def _qwen3(writer: Any, model: LastTokenModel, name: str) -> Tensors:
    """Note the sizes of a Qwen3 body; returns its tensors.

    Raises:
        ModelError: a body with biases, windows or stretched positions.
    """
    config = model.body.config
    rope = config.rope_parameters
    if config.attention_bias or config.use_sliding_window or rope.get("rope_type", "default") != "default":
        raise ModelError(f"{name}: llama.cpp's Qwen3 has no biases, windows or stretched positions, this body has")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_classifier_output_labels(["yes", "no"])
    return _qwen3_tensors(model)


_BLOCK_OF_QWEN3: Final[Mapping[str, str]] = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _qwen3_tensors(model: LastTokenModel) -> Tensors:
    body: Any = model.body
    yield "token_embd.weight", body.embed_tokens.weight
    for number, layer in enumerate(body.layers):
        for theirs, ours in _BLOCK_OF_QWEN3.items():
            yield f"blk.{number}.{ours}.weight", layer.get_submodule(theirs).weight
    yield "output_norm.weight", body.norm.weight
    yield "cls.output.weight", torch.stack([model.weight, torch.zeros_like(model.weight)])


def _add_words(writer: Any, words: Words, pair: Around) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(list(words.tokens))
    writer.add_token_types(list(words.kinds))
    if words.scores:
        writer.add_token_scores(list(words.scores))
    if words.merges:
        writer.add_token_merges(list(words.merges))
    if words.model == "t5":
        writer.add_add_space_prefix(True)
        writer.add_remove_extra_whitespaces(True)
    if words.charsmap:
        writer.add_precompiled_charsmap(words.charsmap)
    for name, number in pair.numbers.items():
        writer.add_uint32(f"tokenizer.ggml.{_KEYS.get(name, name)}_token_id", number)
    writer.add_add_bos_token(pair.bos)
    writer.add_add_eos_token(pair.eos)
    writer.add_add_sep_token(pair.sep)
    if pair.template:
        writer.add_chat_template([{"name": "rerank", "template": pair.template}])


_KEYS: Final[Mapping[str, str]] = {"sep": "seperator", "pad": "padding", "unk": "unknown"}
"""Names of special tokens in the file, where they are others, as they are spelt there."""


def _add_tensors(writer: Any, tensors: Tensors, form: Form) -> None:
    import gguf

    kinds = gguf.GGMLQuantizationType
    for name, tensor in tensors:
        values: NDArray[Any] = tensor.detach().float().cpu().numpy()
        if values.ndim == 1 or name.startswith(_EXACT):
            writer.add_tensor(name, values)
        elif form == "q8_0" and values.shape[1] % _BLOCK == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, kinds.Q8_0), raw_dtype=kinds.Q8_0)
        else:
            writer.add_tensor(name, values.astype(np.float16))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if form == "q8_0" else gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def score_in_llama(folder: Path, scorer: SequenceScorer, pairs: Sequence[Pair]) -> NDArray[np.float32]:
    """Logits of texts, tokenised and scored by llama.cpp through its `/rerank`: float32 [pairs].

    Raises:
        ModelError: llama.cpp cannot load the file, or refuses a pair.
    """
    import xllamacpp

    longest = max(row.length for row in scorer.encode(pairs)) + _SPARE
    settings = xllamacpp.CommonParams()
    settings.model.path = str(folder / FILE)
    settings.embedding = True
    settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    settings.n_parallel = 1
    settings.n_ctx = settings.n_batch = settings.n_ubatch = longest
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = torch.get_num_threads()
    settings.verbosity = -1
    try:
        server = xllamacpp.Server(settings)
    except Exception as error:  # whatever it raises
        raise ModelError(f"{folder / FILE}: llama.cpp cannot load it ({error})") from None
    scores = [one for query, group in groupby(pairs, lambda pair: pair[0]) for one in _ranked(server, query, group)]
    found = np.array(scores, np.float64)
    if isinstance(scorer.model, LastTokenModel):
        found = np.log(found.clip(1e-30)) - np.log((1 - found).clip(1e-30))
    return found.astype(np.float32)


def certain(scorer: SequenceScorer, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits as far as llama.cpp tells them apart: those of a causal body come back as sigmoids."""
    return logits.clip(-SURE, SURE) if isinstance(scorer.model, LastTokenModel) else logits


def _ranked(server: Any, query: str, pairs: Iterator[Pair]) -> list[float]:
    """llama.cpp's scores of documents, in their order."""
    documents = [document for _, document in pairs]
    answer = server.handle_rerank({"query": query, "documents": documents})
    try:
        by_place = {one["index"]: float(one["relevance_score"]) for one in answer["results"]}
        return [by_place[place] for place in range(len(documents))]
    except (KeyError, TypeError):
        raise ModelError(f"llama.cpp does not score {query[:60]!r}: {str(answer)[:200]}") from None
