"""Reading activations: whatever happens, the networks and the random state are left as they were found."""

import random

import numpy as np
import pytest
import torch
from probing.nets import Habits, batched, images, made
from torch import nn

import transferscope as ts
from transferscope.errors import UserError
from transferscope.probes.features.layers import pooled, wanted


def state(net):
    """Everything a probe could leave behind."""
    return (
        [m.training for m in net.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        {name: tensor.clone() for name, tensor in net.state_dict().items()},
        [p.requires_grad for p in net.parameters()],
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
    )


def same(before, after):
    assert before[0] == after[0] and before[1] == after[1] and before[3] == after[3] and before[5:] == after[5:]
    assert torch.equal(before[4], after[4])
    for name in before[2]:
        torch.testing.assert_close(before[2][name], after[2][name], rtol=0, atol=0)


class Stops(Habits):
    """Ends its forward pass in an exception on the third batch."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 3:
            self.bn1(self.conv1(x))  # changes the running statistics on the way
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", ["eval", "as found"])
def test_networks_are_as_found_after_every_probe(training, mode):
    a, b = made(seed=1).train(training), made(seed=2).train(not training)
    b.bn1.eval()
    y = torch.arange(24) % 3
    x = list(zip(batched(images(24)), y.split(8), strict=True))
    probes = [
        lambda: ts.similarity(a, b, x, mode=mode),
        lambda: ts.similarity(a, b, x, mode=mode, estimator="biased"),
        lambda: ts.predictions(a, x, mode=mode),
        lambda: ts.neighbours(a, x, mode=mode),
        lambda: ts.procrustes(a, b, x, mode=mode),
        lambda: ts.distance(a, b),
        lambda: ts.spectrum(a, b, operator=x[0][0]),
    ]
    for probe in probes:
        before = state(a), state(b)
        probe()
        same(before[0], state(a))
        same(before[1], state(b))


@pytest.mark.parametrize("error", [RuntimeError("no memory"), KeyboardInterrupt()])
def test_networks_are_as_found_after_an_exception(error):
    a, b = made(seed=1).train(), Stops(error).train()
    before = state(a), state(b)
    with pytest.raises(UserError if isinstance(error, RuntimeError) else KeyboardInterrupt):
        ts.similarity(a, b, batched(images(40)), mode="as found")
    same(before[0], state(a))
    same(before[1], state(b))


def test_a_shuffling_loader_leaves_the_random_state_too():
    data = torch.utils.data.TensorDataset(images(32), torch.arange(32) % 4)
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    a, b = made(seed=1), made(seed=2)
    before = torch.get_rng_state()
    ts.similarity(a, b, loader)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_draws_from_the_seed_alone():
    a, b, x = made(seed=1).train(), made(seed=2).train(), batched(images(24))
    found = [ts.similarity(a, b, x, layers=["fc"], mode="as found", seed=seed).matrix[0, 0] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_eval_mode_differs_from_training_mode():
    a, b, x = made(seed=1).train(), made(seed=2).train(), batched(images(24))
    ways = [ts.similarity(a, b, x, layers=["bn1"], mode=mode).matrix[0, 0] for mode in ("eval", "as found")]
    assert abs(ways[0] - ways[1]) > 1e-4


def test_unused_and_untidy_modules_are_listed_not_dropped_in_silence():
    found = ts.similarity(made(seed=1), made(seed=2), batched(images(24)), layers="leaves")
    assert "unused: never runs" in found.skipped_a
    assert "attention.out_proj" in " ".join(found.skipped_a)  # attention calls a function, not the module
    assert "relu#1" in found.layers_a and "relu#2" in found.layers_a


def test_a_layer_that_does_not_give_a_row_per_sample_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn, self.fc = nn.Identity(), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(self.turn(x.T).T)

    with pytest.raises(UserError, match="'turn' does not give one row per sample"):
        ts.similarity(Odd(), Odd(), [torch.randn(8, 4)], layers=["turn"])


def test_a_network_that_changes_its_path_is_refused():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.calls = nn.Linear(4, 4), nn.Linear(4, 4), 0

        def forward(self, x):
            self.calls += 1
            return self.one(x) if self.calls == 1 else self.two(x)

    with pytest.raises(UserError, match="not in every later one"):
        ts.similarity(Fickle(), nn.Sequential(nn.Linear(4, 4)), [torch.randn(8, 4)], layers=["one"], layers_b=["0"])


def test_names_and_patterns():
    net = nn.ModuleDict({"a": nn.ModuleDict({f"{i}": nn.Linear(1, 1) for i in range(12)}), "b": nn.Linear(1, 1)})
    net["c"] = nn.ModuleDict({"1": nn.Linear(1, 1)})
    name = lambda layers: [w.name for w in wanted(net, layers)]  # noqa: E731
    assert name(["a.1"]) == ["a.1"]  # and not a.10, a.11
    assert name(["a.*"]) == [f"a.{i}" for i in range(12)] and name(["*"]) == ["a", "b", "c"]
    assert len(name(["**"])) == 16 and name(["a.1*"]) == ["a.1", "a.10", "a.11"]
    assert name("b") == ["b"] and name(["10"]) == ["a.10"]
    with pytest.raises(UserError, match=r"'1' fits 2 modules \(a\.1, c\.1\); write the whole name"):
        name(["1"])
    with pytest.raises(UserError, match=r"no module fits 'a\.x\*'"):
        name(["a.x*"])


def test_pooling():
    x = torch.randn(4, 6, 5, 5)
    torch.testing.assert_close(pooled(x, "mean"), x.mean((2, 3)))
    torch.testing.assert_close(pooled(x.permute(0, 2, 3, 1), "mean", (32, 32)), x.mean((2, 3)))
    tokens = torch.randn(4, 7, 3)
    torch.testing.assert_close(pooled(tokens, "mean"), tokens.mean(1))
    torch.testing.assert_close(pooled(tokens, "token"), tokens[:, 0])
    assert pooled(x, None) is x and pooled(x[:, :, 0, 0], "mean").shape == (4, 6)
    torch.testing.assert_close(pooled(x, lambda t: t.amax((2, 3))), x.amax((2, 3)))


@pytest.mark.parametrize(
    ("shape", "space", "over"),
    [
        ((4, 6, 8, 16), (32, 64), (2, 3)),  # channels first, images that are not square
        ((4, 8, 8, 16), (32, 64), (2, 3)),  # eight channels of maps of 8 x 16, not the other way round
        ((4, 8, 16, 96), (32, 64), (1, 2)),  # channels last
        ((4, 7, 7, 96), (224, 224), (1, 2)),
        ((4, 96, 7, 7), (224, 224), (2, 3)),
        ((4, 7, 7, 7), (224, 224), (2, 3)),  # could be either: channels first
        ((4, 512, 1, 1), (224, 224), (2, 3)),
        ((4, 3, 16, 16), None, (2, 3)),  # attention of inputs without space
        ((4, 8, 16), (32, 32), (1,)),  # eight tokens of 16 channels
        ((4, 6, 2, 3, 3), None, (2, 3, 4)),
    ],
)
def test_the_mean_is_over_space_or_tokens_and_never_over_channels(shape, space, over):
    x = torch.randn(shape)
    torch.testing.assert_close(pooled(x, "mean", space), x.mean(over))


def test_features_of_two_dimensions_are_rows_already():
    x = torch.randn(8, 16)
    assert pooled(x, "mean", (8, 16)) is x


def test_nothing_after_the_last_wanted_layer_is_computed():
    a = made(seed=1)
    ran = []
    a.fc.register_forward_pre_hook(lambda *_: ran.append(1))
    ts.similarity(a, made(seed=2), batched(images(24)), layers=["conv1"])
    assert len(ran) == 1  # the look at two samples


@pytest.mark.parametrize(
    ("source", "name", "size"),
    [
        ("timm", "resnet18", 32),
        ("timm", "vit_tiny_patch16_224", 224),
        ("timm", "convnext_atto", 32),
        ("timm", "tf_efficientnet_lite0", 32),
        ("torchvision", "resnet18", 32),
        ("torchvision", "efficientnet_b0", 32),
        ("torchvision", "vit_b_16", 32),
        ("torchvision", "convnext_tiny", 32),
    ],
)
def test_families_of_networks(source, name, size):
    if source == "timm":
        import timm

        net = timm.create_model(name, num_classes=3)
    else:
        import torchvision

        options = {"image_size": 32} if name.startswith("vit") else {}
        net = getattr(torchvision.models, name)(num_classes=3, **options)
    before = [m.training for m in net.modules()]
    found = ts.similarity(net, net, [images(8, size)], layers="blocks")
    assert not found.skipped_a and found.matrix.shape[0] >= 9
    np.testing.assert_allclose(np.diag(found.matrix)[np.isfinite(np.diag(found.matrix))], 1, atol=1e-5)
    assert before == [m.training for m in net.modules()]


class Counts(nn.Module):
    """Fills a buffer that was None and registers another one while it runs."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("seen", None)

    def forward(self, x):
        self.seen = x.sum(0) if self.seen is None else self.seen + x.sum(0)
        self.register_buffer("late", x.mean(0))
        return self.fc(x)


def test_buffers_that_come_while_running_go_again():
    net = Counts()
    ts.similarity(net, net, [torch.randn(8, 4)] * 2, layers=["fc"])
    assert net.seen is None and list(net._buffers) == ["seen"]


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("pool", [lambda f: f[:4], lambda f: f.mean(), lambda f: f.flatten(0, 1)])
def test_a_pooling_that_loses_or_makes_rows_is_refused(pool, estimator):
    with pytest.raises(UserError, match=r"'conv1' comes out without one row for each of the 8 samples"):
        ts.similarity(made(seed=1), made(seed=2), batched(images(24)), ["conv1"], pool, estimator)


def test_a_pattern_that_fits_nothing_does_not_read_out_the_network():
    net = nn.Sequential(*[nn.Sequential(nn.Linear(1, 1), nn.ReLU()) for _ in range(30)])
    with pytest.raises(UserError, match=r"fits 'blocks\.\*'; there are 90, such as 0, 0\.0, 0\.1, 1, 1\.0\.$"):
        wanted(net, ["blocks.*"])
