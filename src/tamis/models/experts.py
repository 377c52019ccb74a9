"""Bodies of experts: which modules route, and how evenly they do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


def is_router(module: nn.Module) -> bool:
    """Whether a module chooses experts for tokens: transformers calls them `...TopkRouter` or `...TopKRouter`."""
    return type(module).__name__.lower().endswith("topkrouter")


@dataclass
class ExpertLoad:
    """Counts the tokens that every expert of every router is given.

    Attributes:
        counts: int64 [experts] by the name of the router, since the last `read`.
    """

    counts: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def watch(cls, body: Any) -> "ExpertLoad | None":
        """Count from now on; None for a body without routers."""
        routers = {name: module for name, module in body.named_modules() if is_router(module)}
        if not routers:
            return None
        load = cls()
        for name, module in routers.items():
            module.register_forward_hook(lambda router, _, output, name=name: load._count(name, router, output))
        return load

    def _count(self, name: str, router: Any, output: Any) -> None:
        chosen = output[-1]  # (logits, weights, indices of the chosen experts)
        found = torch.bincount(chosen.detach().flatten(), minlength=router.num_experts).cpu()  # [experts]
        self.counts[name] = self.counts.get(name, torch.zeros_like(found)) + found

    def read(self) -> Mapping[str, float]:
        """Load of the busiest expert of each router in multiples of an even share, at least 1; counting starts anew."""
        found = {
            name: float(counts.max() * len(counts) / counts.sum())
            for name, counts in self.counts.items()
            if counts.any()
        }
        self.counts.clear()
        return found


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """How many parameters a token passes, and how many there are.

    Of the experts beside a router, a token passes as many as the router chooses; tensors that several modules share
    count once.
    """
    idle = 0.0
    for module in model.modules():
        router: Any = next((child for child in module.children() if is_router(child)), None)
        if router is not None:
            experts = sum(parameter.numel() for parameter in module.get_submodule("experts").parameters())
            idle += experts * (1 - router.top_k / router.num_experts)
    total = sum(parameter.numel() for parameter in model.parameters())
    return round(total - idle), total
