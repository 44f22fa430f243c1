"""Depthwise convolutions: the gradients asked of other kernels are those of `F.conv2d`."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transferscope.models import depthwise

# channels, height, width, kernel, stride, pads (left, right, top, bottom)
CASES = [
    (3, 2, 2, (5, 5), (1, 1), (2, 2, 2, 2)),
    (3, 2, 2, (3, 3), (1, 1), (1, 1, 1, 1)),
    (2, 4, 4, (5, 5), (1, 1), (2, 2, 2, 2)),
    (2, 5, 6, (7, 7), (1, 1), (3, 3, 3, 3)),
    (2, 8, 8, (5, 5), (2, 2), (1, 2, 1, 2)),
    (2, 7, 7, (5, 5), (2, 2), (0, 0, 0, 0)),
    (2, 4, 4, (3, 3), (2, 2), (0, 1, 0, 1)),
    (2, 9, 8, (3, 4), (2, 1), (1, 1, 2, 2)),
    (2, 6, 6, (3, 3), (3, 3), (1, 1, 1, 1)),
    (2, 1, 1, (5, 5), (1, 1), (2, 2, 2, 2)),
]


def _case(case, dtype=torch.float64):
    channels, height, width, kernel, stride, pads = case
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(3, channels, height, width, dtype=torch.float64, generator=draw)
    weight = torch.randn(channels, 1, *kernel, dtype=torch.float64, generator=draw)
    bias = torch.randn(channels, dtype=torch.float64, generator=draw)
    return [t.to(dtype).requires_grad_() for t in (x, weight, bias)], stride, pads


def _reference(x, weight, bias, stride, pads):
    return F.conv2d(F.pad(x, pads), weight, bias, stride, groups=len(weight))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_gradient_equals_autograd_of_the_plain_convolution(case):
    (x, weight, bias), stride, pads = _case(case)
    out = _reference(x, weight, bias, stride, pads)
    g = torch.randn_like(out)
    expected = torch.autograd.grad(out, (x, weight, bias), g)
    ours = depthwise.depthwise_conv2d(x, weight, bias, stride, pads)
    found = torch.autograd.grad(ours, (x, weight, bias), g)
    torch.testing.assert_close(ours, out)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(depthwise._transposed(g, x, weight, stride, pads), expected[0])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_low_precision_stays_near_float64(case, dtype, tolerance):
    exact, stride, pads = _case(case)
    rounded = [t.detach().to(dtype).requires_grad_() for t in exact]
    exact = [t.detach().double().requires_grad_() for t in rounded]
    out = _reference(*exact, stride, pads)
    g = torch.randn_like(out).to(dtype)
    expected = torch.autograd.grad(out, exact, g.double())
    found = torch.autograd.grad(depthwise.depthwise_conv2d(*rounded, stride, pads), rounded, g)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1)


def test_gradients_of_gradients_are_those_of_the_plain_convolution():
    (x, weight, bias), stride, pads = _case(CASES[4])
    assert torch.autograd.gradgradcheck(lambda *t: depthwise.depthwise_conv2d(*t, stride, pads), (x, weight, bias))


def test_only_what_is_needed_is_computed(monkeypatch):
    (x, weight, bias), stride, pads = _case(CASES[0])
    monkeypatch.setattr(depthwise, "input_gradient", lambda *_: pytest.fail("nobody asked for the input's gradient"))
    depthwise.depthwise_conv2d(x.detach(), weight, bias, stride, pads).sum().backward()
    assert weight.grad is not None and x.grad is None


def _net():
    timm = pytest.importorskip("timm")
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False),
        timm.layers.Conv2dSame(4, 4, 3, stride=2, groups=4),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(8, 8, 3, groups=8, dilation=2, padding=2),
        nn.Conv2d(8, 8, 3, groups=8, padding="same"),
    )


def test_a_hastened_network_is_the_same_network_with_hooks_and_copies():
    plain = _net().double()
    quick = copy.deepcopy(plain)
    seen = []
    quick[1].register_forward_hook(lambda module, inputs, out: seen.append(out.shape))
    depthwise.hasten(quick)
    assert [type(a) is type(b) for a, b in zip(plain, quick, strict=True)] == [True, False, False, True, True, True]
    assert list(plain.state_dict()) == list(quick.state_dict())
    copied = copy.deepcopy(quick)
    with torch.no_grad():
        copied[1].weight.mul_(2)
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(quick(x), plain(x))
    assert len(seen) == 1
    with torch.no_grad():
        plain[1].weight.mul_(2)
    torch.testing.assert_close(copied(x), plain(x))  # a copy computes with its own weights
    depthwise.hasten(quick)  # a second time changes nothing
    assert type(quick[1]) is depthwise._Conv2d


def test_inside_an_autocast_it_computes_in_bfloat16_and_gradients_are_float32():
    net = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    depthwise.hasten(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(torch.randn(2, 4, 6, 6))
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and net.weight.grad.dtype == torch.float32
