"""Tiny checkpoints of every family, in the form in which a hub would hold them. Weights are random, files are real."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.conftest import TOPICS

TEXTS = [text for topics in TOPICS.values() for pair in topics for text in pair]

QUERIT_CODE = '''
"""What a hub repository of Querit holds beside the weights: a body, a head of two logits, a score in [-1, 1]."""

import torch
from transformers import AutoModel, PreTrainedModel
from transformers import {config} as Config


class QueritModel(PreTrainedModel):
    config_class = Config
    base_model_prefix = ""
    _supports_sdpa = True  # a boolean mask means nothing to plain attention

    def __init__(self, config):
        super().__init__(config)
        self.model = AutoModel.from_config(config)
        self.head = torch.nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(self, input_ids, attention_mask):
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        z = self.head(states[:, -1])
        p = torch.softmax(z.float(), dim=-1)
        return {{"score": p[:, 1:] - p[:, :1]}}
'''


def tokenizer(folder: Path, longest: int = 512) -> Any:
    """A byte-level BPE in the style of Qwen's, with `[CLS]` beside its special tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[CLS]"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*TEXTS, *["yes\nno\nyes\nno"] * 50], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)
    return fast


def qwen3_config(words: Any, **changes: Any) -> Any:
    from transformers import Qwen3Config

    facts = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "pad_token_id": words.pad_token_id,
        "tie_word_embeddings": True,
    }
    return Qwen3Config(**facts | changes)


def deepseek_config(words: Any) -> Any:
    """One dense layer and one with eight experts of which two are active; MLA attention, a correction bias."""
    from transformers import DeepseekV3Config

    return DeepseekV3Config(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        n_group=1,
        topk_group=1,
        q_lora_rank=16,
        kv_lora_rank=8,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=8,
        max_position_embeddings=512,
        pad_token_id=words.pad_token_id,
    )


def lively(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random weights large enough that different texts get different scores."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("e_score_correction_bias"):
                tensor.copy_(0.1 * torch.randn(tensor.shape))
            elif tensor.dim() > 1:
                tensor.copy_(torch.randn(tensor.shape) / tensor.shape[-1] ** 0.5)
    return model.eval()


def build_querit(folder: Path, kind: str, longest: int = 512, **shape: int) -> Path:
    """`model.*`, `head.weight`, `head.bias` in two shards; the code of the hub beside them, which we never run."""
    from transformers import AutoModel

    words = tokenizer(folder, longest)
    shape["max_position_embeddings"] = longest
    config = qwen3_config(words, **shape) if kind == "qwen3" else deepseek_config(words)
    body = lively(AutoModel.from_config(config), seed=1)
    body.save_pretrained(folder / "body")
    tensors = {f"model.{name}": tensor for name, tensor in load_file(folder / "body" / "model.safetensors").items()}
    torch.manual_seed(2)
    tensors |= {"head.weight": 0.15 * torch.randn(2, config.hidden_size), "head.bias": torch.tensor([0.1, -0.2])}
    for file in (folder / "body").iterdir():
        file.unlink()
    (folder / "body").rmdir()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, of_shard in shards.items():
        save_file({name: tensors[name] for name in of_shard}, folder / shard, metadata={"format": "pt"})
    weight_map = {name: shard for shard, of_shard in shards.items() for name in of_shard}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config.architectures = ["MLQwen3Model" if kind == "qwen3" else "QueritModel"]
    config.save_pretrained(folder)
    facts = json.loads((folder / "config.json").read_text())
    facts["auto_map"] = {"AutoModel": "modeling_querit.QueritModel"}
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "modeling_querit.py").write_text(QUERIT_CODE.format(config=type(config).__name__))
    return folder


def build_yes_no(folder: Path) -> Path:
    """What Qwen3-Reranker is: a causal language model."""
    from transformers import Qwen3ForCausalLM

    lively(Qwen3ForCausalLM(qwen3_config(tokenizer(folder))), seed=3).save_pretrained(folder)
    return folder


def build_causal(folder: Path) -> Path:
    """`Qwen3ForSequenceClassification` with one label."""
    from transformers import Qwen3ForSequenceClassification

    config = qwen3_config(tokenizer(folder), num_labels=1)
    lively(Qwen3ForSequenceClassification(config), seed=4).save_pretrained(folder)
    return folder


def build_encoder(folder: Path, kind: str, encoder: Path) -> Path:
    """A one-label classifier of one of the encoder families, on the tokenizer of the tiny encoder."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    words = AutoTokenizer.from_pretrained(encoder)
    common = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128 + (2 if kind == "xlm-roberta" else 0),
        "pad_token_id": words.pad_token_id,
        "num_labels": 1,
    }
    if kind == "modernbert":
        common |= {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    config = AutoConfig.for_model(kind, **common)
    lively(AutoModelForSequenceClassification.from_config(config), seed=5).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
