"""Which losses can be learnt list after list within a step."""

import pytest
import torch

from tamis.stages.train.losses import LOSSES, MEANS_OVER_LISTS
from tamis.stages.train.settings import TrainSettings


@pytest.mark.parametrize("name", LOSSES)
def test_a_mean_over_lists_is_the_sum_of_its_lists_shares_and_no_other_loss_is(name):
    torch.manual_seed(5)
    sizes = [2, 7, 4, 9]  # lists of different length, so that a mean over pairs is no mean over lists
    index = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    logits, labels = torch.randn(len(index)), torch.rand(len(index)) * 2 - 1

    def loss(lists):
        chosen = torch.isin(index, torch.tensor(lists))
        return LOSSES[name](logits[chosen], labels[chosen], index[chosen], TrainSettings())

    whole = loss([0, 1, 2, 3])
    by_parts = loss([0, 2]) / 2 + loss([1]) / 4 + loss([3]) / 4
    assert torch.isclose(whole, by_parts, rtol=1e-5) == (name in MEANS_OVER_LISTS)
