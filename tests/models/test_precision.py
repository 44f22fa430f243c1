"""Fast arithmetic trains the network that plain arithmetic trains."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from transferscope.errors import UserError
from transferscope.models.build import build_network
from transferscope.models.precision import _autocasts, prepare, running

CLASSES, SIZE, BATCH, BATCHES = 4, 32, 8, 4


class SmallNet(torch.nn.Module):
    """A dense, a strided and two wide depthwise convolutions with batch norm: what the fast paths treat specially."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        parts: list[torch.nn.Module] = [torch.nn.Conv2d(3, 16, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(16)]
        for stride, kernel in ((2, 5), (2, 3), (2, 5), (1, 5)):
            parts += [
                torch.nn.Conv2d(16, 16, kernel, stride, kernel // 2, groups=16, bias=False),
                torch.nn.BatchNorm2d(16),
                torch.nn.ReLU6(),
                torch.nn.Conv2d(16, 16, 1),
            ]
        self.body = torch.nn.Sequential(*parts)
        self.head = torch.nn.Linear(16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


def _net(seed=0):
    torch.manual_seed(seed)
    return SmallNet(CLASSES)


def _data(dtype=torch.float32):
    """Images whose class is the quadrant that is bright: learnable, not trivial."""
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(draw.integers(0, CLASSES, BATCH * BATCHES))
    x = torch.from_numpy(draw.normal(size=(BATCH * BATCHES, 3, SIZE, SIZE)))
    half = SIZE // 2
    for image, label in zip(x, labels.tolist(), strict=True):
        top, left = half * (label // 2), half * (label % 2)
        image[:, top : top + half, left : left + half] += 0.4
    return x.to(dtype), labels


def _losses(net, precision="float32", epochs=3, fast=True, dtype=torch.float32):
    x, labels = _data(dtype)
    net = prepare(net, "cpu") if fast else net.to(dtype)
    if fast:
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for i in range(BATCHES):
            part = slice(i * BATCH, (i + 1) * BATCH)
            with running(precision, "cpu") if fast else torch.enable_grad():
                out = net(x[part])
            loss = F.cross_entropy(out.to(dtype), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return np.array(losses)


def test_three_epochs_in_float32_have_the_losses_of_plain_float64():
    exact = _losses(_net(), fast=False, dtype=torch.float64)
    np.testing.assert_allclose(_losses(_net()), exact, atol=1e-4)
    assert exact[-1] < 0.7 * exact[0]  # something was learnt, so that a wrong gradient would show


def test_bfloat16_reaches_the_losses_of_float32_over_seeds():
    differences = [
        _losses(_net(seed), "bfloat16", epochs=5)[-BATCHES:].mean() - _losses(_net(seed), epochs=5)[-BATCHES:].mean()
        for seed in range(6)
    ]
    spread = np.std(differences, ddof=1) / np.sqrt(len(differences))
    assert abs(np.mean(differences)) < max(3 * spread, 0.03)
    assert np.max(np.abs(differences)) < 0.3


@pytest.mark.parametrize("ref", ["timm:tf_efficientnet_lite0", "timm:resnet18"])
def test_gradients_of_a_network_are_those_of_the_plain_one(ref):
    pytest.importorskip("timm")
    plain, fast = (build_network(ref, CLASSES, seed=3).double() for _ in range(2))
    prepare(fast, "cpu")
    assert list(plain.state_dict()) == list(fast.state_dict())
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for net in (plain, fast):
        net(x).square().sum().backward()
    for (name, a), b in zip(plain.named_parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9, msg=name)


def test_preparing_changes_no_weight_and_asks_for_channels_last():
    before = _net().state_dict()
    net = prepare(_net(), "cpu")
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert net.body[5].weight.is_contiguous(memory_format=torch.channels_last)


def test_only_bfloat16_opens_an_autocast():
    with running("float32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")
    with running("bfloat16", "cpu"):
        assert torch.is_autocast_enabled("cpu")


def test_bfloat16_that_torch_would_ignore_is_refused(monkeypatch):
    """Torch 2.5 warns on Apple's GPUs that it does not know bfloat16 there, and computes in float32."""
    _autocasts.cache_clear()
    monkeypatch.setattr(torch, "autocast", lambda kind, **_: nullcontext())
    try:
        with pytest.raises(UserError, match=r"precision: torch .* does not compute in bfloat16 on 'cpu'; write"):
            running("bfloat16", "cpu")
        running("float32", "cpu")
    finally:
        _autocasts.cache_clear()
