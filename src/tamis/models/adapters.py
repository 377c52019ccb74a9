"""Low-rank adapters on the linear layers of a body, by peft; merged into the weights wherever they leave training."""

from typing import Any

import torch
from torch import Tensor, nn

from tamis.extras import missing_package


def add_adapters(body: Any, rank: int, seed: int) -> None:
    """Put an adapter of a rank on every linear layer of a body, in place; they alone learn there.

    One factor starts at zero, so nothing changes at first; the other is drawn from the seed, in all processes alike.
    Their scale is 2 (alpha is twice the rank).

    Raises:
        MissingPartError: peft is not installed.

    Source: Hu et al. 2021 (arXiv 2106.09685).
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise missing_package("student.lora_rank", "peft", "lora", "leave it out") from None
    # Wrapped: of a body of experts that peft recognises it would adapt the stacked weights too, which are no layers.
    wrapped = nn.ModuleDict({"body": body})
    names = [name for name, module in wrapped.named_modules() if isinstance(module, nn.Linear)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), wrapped)


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The adapted layers by the name that their weight has among the model's parameters."""
    layers = {n: m for n, m in model.named_modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")}
    return {f"{name}.base_layer.weight": layer for name, layer in layers.items()}


@torch.no_grad()
def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weight and adapter of each adapted layer in one, [out, in], by the name of the weight; empty without adapters."""
    return {
        name: layer.base_layer.weight + layer.get_delta_weight(layer.active_adapters[0])
        for name, layer in adapted_layers(model).items()
    }


@torch.no_grad()
def reset_adapters(model: nn.Module) -> None:
    """Set every adapter to nothing."""
    for layer in adapted_layers(model).values():
        for matrix in layer.lora_B.values():
            matrix.weight.zero_()


@torch.no_grad()
def remove_adapters(model: nn.Module) -> None:
    """Merge every adapter into its weight and put the plain layers back, in place."""
    for name, layer in adapted_layers(model).items():
        layer.merge()
        holder = model.get_submodule(name.removesuffix(".base_layer.weight").rpartition(".")[0])
        setattr(holder, name.removesuffix(".base_layer.weight").rpartition(".")[2], layer.base_layer)
