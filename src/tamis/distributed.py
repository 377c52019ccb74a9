"""The processes that share a training step: who computes which pairs, and how logits and gradients come together.

One process needs none of it. Several (started by torchrun or accelerate) split the pairs of each step; every one of
them sees all logits, so all compute the same loss, and the gradients of their pairs are added up. Up to the order of
sums it is the training of one process. Each holds all weights, or its part of every tensor (`tamis.models.sharding`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

Agreed = TypeVar("Agreed", bool, float)


@dataclass(frozen=True)
class ProcessGroup:
    """Processes with the same weights.

    Attributes:
        rank: Number of this process.
        size: How many there are.
        local_rank: Its number on this machine: of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            torch.distributed.barrier()

    def agree(self, value: Agreed) -> Agreed:
        """The leader's value, in every process."""
        if self.size > 1:
            said = [value]
            torch.distributed.broadcast_object_list(said)
            value = said[0]
        return value

    def most(self, value: int) -> int:
        """The largest value that a process gave, in every process."""
        if self.size > 1:
            largest = torch.tensor(value)
            torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
            value = int(largest)
        return value

    def share(self, lengths: Sequence[int]) -> list[int]:
        """The pairs that this process computes: every `size`-th by length, so that all have the same work."""
        ordered = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        return ordered[self.rank :: self.size]

    def gather(self, places: Sequence[int], own: Tensor, count: int) -> Tensor:
        """Logits of all pairs in their order: [count], from every process' own at its places."""
        whole = own.new_zeros(count)
        whole[list(places)] = own
        if self.size > 1:
            torch.distributed.all_reduce(whole)
        return whole

    def add_up(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes, [as parameters], in place; those of tensors in parts came added up."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                if not in_parts(parameter):
                    torch.distributed.all_reduce(parameter.grad)


def in_parts(tensor: Tensor) -> bool:
    """Whether each process holds a part of a tensor only; torch's `DTensor`, which is slow to import, is not named."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """A tensor in parts as one [its whole shape], on the processor; any other as it is. All processes ask at once."""
    if not in_parts(tensor):
        return tensor
    joined: Tensor = tensor.full_tensor().cpu()  # type: ignore[attr-defined]
    return joined


ALONE = ProcessGroup()
"""One process."""


def this_team() -> ProcessGroup:
    """The team that torchrun or accelerate started this process in; one process where neither did.

    Joins the group of processes the first time: gloo on processors, nccl on GPUs.
    """
    import os

    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2:
        return ALONE
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.distributed.is_initialized():
        # The others wait for hours while the leader embeds and scores.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, timeout=timedelta(days=7))
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank)
    return ProcessGroup(torch.distributed.get_rank(), size, local_rank)
