"""The losses of `train.loss` by name, each with the settings that it takes."""

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor

from tamis.formulas.losses.listwise import lambda_loss, listwise_cross_entropy
from tamis.formulas.losses.pairwise import gap_hinge, margin_mse, ranknet
from tamis.formulas.losses.pointwise import pointwise_bce, pointwise_mse
from tamis.stages.train.settings import TrainSettings

Loss = Callable[[Tensor, Tensor, Tensor, TrainSettings], Tensor]
"""From logits, labels and list index of a batch of whole lists, and the settings, to a scalar."""


LOSSES: Final[Mapping[str, Loss]] = {
    "margin-mse": lambda logits, labels, index, _: margin_mse(logits, labels, index),
    "gap-hinge": lambda logits, labels, index, settings: gap_hinge(logits, labels, index, settings.double_hard_margins),
    "listwise": lambda logits, labels, index, settings: listwise_cross_entropy(
        logits, labels, index, settings.temperature
    ),
    "ranknet": lambda logits, labels, index, _: ranknet(logits, labels, index),
    "lambda": lambda logits, labels, index, _: lambda_loss(logits, labels, index),
    "pointwise-mse": lambda logits, labels, index, _: pointwise_mse(logits, labels, index),
    "pointwise-bce": lambda logits, labels, index, _: pointwise_bce(logits, labels, index),
}
"""What each name in `TrainSettings.loss` stands for."""

MEANS_OVER_LISTS: Final = LOSSES.keys() - {"gap-hinge"}
"""Those that are a mean over lists, so that some lists can be learnt from after the others in the same step."""
