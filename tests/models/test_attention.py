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


@pytest.mark.parametrize("tokens", [1, 7, 192, 193])
@pytest.mark.parametrize("padded", [False, True])
def test_rows_with_padding_alone_are_right_at_every_length(tokens, padded):
    generator = torch.Generator().manual_seed(tokens)
    query, key, value = (torch.randn(2, 3, tokens, 8, generator=generator).bfloat16() for _ in range(3))
    bias = torch.zeros(2, 1, 1, tokens, dtype=torch.bfloat16)
    if padded:
        bias[0, :, :, tokens // 2 + 1 :] = -1e9
    with torch.inference_mode():
        found, _ = attend(None, query, key, value, bias if padded else None, 0.35)
    torch.testing.assert_close(found.float(), reference(query, key, value, bias, 0.35), atol=2e-2, rtol=2e-2)
