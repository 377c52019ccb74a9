"""Taking trained tensors over into a model that was built for them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.errors import ModelError
from tamis.models.sharding import as_parts_of


@torch.no_grad()
def take_over(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copy values of `given`, [as in own], into those of `own`, in place; whole ones also where `own` is in parts.

    Raises:
        ModelError: other names, or a tensor of another shape; nothing was copied then.
    """
    if own.keys() != given.keys():
        raise ModelError(f"trained tensors do not fit this model: {sorted(own.keys() ^ given.keys())[0]!r}")
    for name, tensor in given.items():
        # Checked beforehand: copy_ would repeat a smaller tensor without a word.
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            raise ModelError(f"trained tensors do not fit this model: {name!r} has shape {shapes}")
    for name, tensor in given.items():
        own[name].copy_(as_parts_of(own[name], tensor))
