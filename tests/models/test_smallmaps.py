"""Convolutions spelled out as matrices equal `F.conv2d`, forwards and backwards."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transferscope.models import smallmaps

# channels in, out, height, width, kernel, stride, padding
CASES = [
    (3, 4, 2, 2, (3, 3), (1, 1), (1, 1)),
    (3, 4, 1, 1, (3, 3), (1, 1), (1, 1)),
    (4, 2, 2, 2, (3, 3), (2, 2), (1, 1)),
    (2, 3, 3, 2, (5, 5), (1, 1), (2, 2)),
    (2, 3, 3, 3, (5, 5), (2, 2), (2, 2)),
    (2, 3, 1, 4, (3, 5), (1, 2), (1, 2)),
    (2, 3, 3, 3, (3, 3), (3, 3), (2, 2)),
]


def _case(case, dtype=torch.float64):
    c, k, height, width, kernel, stride, padding = case
    draw = torch.Generator().manual_seed(1)
    shapes = ((5, c, height, width), (k, c, *kernel), (k,))
    tensors = [torch.randn(s, dtype=torch.float64, generator=draw).to(dtype).requires_grad_() for s in shapes]
    return tensors, stride, padding


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
def test_output_and_gradients_equal_the_plain_convolution_in_float64(case, dtype, tolerance):
    given, stride, padding = _case(case, dtype)
    exact = [t.detach().double().requires_grad_() for t in given]
    expected = F.conv2d(*exact, stride, padding)
    found = smallmaps.conv2d(*given, stride, padding)
    g = torch.randn_like(expected).to(dtype)
    pairs = [(found, expected)]
    pairs += zip(torch.autograd.grad(found, given, g), torch.autograd.grad(expected, exact, g.double()), strict=True)
    for ours, theirs in pairs:
        assert ours.dtype == dtype and ours.shape == theirs.shape
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_gradients_of_gradients_are_those_of_the_plain_convolution():
    given, stride, padding = _case(CASES[0])
    assert torch.autograd.gradgradcheck(lambda *t: smallmaps.conv2d(*t, stride, padding), given)


def test_only_maps_of_at_most_half_the_kernel_are_spelled_out(monkeypatch):
    net = nn.Conv2d(2, 3, 3, padding=1)
    smallmaps.hasten(net)
    used = []
    monkeypatch.setattr(smallmaps, "conv2d", lambda x, *_: used.append(tuple(x.shape[2:])) or x)
    for size in ((1, 1), (2, 2), (1, 5), (3, 3), (2, 3), (8, 8)):
        net(torch.zeros(1, 2, *size))
    assert used == [(1, 1), (2, 2)]


def test_a_hastened_network_is_the_same_network_with_hooks_and_copies():
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1),
        nn.Conv2d(4, 4, 3, 1, 1, bias=False),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
    ).double()
    quick = copy.deepcopy(plain)
    seen = []
    quick[1].register_forward_hook(lambda module, inputs, out: seen.append(tuple(out.shape)))
    smallmaps.hasten(quick)
    kinds = (smallmaps.SmallMapConv2d, smallmaps.SmallMapConv2d, smallmaps.PointwiseConv2d, nn.Conv2d)
    assert tuple(type(m) for m in quick) == kinds
    assert list(plain.state_dict()) == list(quick.state_dict())
    copied = copy.deepcopy(quick)
    with torch.no_grad():
        copied[1].weight.mul_(2)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(quick(x), plain(x))
    assert seen == [(2, 4, 2, 2)]
    with torch.no_grad():
        plain[1].weight.mul_(2)
    torch.testing.assert_close(copied(x), plain(x))


def test_inside_an_autocast_it_computes_in_bfloat16_and_gradients_are_float32():
    net = nn.Conv2d(4, 4, 3, padding=1)
    smallmaps.hasten(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(torch.randn(2, 4, 2, 2))
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and net.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (10, 10)])
def test_a_kernel_of_one_pixel_is_a_product_with_the_convolutions_numbers(size, bias):
    net = nn.Conv2d(6, 5, 1, bias=bias)
    smallmaps.hasten(net)
    x = torch.randn(4, 6, *size).to(memory_format=torch.channels_last).requires_grad_()
    exact = [t.detach().double().requires_grad_() for t in (x, *net.parameters())]
    expected = F.conv2d(*exact)
    found = net(x)
    g = torch.randn_like(expected)
    given = (x, *net.parameters())
    pairs = [(found, expected)]
    pairs += zip(torch.autograd.grad(found, given, g.float()), torch.autograd.grad(expected, exact, g), strict=True)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert (ours.double() - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_a_product_is_taken_only_where_it_was_measured_to_be_quicker(monkeypatch):
    net = nn.Conv2d(2, 3, 1)
    smallmaps.hasten(net)
    used, product = [], F.linear
    monkeypatch.setattr(smallmaps.F, "linear", lambda x, *rest: used.append(tuple(x.shape[1:3])) or product(x, *rest))
    for size in ((1, 1), (10, 10), (10, 11), (32, 32)):
        net(torch.zeros(2, 2, *size).to(memory_format=torch.channels_last))
    net(torch.zeros(2, 2, 4, 4))  # planes, not pixels, lie together
    small = torch.zeros(2, 2, 3, 3).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net(small).dtype == net(small.bfloat16()).dtype == torch.bfloat16
    net.bfloat16()(small.bfloat16())
    net.double()(torch.zeros(2, 2, 1, 1, dtype=torch.float64))
    assert used == ([(1, 1), (10, 10), (3, 3), (3, 3)] if torch.backends.mkl.is_available() else [])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (10, 10)])
def test_in_bfloat16_a_product_is_as_near_the_truth_as_the_convolution(size):
    """Outputs and gradients against float64, root mean square over all entries: rounding has two orders of summing."""
    plain = nn.Conv2d(96, 64, 1)
    quick = copy.deepcopy(plain)
    smallmaps.hasten(quick)
    x = torch.randn(8, 96, *size).to(memory_format=torch.channels_last)
    g = torch.randn(8, 64, *size).to(memory_format=torch.channels_last)

    def worked(net: nn.Module, x: torch.Tensor, g: torch.Tensor) -> list[torch.Tensor]:
        x = x.clone().requires_grad_()
        out = net(x)
        return [out, *torch.autograd.grad(out, (x, *net.parameters()), g.to(out.dtype))]

    truth = worked(copy.deepcopy(plain).double(), x.double(), g.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = worked(quick, x, g), worked(plain, x, g)
    for mine, its, exact in zip(ours, theirs, truth, strict=True):
        off, usual = ((found.double() - exact).square().mean().sqrt() for found in (mine, its))
        assert mine.shape == exact.shape and mine.dtype == its.dtype
        assert off <= 1.05 * usual + 1e-7, (float(off), float(usual))


def test_convolutions_with_a_stride_or_groups_are_left_alone():
    net = nn.Sequential(nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1, padding=0))
    smallmaps.hasten(net)
    assert [type(m) for m in net] == [nn.Conv2d, nn.Conv2d, smallmaps.PointwiseConv2d]


def test_a_product_is_taken_inside_a_vectorised_map_too():
    net = nn.Conv2d(3, 4, 1)
    x = torch.randn(2, 5, 3, 4, 4)
    expected = torch.stack([net(one) for one in x])
    smallmaps.hasten(net)
    torch.testing.assert_close(torch.vmap(net)(x), expected)
