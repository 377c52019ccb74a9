"""Attention for learning against torch's own: same values, same gradients, within bfloat16's precision."""

import pytest
import torch

from tamis.models.attention import attend


def inputs(dtype, learning):
    generator = torch.Generator().manual_seed(1)
    shape = (2, 3, 7, 8)
    tensors = [torch.randn(shape, generator=generator).to(dtype).requires_grad_(learning) for _ in range(3)]
    bias = torch.zeros(2, 1, 7, 7, dtype=dtype)
    bias[:, :, :3, 3:] = bias[:, :, 3:, :3] = -4.0
    bias[0, :, :, 6:] = -1e9
    return *tensors, bias


def reference(query, key, value, bias, scaling):
    weights = torch.softmax(query.float() @ key.float().mT * scaling + bias.float(), dim=-1)
    return (weights @ value.float()).transpose(1, 2)


@pytest.mark.parametrize(
    ("dtype", "learning", "tolerance"),
    [
        (torch.float32, False, 1e-6),
        (torch.float32, True, 1e-6),
        (torch.bfloat16, False, 2e-2),
        (torch.bfloat16, True, 2e-2),
    ],
)
def test_values_and_gradients_are_those_of_plain_attention(dtype, learning, tolerance):
    query, key, value, bias = inputs(dtype, learning)
    found, weights = attend(None, query, key, value, bias, 0.35)
    assert weights is None
    expected = reference(query, key, value, bias, 0.35)
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)
    if learning:
        wanted = torch.autograd.grad(expected.square().sum(), (query, key, value))
        given = torch.autograd.grad(found.float().square().sum(), (query, key, value))
        for one, other in zip(given, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=10 * tolerance, rtol=10 * tolerance)


def test_without_bias_every_token_is_seen():
    query, key, value, _ = inputs(torch.bfloat16, True)
    found, _ = attend(None, query, key, value, None, 0.35)
    expected = reference(query, key, value, torch.zeros(()), 0.35)
    torch.testing.assert_close(found.float(), expected, atol=2e-2, rtol=2e-2)
