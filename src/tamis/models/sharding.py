"""Sharding: every process keeps its part of each tensor, and whole layers exist only while they compute (FSDP2).

The parts are torch's `DTensor`s, cut along the first dimension. A forward or backward pass brings each layer together
in all processes at once, so all of them have to run the same number of passes.

Source: Zhao et al. 2023 (arXiv 2304.11277); torch.distributed.fsdp.fully_shard.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tamis.distributed import in_parts


def shard(model: nn.Module, layers: Iterable[nn.Module], device: torch.device) -> None:
    """Keep only this process's part of every parameter, in place: layer by layer, then all else.

    Parameters become other objects. A model on the processor goes to the device layer by layer, so that it never lies
    there whole. Gradients are added up over the processes on the way back.

    Args:
        model: What is called; inputs and outputs stay as they are.
        layers: Modules inside it that come together one at a time.
        device: Where this process computes; all must have joined their group, see `tamis.distributed.this_team`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for module in (*layers, model):
        part = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # The loss is that of all pairs: a sum, not a mean over processes. gloo multiplies nothing while it adds.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)


def as_parts_of(own: Tensor, given: Tensor) -> Tensor:
    """A tensor, [same shape], on the device of `own`, and this process' part of it where `own` is in parts."""
    if in_parts(given) or not in_parts(own):
        return given.to(own.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(own, DTensor), "the only tensors in parts"
    # Every process has the whole, nothing is sent; a copy, since the part would keep the whole in memory.
    return distribute_tensor(given.to(own.device), own.device_mesh, own.placements, src_data_rank=None).clone()
