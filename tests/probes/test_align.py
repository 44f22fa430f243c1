"""Alignment: the permuted network is the same function, permuted copies are recovered, barriers shrink."""

import copy

import numpy as np
import pytest
import timm
import torch
import torchvision
from probing.nets import images, made
from torch import nn
from toy.nets import tiny

import transferscope as ts
from transferscope.errors import UserError
from transferscope.models.fixup_resnet import fixup_resnet14
from transferscope.probes.weights.align import Alignment, align
from transferscope.probes.weights.channels import channels


def perturbed(net, seed):
    """Every tensor, norms and running statistics too, moved off its symmetric first values."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=draw)
                tensor.add_(noise.abs() * 0.3 if name.endswith("var") else noise * 0.1)
    return net.eval()


def vgg(classes):
    """A plain network whose flattening gives four entries to each channel."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Conv2d(6, 7, 3, padding=1),
        nn.BatchNorm2d(7),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(28, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Linear(9, classes),
    )


def resnet(classes, block):
    return timm.models.resnet.ResNet(
        block, (1, 1, 1, 1), classes, stem_width=4, stem_type="deep", channels=(8, 16, 24, 32)
    )


NETS = {
    "tiny": tiny,
    "vgg": vgg,
    "fixup": fixup_resnet14,
    "timm resnet": lambda n: resnet(n, timm.models.resnet.BasicBlock),
    "torchvision resnet": lambda n: torchvision.models.ResNet(
        torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=n
    ),
    "bottlenecks": lambda n: resnet(n, timm.models.resnet.Bottleneck),
    "depthwise": lambda n: timm.create_model("mobilenetv2_035", num_classes=n),
    "squeeze and excitation": lambda n: timm.create_model("mobilenetv3_small_050", num_classes=n),
}


def shuffled(net, seed):
    """An alignment that permutes every group at random: what `align` should undo."""
    found, rng = channels(net), np.random.default_rng(seed)
    return Alignment(
        orders={name: rng.permutation(size) for name, size in zip(found.groups, found.sizes, strict=True)},
        objective=np.zeros(1),
        before=0.0,
        after=0.0,
        start="",
        tensors=tuple(p.tensor for p in found.places),
        axes=tuple(p.axis for p in found.places),
        of=tuple(found.groups[p.group] for p in found.places),
        repeats=tuple(p.repeat for p in found.places),
    )


@pytest.mark.parametrize("kind", NETS)
def test_permuted_is_the_same_function_and_is_recovered(kind):
    torch.manual_seed(0)
    net = perturbed(NETS[kind](5), 1).double()
    x = images(4, 32).double()
    mixed = shuffled(net, 2).permuted(net)
    assert not torch.equal(mixed.state_dict()[next(iter(net.state_dict()))], next(iter(net.state_dict().values())))
    with torch.no_grad():
        out = net(x)
        torch.testing.assert_close(mixed(x), out, rtol=1e-10, atol=1e-10)
        single = copy.deepcopy(net).float()
        torch.testing.assert_close(mixed.float()(x.float()), single(x.float()), rtol=1e-4, atol=1e-4)
    found = align(single, mixed)
    assert found.before > 0 and found.after == 0
    back = found.apply(mixed.state_dict())
    assert all(torch.equal(tensor, back[name]) for name, tensor in single.state_dict().items())
    assert (np.diff(found.objective) > 0).all()


def test_aligned_strangers_come_closer_and_both_stay_as_they_were(tmp_path):
    a, b = perturbed(NETS["timm resnet"](5), 1), perturbed(NETS["timm resnet"](5), 2)
    a.train()
    before = [{n: t.clone() for n, t in net.state_dict().items()} for net in (a, b)]
    found = align(a, b)
    assert found.after < found.before and found.objective[-1] > found.objective[0]
    twin = found.permuted(b)
    assert ts.distance(a, twin, head=()).body == pytest.approx(found.after, rel=1e-9)
    torch.testing.assert_close(twin(images(2, 32)), b(images(2, 32)), rtol=1e-4, atol=1e-4)
    assert a.training and not b.training
    for net, held in zip((a, b), before, strict=True):
        assert all(torch.equal(t, held[n]) for n, t in net.state_dict().items())
    rows = found.table()
    assert rows["group"][0] == "conv1.0.weight" and 0 < rows["share"].max() <= 1 and found.chart().to_dict()
    found.save(tmp_path / "a.safetensors")
    again = ts.load(tmp_path / "a.safetensors")
    assert again.table().equals(rows) and again.apply(b.state_dict()).keys() == b.state_dict().keys()
    same = align(a, b)
    assert all((same.orders[name] == order).all() for name, order in found.orders.items())


def test_residual_channels_are_tied_and_buffers_move_along():
    found = channels(NETS["bottlenecks"](5))
    stem = found.groups.index("layer1.0.conv3.weight")
    tied = {p.tensor for p in found.places if p.group == stem}
    assert {
        "layer1.0.conv3.weight",
        "layer1.0.downsample.0.weight",
        "layer2.0.conv1.weight",
        "layer1.0.bn3.running_var",
        "layer1.0.downsample.1.running_mean",
    } <= tied
    assert not any((p.tensor == "fc.weight" and p.axis == 0) or p.tensor == "fc.bias" for p in found.places)
    assert not any(p.tensor == "conv1.weight" and p.axis == 1 for p in found.places)


def test_the_barrier_between_two_small_networks_shrinks():
    """Two of one teacher's students whose channels lie in different orders."""
    x, y = images(200, 8), None

    def fit(seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 24), nn.ReLU(), nn.Linear(24, 3))
        step = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            step.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            step.step()
        return net

    torch.manual_seed(9)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    y = teacher(x).argmax(1)
    a, b = fit(1), fit(2)

    def middle(p, q):
        net = copy.deepcopy(a)
        net.load_state_dict({n: (t + q[n]) / 2 for n, t in p.items()})
        with torch.no_grad():
            return float(nn.functional.cross_entropy(net(x), y))

    apart = middle(a.state_dict(), b.state_dict())
    together = middle(a.state_dict(), align(a, b).apply(b.state_dict()))
    assert together < 0.8 * apart


def test_tied_weights_are_permuted_under_both_names():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.c.weight = self.b.weight
            self.d = nn.Linear(6, 2)

        def forward(self, x):
            return self.d(torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x)))))))

    net = Twice()
    mixed = shuffled(net, 1).permuted(net)
    x = torch.randn(3, 4)
    torch.testing.assert_close(mixed(x), net(x))
    assert mixed.c.weight is mixed.b.weight and len(channels(net).groups) == 1


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (made(), "flatten"),
        (Branching(), "Branching cannot be traced"),
        (
            nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Flatten(), nn.Linear(8, 2)),
            "'0' is a convolution in 2 groups",
        ),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(8, 2)), "group norm '1'"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.Flatten(), nn.Linear(8, 2)), "PixelShuffle '1'"),
        (nn.Sequential(nn.Linear(3, 2)), "no hidden channels"),
    ],
)
def test_what_cannot_be_aligned_is_refused_in_a_sentence(net, words):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UserError, match=words):
        align(net, copy.deepcopy(net))
    assert net.training and all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_strangers_and_diverged_networks_are_refused():
    a = tiny(3)
    with pytest.raises(UserError, match=r"'9\.weight' is \[3, 16\] in a and \[4, 16\] in b"):
        align(a, tiny(4))
    bad = copy.deepcopy(a.state_dict())
    bad["0.weight"][0] = float("nan")
    with pytest.raises(UserError, match=r"'0\.weight' holds NaN or infinite values in b"):
        align(a, bad)
    with pytest.raises(UserError, match="rounds must be at least 1"):
        align(a, a, rounds=0)
