"""Refreshed batch-norm statistics equal those of all values at once, and nothing else changes."""

import pytest
import torch
from torch import nn

from transferscope.errors import UserError
from transferscope.models.build import build_network
from transferscope.models.norm import has_batch_norm, refresh_batch_norm


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None))


def test_statistics_are_those_of_all_examples_together_whatever_the_batches() -> None:
    x = torch.randn(23, 3, 6, 6) * 2 + torch.randn(23, 1, 1, 1) * 5 + 100
    net = small()
    assert refresh_batch_norm(net, x.split(5)) == 5  # batches of 5, 5, 5, 5, 3
    values = x.double().transpose(0, 1).flatten(1)
    assert torch.allclose(net[0].running_mean.double(), values.mean(1), rtol=1e-6)
    assert torch.allclose(net[0].running_var.double(), values.var(1), rtol=1e-5)


def test_one_batch_agrees_with_torch_itself() -> None:
    x = torch.randn(16, 3, 6, 6) + 1
    ours, theirs = small(), small()
    refresh_batch_norm(ours, [x])
    theirs.train()[1].eval()  # dropout off
    theirs[0].momentum = 1.0
    with torch.no_grad():
        theirs(x)
    for layer in (0, 3):
        assert torch.allclose(ours[layer].running_mean, theirs[layer].running_mean, atol=1e-6)
        assert torch.allclose(ours[layer].running_var, theirs[layer].running_var, atol=1e-6)


def test_flags_momenta_and_weights_are_left_as_found() -> None:
    net = build_network("timm:tf_efficientnet_lite0", 3, seed=0)
    net.get_submodule("bn1").eval()
    flags = [module.training for module in net.modules()]
    momentum = net.bn1.momentum
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    refresh_batch_norm(net, torch.randn(6, 3, 64, 64).split(3))
    assert [module.training for module in net.modules()] == flags
    assert net.bn1.momentum == momentum and not any(m._forward_hooks for m in net.modules())
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert net.bn1.running_mean.abs().sum() > 0


def test_an_exception_leaves_everything_as_found() -> None:
    net = small().eval()
    net[3].running_mean.fill_(7)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def batches():  # type: ignore[no-untyped-def]
        yield torch.randn(4, 3, 6, 6)
        raise OSError("disk")

    for given, error in ((batches(), OSError), ([], UserError)):
        with pytest.raises(error):
            refresh_batch_norm(net, given)
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
        assert not any(module.training for module in net.modules())
        assert (net[0].momentum, net[3].momentum) == (0.1, None)
        assert not any(module._forward_hooks for module in net.modules())


def test_networks_without_batch_norm_are_recognised() -> None:
    assert has_batch_norm(small())
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.BatchNorm2d(4, track_running_stats=False))
    assert not has_batch_norm(plain)
    assert refresh_batch_norm(plain, []) == 0
