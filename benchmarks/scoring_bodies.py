"""Random bodies of both kinds of Querit: the published wrapper beside ours, and what idle experts cost."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch

from machine import ROOT

Pair = tuple[str, str]


def against_the_published_wrapper(work: Path, pairs: list[Pair]) -> dict[str, Any]:
    """Ours and the authors' wrapper of mteb on a small random Querit body, pairs of about 200 tokens."""
    from mteb.models.model_implementations.querit_models import QueritWrapper

    sys.path.insert(0, str(ROOT.parent))
    from tamis import Reranker
    from tests.families import build_querit

    folder = build_querit(
        work / "querit", "qwen3", longest=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4, head_dim=64
    )
    reranker = Reranker(folder, device="cpu")
    rows = reranker.scorer.encode(pairs)
    near = sorted(range(len(pairs)), key=lambda i: abs(len(rows[i].ids) - 200))[:16]
    chosen = [pairs[i] for i in near]
    wrapper = QueritWrapper(str(folder), max_length=4096)

    class Batches:
        def __init__(self, texts: list[str]) -> None:
            self.batches, self.dataset = [{"text": texts}], type("Set", (), {"features": ["text"]})()

        def __iter__(self) -> Iterator[Any]:
            return iter(self.batches)

    def theirs() -> np.ndarray:
        queries, documents = ([pair[i] for pair in chosen] for i in (0, 1))
        told = {"task_metadata": None, "hf_split": "test", "hf_subset": "default"}
        return np.array(wrapper.predict(Batches(queries), Batches(documents), **told))

    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(3):
        for name, score in (("theirs", theirs), ("ours", lambda: reranker.predict(chosen))):
            start = time.perf_counter()
            found = score()
            taken[name].append(time.perf_counter() - start)
            if name == "theirs":
                expected = found
    return {
        "pairs": len(chosen),
        "mean_tokens": mean(len(rows[i].ids) for i in near),
        "seconds": taken,
        "ratio": median(taken["theirs"]) / median(taken["ours"]),
        "largest_difference": float(np.abs(np.asarray(found) - expected).max()),
    }


def mixture_of_experts(work: Path) -> list[dict[str, Any]]:
    """Tokens a second of random DeepSeek-V3 bodies that differ in the number of experts alone, 4 of them active."""
    from transformers import AutoModel, DeepseekV3Config

    from tamis.models.sequence import LastTokenModel

    rows = []
    ids = torch.randint(5, 500, (8, 256), generator=torch.Generator().manual_seed(0))
    lengths = torch.full((8,), 256)
    for experts in (8, 32, 128):
        config = DeepseekV3Config(
            vocab_size=512,
            hidden_size=512,
            intermediate_size=1024,
            moe_intermediate_size=256,
            num_hidden_layers=5,
            first_k_dense_replace=1,
            num_attention_heads=8,
            num_key_value_heads=8,
            n_routed_experts=experts,
            num_experts_per_tok=4,
            n_shared_experts=1,
            n_group=1,
            topk_group=1,
            q_lora_rank=192,
            kv_lora_rank=128,
            qk_nope_head_dim=64,
            qk_rope_head_dim=32,
            v_head_dim=64,
        )
        folder = work / f"experts-{experts}"
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
        body = AutoModel.from_pretrained(folder)
        total = sum(parameter.numel() for parameter in body.parameters())
        idle = (experts - 4) * 4 * 3 * 512 * 256  # experts that a token does not use: four layers, three matrices each
        model = LastTokenModel(body, torch.randn(512), 0.0)
        taken = []
        with torch.inference_mode():
            for _ in range(6):
                start = time.perf_counter()
                model(ids, lengths, lengths)
                taken.append(time.perf_counter() - start)
        rows.append(
            {
                "experts": experts,
                "parameters": total,
                "active_parameters": total - idle,
                "tokens_per_second": ids.numel() / median(taken[1:]),
            }
        )
    return rows
