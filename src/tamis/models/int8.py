"""Linear layers in int8 on a processor: faster again than bfloat16, and no longer exact."""

import warnings
from typing import Any

from torch import nn

from tamis.errors import ModelError
from tamis.models.sequence import ClassifierModel, LastTokenModel


def to_int8(model: LastTokenModel | ClassifierModel) -> None:
    """Replace the linear layers of the body, in place: weights in int8 by output channel, inputs by batch.

    The scale of the inputs is that of the whole batch, so a score depends a little on its company. The score's own
    layers stay in float32.

    Raises:
        ModelError: the model lies on an accelerator.
    """
    if model.device.type != "cpu":
        raise ModelError("precision int8 is for processors; on a GPU use bfloat16")
    body: Any = model.classifier.base_model if isinstance(model, ClassifierModel) else model.body
    pooler = getattr(body, "pooler", None)
    with warnings.catch_warnings(action="ignore"):  # torch announces a successor that needs a compiler
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        quantise: Any = quantize_dynamic
        quantise(body, {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)
    if pooler is not None:
        body.pooler = pooler
