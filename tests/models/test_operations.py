"""What is counted as work against the products written out."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tamis.models.operations import ATTENTION, operation_counter

BATCH, HEADS, TOKENS, SEEN, WIDTH = 2, 6, 7, 11, 8
PRODUCT = 2 * BATCH * HEADS * TOKENS * SEEN * WIDTH


@pytest.mark.parametrize("key_heads", [6, 2])
def test_attention_is_two_products_and_up_to_five_on_the_way_back(key_heads):
    query = torch.randn(BATCH, HEADS, TOKENS, WIDTH, requires_grad=True)
    key, value = (torch.randn(BATCH, key_heads, SEEN, WIDTH, requires_grad=True) for _ in range(2))
    with operation_counter() as counter:
        attended = scaled_dot_product_attention(query, key, value, enable_gqa=key_heads < HEADS)
    assert counter.get_total_flops() == 2 * PRODUCT
    with operation_counter() as counter:
        attended.sum().backward()
    assert 4 * PRODUCT <= counter.get_total_flops() <= 5 * PRODUCT


def test_kernels_of_gpus_are_counted_by_the_heads_of_the_queries():
    shapes = [torch.Size([BATCH, heads, tokens, WIDTH]) for heads, tokens in ((HEADS, TOKENS), (2, SEEN), (2, SEEN))]
    forward = torch.ops.aten._scaled_dot_product_flash_attention
    back = torch.ops.aten._scaled_dot_product_flash_attention_backward
    assert ATTENTION[forward](*shapes) == 2 * PRODUCT
    assert ATTENTION[back](shapes[0], *shapes) == 5 * PRODUCT


def test_a_linear_layer_is_counted():
    with operation_counter() as counter:
        torch.randn(3, 4) @ torch.randn(4, 5)
    assert counter.get_total_flops() == 2 * 3 * 4 * 5
