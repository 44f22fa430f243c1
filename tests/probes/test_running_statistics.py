"""Statistics estimated anew behind a change, against whole passes in float64, for norms and networks of many kinds."""

import copy

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from probing.crossed import Crossed
from probing.nets import images, made
from timm.layers import BatchNormAct2d
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes.blocks.running_statistics import Anew, at_once
from transferscope.probes.passes.prefix import Prefix


class Own(nn.Module):
    """A norm of one's own, channels last, that keeps what others keep."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = (x.movedim(1, -1) - self.running_mean) / (self.running_var + 1e-5).sqrt() * self.weight
        return y.movedim(-1, 1)


class Twice(nn.Module):
    """One norm that runs before and after the block in the middle."""

    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.norm = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.middle(torch.relu(self.norm(self.stem(x)))))).mean((2, 3)))


def stacked(norm):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        norm(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        norm(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


NETS = {
    "crossed": (lambda: made(Crossed), True),
    "residual": (lambda: timm.create_model("resnet10t", num_classes=4, channels=(8, 8, 12, 16), stem_width=8), True),
    "norms with activations": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=4), True),
    "frozen": (lambda: stacked(FrozenBatchNorm2d), True),
    "synchronised": (lambda: stacked(nn.SyncBatchNorm), True),
    "instances": (lambda: stacked(lambda n: nn.InstanceNorm2d(n, track_running_stats=True, affine=True)), False),
    "own": (lambda: stacked(Own), False),
    "called twice": (lambda: made(Twice), False),
}


def network(name, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[name][0]().eval()


def slow(net, values, portions, x, biased=False):
    other = copy.deepcopy(net)
    other.load_state_dict(values, strict=False)
    other.double()
    refresh_batch_norm(other, [part.double() for part in portions], biased=biased)
    with torch.no_grad():
        return other.eval()(x.double()).numpy()


@pytest.mark.parametrize("name", NETS)
def test_outputs_are_those_of_a_changed_copy_with_statistics_from_whole_passes(name):
    net, start = network(name, 1), network(name, 2).state_dict()
    size = 32 if name in ("residual", "norms with activations") else 9
    x, given = images(9, size, seed=1), images(30, size, seed=2)
    portions = (given[::2], given[1::2])
    prefix = Prefix(copy.deepcopy(net), [x[:5], x[5:]])
    anew = Anew(prefix, portions, "float32")
    assert (anew.estimated(None, {})[1] is not None) == NETS[name][1], "passes that start at the change"
    with anew.open():
        want = slow(net, {}, portions, x)
        assert np.abs(prefix.logits() - want).max() <= 1e-5 * max(1, np.abs(want).max()), "the unchanged network too"
        cut = blocks(net, x[:2])
        for inside in [*((block,) for block in cut[:: max(1, len(cut) // 4)]), cut[1:3]]:
            values = {n: start[n] for block in inside for n in parameters_of(block, start)}
            want = slow(net, values, portions, x)
            for _ in range(2):  # again, on what the first pass left
                found = prefix.run(anew.variant(inside, values))
                assert np.abs(found - want).max() <= 1e-5 * max(1, np.abs(want).max()), inside
            rows = np.array([3, 1])
            some = prefix.rows(anew.variant(inside, values), 0, rows)
            assert np.abs(some - want[rows]).max() <= 1e-5 * max(1, np.abs(want).max())
    for word, tensor in prefix.net.state_dict().items():
        if "running" not in word:
            assert torch.equal(tensor, net.state_dict()[word]), word


@pytest.mark.parametrize("name", NETS)
def test_one_pass_gives_the_outputs_that_a_change_has_on_the_images_of_its_statistics(name):
    net, start = network(name, 1), network(name, 2).state_dict()
    x = images(30, 32 if name in ("residual", "norms with activations") else 9).to(memory_format=torch.channels_last)
    prefix = Prefix(copy.deepcopy(net), [x])
    anew = Anew(prefix, (x,), "float32", biased=True)
    assert anew.exact == NETS[name][1]
    assert not Anew(Prefix(copy.deepcopy(net), [x]), (x,), "float32").exact, "unbiased variances"
    assert not Anew(Prefix(copy.deepcopy(net), [x]), (x[::2], x[1::2]), "float32", biased=True).exact
    cut = blocks(net, x[:2])
    for block in cut[:: max(1, len(cut) // 4)]:
        values = {n: start[n] for n in parameters_of(block, start)}
        want = slow(net, values, [x], x, biased=True)
        bound = 1e-5 * max(1, np.abs(want).max())
        assert np.abs(prefix.run(anew.variant(block, values)) - want).max() <= bound, block
        if anew.exact:
            assert np.abs(anew.outputs(block, values) - want).max() <= bound, block


@pytest.mark.parametrize("norm", ["plain", "with activation", "without weights", "synchronised"])
def test_a_norm_by_the_statistics_of_what_reaches_it(norm):
    kinds = {
        "plain": nn.BatchNorm2d,
        "with activation": BatchNormAct2d,
        "without weights": lambda n: nn.BatchNorm2d(n, affine=False),
        "synchronised": nn.SyncBatchNorm,
    }
    one = kinds[norm](5)
    x = 3 * images(200, 24)[:, :1].reshape(40, 5, 24, 24) + torch.linspace(-9, 9, 5).view(-1, 1, 1)
    if norm != "without weights":
        with torch.no_grad():
            one.weight.copy_(torch.linspace(-1, 2, 5))
            one.bias.copy_(torch.linspace(2, -1, 5))
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.contiguous(memory_format=layout)
        out, seen = at_once(one.eval(), given)
        exact = x.double()
        assert torch.allclose(seen.mean, exact.mean((0, 2, 3)), atol=1e-4)
        assert torch.allclose(seen.biased_var, exact.var((0, 2, 3), correction=0), rtol=1e-4)
        assert torch.allclose(seen.var, exact.var((0, 2, 3)), rtol=1e-4)
        double = copy.deepcopy(one).double().train()
        want = double(exact) if norm != "synchronised" else F.batch_norm(
            exact, None, None, double.weight, double.bias, True, 0.0, double.eps
        )  # fmt: skip
        assert (out - want).abs().max() <= 1e-4 and torch.equal(given, x), "what it is given is left alone"
    assert at_once(one, x.bfloat16()) is None and at_once(nn.GroupNorm(1, 5), x) is None
    assert at_once(one, x[:1, :, :1, :1]) is None, "one value has no variance"


def test_begun_again_with_other_weights():
    net, other = network("residual", 1), network("residual", 2)
    x, given = images(6, 32, seed=1), (images(20, 32, seed=2),)
    prefix = Prefix(copy.deepcopy(net), [x])
    anew = Anew(prefix, given, "float32")
    block = prefix.blocks[2]
    values = {n: t * 1.1 for n, t in other.state_dict().items() if n in prefix.names(block)}
    prefix.run(anew.variant(block, values))
    prefix.net.load_state_dict(other.state_dict())
    anew.again()
    assert np.abs(prefix.logits() - slow(other, {}, given, x)).max() <= 1e-5
    assert np.abs(prefix.run(anew.variant(block, values)) - slow(other, values, given, x)).max() <= 1e-5


def test_what_overflows_is_not_finite_and_raises_nothing():
    net = network("crossed", 1)
    prefix = Prefix(copy.deepcopy(net), [images(6, 9)])
    anew = Anew(prefix, (images(20, 9, seed=2),), "float32")
    for scale in (1e38, float("inf")):
        out = prefix.run(anew.variant("one", {"one.weight": net.one.weight.detach() * scale}))
        assert not np.isfinite(out).all()
    assert np.isfinite(prefix.logits()).all()
