"""Outputs from kept prefixes equal those of full passes, on networks that are hard to cut; nothing is left changed."""

import copy

import numpy as np
import pytest
import timm
import torch
from probing.crossed import ByHand, Crossed, Restless, plain
from probing.nets import Habits, batched, images, made
from torch import nn

from transferscope.errors import UserError
from transferscope.models.blocks import parameters_of
from transferscope.probes.passes.folding import folded
from transferscope.probes.passes.prefix import Prefix

NETS = {
    "plain": lambda: made(plain),
    "crossed": lambda: made(Crossed),
    "by hand": lambda: made(ByHand),
    "habits": lambda: made(Habits),
    "timm resnet": lambda: timm.create_model("resnet18", num_classes=4, channels=(8, 12, 16, 24)),
    "timm vit": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=3, embed_dim=48),
    "timm mobilenet": lambda: timm.create_model("mobilenetv3_small_050", num_classes=4),
}


def network(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = NETS[name]()
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 2)
    return net


def moved(net, names, seed=0):
    """The named tensors elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    return {n: state[n] + 0.1 * torch.randn(state[n].shape, generator=generator) for n in names}


def naive(net, state, x):
    """Another network with other values, and a full pass."""
    other = copy.deepcopy(net).eval()
    other.load_state_dict(state, strict=False)
    with torch.no_grad():
        return other(x).numpy()


def fingerprint(net):
    own = [(n, t.data_ptr(), t._version, t.detach().clone()) for n, t in net.state_dict(keep_vars=True).items()]
    return own, [(m.training, sorted(m.__dict__)) for m in net.modules()]


def same(a, b):
    return a[1] == b[1] and all(x[:2] == y[:2] and torch.equal(x[3], y[3]) for x, y in zip(a[0], b[0], strict=True))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("memory", [2**30, 0], ids=["all kept", "nothing kept"])
def test_outputs_equal_full_passes_of_a_changed_copy(name, memory):
    net = network(name)
    before = fingerprint(net)
    x = images(10, 32 if name.startswith("timm") else 8)
    prefix = Prefix(net, batched(x, 4), memory=memory)
    assert np.abs(prefix.logits() - naive(net, {}, x)).max() <= 1e-5
    for block in prefix.blocks[:: max(1, len(prefix.blocks) // 6)]:
        state = moved(net, prefix.names(block))
        want = naive(net, state, x)
        for _ in range(2):  # again, on what the first pass left
            assert np.abs(prefix.logits(block.name, state) - want).max() <= 1e-5 * max(1, np.abs(want).max())
    assert prefix.why == {}
    assert same(before, fingerprint(net))


def test_what_runs_before_a_block_does_not_run_again():
    net = network("crossed").eval()
    ran = []
    for name in ("stem", "one", "two"):
        module = net.get_submodule(name)
        module._conv_forward = lambda *a, module=module, name=name: (
            ran.append(name),
            nn.Conv2d._conv_forward(module, *a),
        )[1]
    prefix = Prefix(net, [images(6)])
    prefix.logits("two", moved(net, prefix.names("two")))
    ran.clear()
    prefix.logits("two", moved(net, prefix.names("two")))
    assert ran == ["two"]
    ran.clear()
    prefix.logits("fc", moved(net, prefix.names("fc")))
    assert ran == []
    prefix.logits("stem", moved(net, prefix.names("stem")))
    assert ran == ["stem", "one", "two"]


def test_little_memory_keeps_one_block_at_a_time_and_goes_on_from_it():
    net, x = network("timm resnet"), images(12, 32)
    whole = Prefix(net, batched(x, 4))
    whole.logits("fc", {})
    everything = whole._room(whole._at[0]) * 12
    prefix = Prefix(net, batched(x, 4), memory=int(everything / 3))
    for block in (*prefix.blocks, prefix.blocks[2], prefix.blocks[5]):
        state = moved(net, prefix.names(block))
        assert np.array_equal(prefix.logits(block, state), whole.logits(block, state))
        kept = sum(prefix._room(prefix._at[n]) * 4 for n in prefix._cache)
        assert kept <= everything / 3
    assert prefix._cache


def test_several_blocks_and_buffers_at_once():
    net, x = network("crossed"), images(10)
    prefix = Prefix(net, batched(x, 4))
    state = moved(net, ["one.weight", "two.bias", "norm.running_mean"])
    want = naive(net, state, x)
    assert np.abs(prefix.logits(["two", "stem", "one"], state) - want).max() <= 1e-5
    assert np.abs(prefix.logits(None, state) - want).max() <= 1e-5
    some = prefix.logits(["one", "two", "stem"], state, batches=[2, 0])
    assert np.allclose(some, np.concatenate([want[8:], want[:4]]), atol=1e-5)


def test_tied_weights_start_where_they_are_first_read():
    net = network("by hand")
    net.late.weight = net.twice.weight
    x = images(6)
    prefix = Prefix(net, [x])
    state = moved(net, ["twice.weight"])
    want = naive(net, {**state, "late.weight": state["twice.weight"]}, x)
    assert np.abs(prefix.logits("twice", state) - want).max() <= 1e-5
    assert np.abs(prefix.logits("late", {"late.weight": state["twice.weight"]}) - want).max() <= 1e-5


def test_a_network_that_draws_random_numbers_gets_full_passes_and_is_told():
    net, x = made(Restless), images(6)
    prefix = Prefix(net, [x])
    assert "fc" in prefix.why and "off by" in prefix.why["fc"]
    state = moved(net, prefix.names("fc"))
    assert np.array_equal(prefix.logits("fc", state), prefix.logits(None, state))


class Moody(nn.Module):
    """Runs a module more when its batch is large: not what the first samples showed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.more, self.fc = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x.mean((2, 3)))
        if len(x) > 4:
            x = self.more(x)
        return self.fc(x)


def test_a_batch_that_runs_differently_gets_full_passes():
    net, x = made(Moody), images(6)
    prefix = Prefix(net, [x])
    state = moved(net, prefix.names("fc"))
    assert np.abs(prefix.logits("fc", state) - naive(net, state, x)).max() <= 1e-5
    assert "batch 1" in prefix.why["fc"]
    more = moved(net, prefix.names("more"))
    assert np.abs(prefix.logits("more", more) - naive(net, more, x)).max() <= 1e-5


@pytest.mark.parametrize("name", ["timm resnet", "timm mobilenet", "crossed"])
def test_bfloat16_folds_batch_norms_and_stays_near(name):
    net, x = network(name), images(12, 32)
    before = fingerprint(net)
    prefix = Prefix(net, batched(x, 6), precision="bfloat16")
    assert prefix._passes.folding.pairs
    for block in prefix.blocks[:: max(1, len(prefix.blocks) // 4)]:
        state = moved(
            net,
            parameters_of(
                block, [n for n, t in net.state_dict().items() if "running_var" not in n and t.is_floating_point()]
            ),
        )
        want = naive(net, state, x)
        found = prefix.logits(block, state)
        assert np.array_equal(found, prefix.logits(None, state))  # the prefix itself costs nothing
        assert np.abs(found - want).max() <= 0.05 * np.abs(want).max()
    assert same(before, fingerprint(net))


def test_folded_kernels_are_exact_in_float32():
    net, x = network("timm mobilenet").eval(), images(4, 32)
    prefix = Prefix(net, [x], precision="bfloat16")
    folding = prefix._passes.folding
    assert len(folding.pairs) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    pair = folding.pairs[0]
    both = folded(pair, net, {}, torch.float64)
    conv, norm = net.get_submodule(pair.layer), net.get_submodule(pair.norm)
    with torch.no_grad():
        y = conv(x)
        want = nn.functional.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        got = both(x.double())
    assert (got - want).abs().max() < 1e-5


class Pieces(nn.Module):
    """Two layers of one weight, each before a batch norm, and a part in float32 whatever the rest computes in."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
        self.two, self.norm2 = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
        self.two.weight = self.one.weight
        self.three, self.norm3, self.fc = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4)

    def forward(self, x):
        x = torch.relu(self.norm1(self.one(x)))
        x = torch.relu(self.norm2(self.two(x))).float()
        with torch.autocast("cpu", enabled=False):
            x = self.norm3(self.three(x)).float()
        return self.fc(x.mean((2, 3)))


def test_bfloat16_with_tied_weights_and_parts_in_float32():
    net, x = made(Pieces).eval(), images(8)
    prefix = Prefix(net, [x], precision="bfloat16")
    assert [pair.layer for pair in prefix._passes.folding.pairs] == ["three"]
    state = {"one.weight": 2 * net.one.weight.detach()}
    want = naive(net, state, x)
    assert np.abs(prefix.logits(None, state) - want).max() <= 0.02 * np.abs(want).max()


def test_the_network_is_as_found_after_an_exception(monkeypatch):
    net, x = network("crossed"), images(6)
    prefix = Prefix(net, batched(x, 3))
    state = moved(net, prefix.names("two"))
    prefix.logits("two", state)
    before = fingerprint(net)
    flags = torch.get_rng_state()

    def broken(*args):
        raise RuntimeError("no")

    net.fc.__dict__["forward"] = broken  # an instance's own forward is put back as well
    with pytest.raises(RuntimeError, match="no"):
        prefix.logits("two", state)
    assert net.fc.__dict__.pop("forward") is broken
    assert same(before, fingerprint(net)) and torch.equal(flags, torch.get_rng_state())


def test_a_network_in_one_piece_gets_full_passes_and_is_told():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 4)

        def forward(self, x):
            x = nn.functional.linear(x.mean((2, 3)), self.a.weight, self.a.bias)
            return nn.functional.linear(torch.relu(x), self.b.weight, self.b.bias)

    net, x = made(Whole), images(6)
    prefix = Prefix(net, [x])
    assert set(prefix.why) == {"a", "b"} and "one piece" in prefix.why["b"]
    state = moved(net, prefix.names("b"))
    assert np.abs(prefix.logits("b", state) - naive(net, state, x)).max() <= 1e-5


def test_reading_a_loader_leaves_the_random_state_alone():
    net = network("plain")
    pairs = torch.utils.data.TensorDataset(images(8), torch.arange(8))
    state = torch.get_rng_state()
    prefix = Prefix(net, torch.utils.data.DataLoader(pairs, 3, shuffle=True))
    assert torch.equal(state, torch.get_rng_state())
    with prefix.open():
        inside = [prefix.logits("8", moved(net, prefix.names("8"))) for _ in range(2)]
        assert not net.training
    assert net.training and np.array_equal(*inside)
    assert sorted(prefix.labels(8).values.tolist()) == list(range(8)) and prefix.samples == 8


def test_bad_input():
    net = network("plain")
    prefix = Prefix(net, [(images(4), torch.arange(4))])
    assert prefix.labels(4).values.tolist() == [0, 1, 2, 3]
    for words, block, state in (
        ("no block '9'; .*known: 0, 2, 4, 8", "9", {}),
        ("no tensor '0.weigth'; did you mean '0.weight'", None, {"0.weigth": torch.ones(1)}),
        (r"'0.bias' has shape \[3\], the network needs \[8\]", "0", {"0.bias": torch.ones(3)}),
        ("'2.bias' is not a tensor of 0", "0", {"2.bias": torch.ones(8)}),
    ):
        with pytest.raises(UserError, match=words):
            prefix.logits(block, state)
    with pytest.raises(UserError, match="there were none"):
        Prefix(net, [])
    with pytest.raises(UserError, match="neither 'float32' nor"):
        Prefix(net, [images(4)], precision="half")
    with pytest.raises(UserError, match=r"\(samples, outputs\)"):
        Prefix(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)), [images(4)]).logits()
