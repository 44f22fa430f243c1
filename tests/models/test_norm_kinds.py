"""Every kind of normalisation that keeps running statistics is seen, and gets those of a float64 hand reckoning."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from timm import layers
from torch import Tensor, nn
from torch.nn import functional as F

from transferscope.errors import UserError
from transferscope.models.norm import has_batch_norm, refresh_batch_norm, running_statistics

C = 6


class Own(nn.Module):
    """A user's norm: channels in dimension `axis`, statistics in `shape`, named as the user likes."""

    def __init__(self, axis: int = 1, shape: tuple[int, ...] = (C,), stem: str = "running", std: bool = False) -> None:
        super().__init__()
        self.axis, self.stem, self.std = axis, stem, std
        self.register_buffer(f"{stem}_mean", torch.zeros(shape))
        self.register_buffer(f"{stem}_var", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        like = [1] * x.ndim
        like[self.axis] = C
        others = [d for d in range(x.ndim) if d != self.axis % x.ndim]
        if self.training:
            return (x - x.mean(others, keepdim=True)) / (x.var(others, keepdim=True, unbiased=False) + 1e-5).sqrt()
        mean, var = (getattr(self, f"{self.stem}_{word}").view(like) for word in ("mean", "var"))
        return F.relu((x - mean) / (var if self.std else (var + 1e-5).sqrt()))


class DetectronLike(nn.Module):
    """Frozen: an affine map made of its buffers."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((C,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


BATCH_KINDS: dict[str, Callable[[], nn.Module]] = {
    "torch": lambda: nn.BatchNorm2d(C),
    "cumulative": lambda: nn.BatchNorm2d(C, momentum=None),
    "sync": lambda: nn.SyncBatchNorm(C),
    "frozen": lambda: torchvision.ops.FrozenBatchNorm2d(C),
    "timm act": lambda: layers.BatchNormAct2d(C),
    "timm frozen act": lambda: layers.FrozenBatchNormAct2d(C),
    "timm sync act": lambda: layers.convert_sync_batchnorm(layers.BatchNormAct2d(C)),
    "timm split": lambda: layers.SplitBatchNorm2d(C, num_splits=2),
    "detectron": DetectronLike,
    "own": Own,
    "own, wide": lambda: Own(shape=(1, C, 1, 1)),
    "own, moving": lambda: Own(stem="moving"),
}


def images(n: int = 40) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, C, 5, 5, generator=draw) * torch.linspace(0.5, 9, C).view(-1, 1, 1)
    return x + 50 * torch.randn(n, 1, 1, 1, generator=draw) + torch.linspace(-300, 300, C).view(-1, 1, 1)


def values(net: nn.Module) -> list[Tensor]:
    return [tensor.double().flatten() for tensor in running_statistics(net).values()]


@pytest.mark.parametrize("kind", BATCH_KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_statistics_of_every_kind_are_those_of_all_its_inputs(kind: str, training: bool) -> None:
    net = nn.Sequential(BATCH_KINDS[kind]()).train(training)
    assert has_batch_norm(net)
    x = images()
    refresh_batch_norm(net, x.split(16))  # 16, 16, 8
    flat = x.double().transpose(0, 1).flatten(1)
    mean, var = values(net)[:2]
    torch.testing.assert_close(mean, flat.mean(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(var, flat.var(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [name for name in BATCH_KINDS if name != "timm split"])
def test_what_lies_behind_sees_each_batch_normalised_by_its_own(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(BATCH_KINDS[kind](), nn.Conv2d(C, C, 3), BATCH_KINDS[kind]())
    x = images()
    refresh_batch_norm(net, x.split(20))
    seen = []
    for part in x.double().split(20):
        z = (part - part.mean((0, 2, 3), keepdim=True)) / (
            part.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5
        ).sqrt()
        relu = "act" in kind or kind.startswith("own")
        z = F.relu(z) if relu else z
        seen.append(F.conv2d(z, net[1].weight.double(), net[1].bias.double()))
    flat = torch.cat(seen).transpose(0, 1).flatten(1)
    mean, var = values(net[2])[:2]
    torch.testing.assert_close(mean, flat.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(var, flat.var(1), rtol=1e-4, atol=1e-6)


def test_instance_norm_keeps_the_mean_of_what_its_training_sees_of_each_image() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.InstanceNorm2d(C, track_running_stats=True),
        nn.Conv2d(C, C, 3),
        nn.InstanceNorm2d(C, track_running_stats=True),
    )
    x = images()
    refresh_batch_norm(net.eval(), x.split(16))
    slow = nn.Sequential(*[nn.InstanceNorm2d(C, track_running_stats=True, momentum=1.0).double() for _ in "ab"])
    with torch.no_grad():
        slow[1](F.conv2d(slow[0](x.double()), net[1].weight.double(), net[1].bias.double()))
    for ours, theirs in zip(values(net), values(slow), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not net.training and not net[0].training


def test_a_variance_alone_is_kept_too() -> None:
    net = nn.Sequential(layers.EvoNorm2dB0(C))
    x = images()
    refresh_batch_norm(net, x.split(16))
    torch.testing.assert_close(values(net)[0], x.double().transpose(0, 1).flatten(1).var(1), rtol=1e-6, atol=0)


def test_channels_of_a_users_norm_are_found_where_they_are() -> None:
    for axis, shape in ((-1, (4, 7, C)), (1, (4, C, C)), (2, (4, C, C)), (1, (9, C))):
        net = nn.Sequential(Own(axis=axis))
        x = (
            torch.randn(shape) * 3
            + torch.arange(shape[-1])
            + (10 * torch.arange(C)[:, None] if len(shape) == 3 and shape[1] == C else 0)
        )
        refresh_batch_norm(net, [x])
        flat = x.double().movedim(axis, 0).flatten(1)
        torch.testing.assert_close(values(net)[0], flat.mean(1), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(values(net)[1], flat.var(1), rtol=1e-5, atol=1e-5)


def test_half_and_double_networks() -> None:
    x = images(12)
    flat = x.double().transpose(0, 1).flatten(1)
    for dtype, close in ((torch.float64, 1e-12), (torch.float16, 1e-2), (torch.bfloat16, 2e-2)):
        net = nn.Sequential(nn.BatchNorm2d(C)).to(dtype)
        refresh_batch_norm(net, x.to(dtype).split(6))
        torch.testing.assert_close(
            values(net)[1], x.to(dtype).double().transpose(0, 1).flatten(1).var(1), rtol=close, atol=0
        )
    assert flat.isfinite().all()


class Unused(nn.Module):
    """Always normalises by the batch: what it keeps does not enter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.full((C,), 7.0))
        self.register_buffer("running_var", torch.full((C,), 5.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)


def test_what_does_not_enter_is_left_alone() -> None:
    net = nn.Sequential(Unused(), nn.BatchNorm2d(C))
    refresh_batch_norm(net, [images()])
    assert bool((net[0].running_mean == 7).all() and (net[0].running_var == 5).all())
    assert float(net[1].running_var[0]) == pytest.approx(1, abs=0.01)


class Around(nn.Module):
    """Uses its norm's tensors without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(C)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.bn.running_mean, self.bn.running_var)


class Plain(nn.Module):
    """Statistics as a plain attribute, which no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.moving_mean, self.moving_var = torch.zeros(1, C, 1, 1), torch.ones(1, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.moving_mean) / self.moving_var.sqrt()


class Renorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(C))
        self.register_buffer("running_std", torch.ones(C))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.running_mean.view(1, -1, 1, 1)) / self.running_std.view(1, -1, 1, 1)


def outside() -> nn.Module:
    net = nn.BatchNorm2d(C)
    del net.running_mean
    net.register_buffer("running_mean", torch.zeros(C), persistent=False)
    return net


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Own(std=True), "keeps 'running_mean' and 'running_var', but its outputs"),
        (lambda: Own(shape=(2, 3)), "not one value of each per channel"),
        (Around, "used without a call"),
        (Plain, "outside its state dict"),
        (outside, "outside its state dict"),
        (Renorm, "keeps 'running_mean', which no known way"),
    ],
)
def test_a_norm_that_is_not_understood_is_one_sentence(make: Any, words: str) -> None:
    net = nn.Sequential(nn.Conv2d(C, C, 1), make()).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UserError, match=words) as told:
        refresh_batch_norm(net, [images()])
    assert str(told.value).startswith("batch norm: ") and "'1" in str(told.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not net.training and not any(module._forward_pre_hooks for module in net.modules())


def test_one_value_a_channel_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        refresh_batch_norm(nn.Sequential(nn.BatchNorm1d(C)), [torch.randn(1, C)])


def test_whole_networks() -> None:
    """FrozenBatchNorm2d where torchvision's detectors have it; its statistics move the outputs."""
    torch.manual_seed(0)
    frozen = torchvision.models.resnet18(norm_layer=torchvision.ops.FrozenBatchNorm2d, num_classes=4).eval()
    plain = torchvision.models.resnet18(num_classes=4).eval()
    plain.load_state_dict(frozen.state_dict(), strict=False)
    x = torch.randn(24, 3, 64, 64)
    for net in (frozen, plain):
        refresh_batch_norm(net, x.split(12))
    with torch.no_grad():
        torch.testing.assert_close(frozen(x[:4]), plain(x[:4]), rtol=1e-3, atol=1e-4)
