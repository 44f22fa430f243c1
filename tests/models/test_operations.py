"""Operations are counted by formula: the same whichever attention, recurrent layer or short cut a machine picks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from transferscope.input_shape import picture
from transferscope.models.build import build_network
from transferscope.models.operations import counting, forward_flops

HEADS, QUERIES, KEYS, WIDTH, VALUES = 4, 10, 14, 8, 6


def counted(call) -> int:
    with counting() as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("more", [{}, {"is_causal": True}])
def test_attention_is_its_two_products_whatever_computes_it(gradients, backend, more):
    x = torch.randn(2, HEADS, KEYS, WIDTH, requires_grad=gradients)
    q, v = x[:, :, :QUERIES], x if backend == SDPBackend.FLASH_ATTENTION else x[..., :VALUES]
    with sdpa_kernel(backend):
        found = counted(lambda: F.scaled_dot_product_attention(q, x, v, **more))
    assert found == 2 * 2 * HEADS * QUERIES * KEYS * (WIDTH + v.shape[-1])


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_multi_head_attention_takes_no_short_cut_past_the_counter(gradients, weights):
    net = nn.MultiheadAttention(32, HEADS, batch_first=True).eval().requires_grad_(gradients)
    x = torch.randn(3, KEYS, 32)
    by_hand = 2 * 3 * (KEYS * 32 * (3 * 32) + 2 * KEYS * KEYS * 32 + KEYS * 32 * 32)
    assert counted(lambda: net(x, x, x, need_weights=weights)) == by_hand
    with torch.no_grad():
        assert counted(lambda: net(x, x, x, need_weights=weights)) == by_hand
    assert torch.backends.mha.get_fastpath_enabled(), "left as it was"


@pytest.mark.parametrize("one_dnn", [True, False])
def test_recurrent_layers_are_counted_with_and_without_one_dnn(one_dnn):
    net = nn.LSTM(5, 7, batch_first=True, bidirectional=True)
    with torch.backends.mkldnn.flags(enabled=one_dnn), torch.no_grad():
        assert counted(lambda: net(torch.zeros(3, 11, 5))) == 2 * 3 * 11 * 2 * (4 * 7 * 5 + 4 * 7 * 7)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_a_transformer_costs_the_same_frozen_or_not_by_any_kernel(backend):
    net = build_network("timm:test_vit", 5, seed=0).eval()
    free = sum(forward_flops(net, picture(160)).values())
    with sdpa_kernel(backend):
        assert sum(forward_flops(net.requires_grad_(False), picture(160)).values()) == free
    places, width, depth, wide = 101, 64, 6, 3 * 64  # 10 x 10 patches and the class token
    block = 4 * places * width * width + 2 * places * places * width + 2 * places * width * wide
    assert free == 2 * (100 * 3 * 16 * 16 * width + depth * block + width * 5)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
