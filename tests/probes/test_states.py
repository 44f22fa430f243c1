"""Many states of one network: the numbers of a plain pass, whatever batch norm, layout and folding do to get them."""

import copy

import numpy as np
import pytest
import torch
from lines.naive import logits as slow_logits
from lines.nets import Normed, Tied, pictures, trained
from probing.nets import Habits, batched, images, made
from torch import nn

from transferscope.errors import UserError
from transferscope.measures import judged, metrics
from transferscope.probes.passes.folding import Folding, foldable
from transferscope.probes.walks.states import States

X, Y = pictures(200)
NET = trained(0)


def data(size=64, x=X, y=Y):
    return list(zip(x.split(size), y.split(size), strict=True))


def double(net):
    return {name: t.double() if t.is_floating_point() else t for name, t in net.state_dict().items()}


@pytest.mark.parametrize("size", [7, 64, 200])
def test_own_statistics_give_the_logits_of_the_network(size):
    with torch.no_grad():
        plain = NET(X).numpy()
    with States(NET, data(size)) as at:
        found = at(NET.state_dict(), batch_norm="as given")["data"]
    assert np.abs(found.logits - plain).max() < 1e-5
    assert np.abs(found.logits - slow_logits(NET, double(NET), X)).max() < 1e-5
    assert found.metric == metrics.accuracy(plain, Y.numpy()) == 1 - found.wrong.mean()
    assert found.loss == pytest.approx(metrics.cross_entropies(plain, Y.numpy()), abs=1e-5)


def test_refreshed_statistics_are_those_of_the_images_given():
    other = pictures(120, seed=5)[0]
    with States(NET, data(), statistics=[other]) as at:
        found = at(trained(3).state_dict())["data"]
        assert at.measured == at.refreshed == 120 and at.evaluated == 200
    assert np.abs(found.logits - slow_logits(NET, double(trained(3)), X, refresh=other)).max() < 1e-5


def test_of_given_statistics_only_so_many_images_are_read():
    def endless():
        while True:
            yield pictures(30, seed=5)

    with States(NET, data(), statistics=endless(), images=100) as at:
        assert at.measured == 100


def test_statistics_default_to_images_spread_over_sorted_classes():
    order = torch.argsort(Y)
    with States(NET, data(x=X[order], y=Y[order]), images=40) as at:
        found = at(NET.state_dict())["data"]
    spread = X[order][np.unique(np.linspace(0, 199, 40).round().astype(int))]
    assert np.abs(found.logits - slow_logits(NET, double(NET), X[order], refresh=spread)).max() < 1e-5


def test_one_state_leaves_nothing_behind_for_the_next():
    with States(NET, data()) as at:
        first = at(NET.state_dict())["data"].logits
        at(trained(3).state_dict())
        at(trained(4).state_dict(), batch_norm="as given")
        assert np.array_equal(at(NET.state_dict())["data"].logits, first)


def test_found_statistics_can_be_given_back():
    state = trained(3).state_dict()
    with States(NET, data()) as at:
        statistics = at.load(state)
        wanted = at.score()["data"].logits
        at(NET.state_dict())
        assert set(statistics) == set(at.running_names)
        assert np.array_equal(at(state | statistics, batch_norm="as given")["data"].logits, wanted)


def test_rows_are_scored_alone():
    pick = np.array([5, 199, 0])
    with States(NET, {"train": data(), "test": data()}) as at:
        whole = at(NET.state_dict())
        some = at(NET.state_dict(), rows={"test": pick})
    assert set(whole) == {"train", "test"} and set(some) == {"test"}
    assert np.abs(some["test"].logits - whole["test"].logits[pick]).max() < 1e-5
    assert np.array_equal(some["test"].wrong, whole["test"].wrong[pick])


def test_bfloat16_is_near():
    with States(NET, data(), precision="bfloat16") as at:
        near = at(NET.state_dict())["data"].logits
    with States(NET, data()) as at:
        exact = at(NET.state_dict())["data"].logits
    assert 0 < np.abs(near - exact).max() < 0.05 * np.abs(exact).max()


def test_the_network_and_chance_are_left_as_found_also_after_an_exception():
    net = trained(1).train()
    net.bn1.eval()
    state, flags = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    chance = torch.get_rng_state()
    shuffled = torch.utils.data.DataLoader(list(zip(X, Y, strict=True)), batch_size=50, shuffle=True)
    broken = {name: t * float("nan") if t.is_floating_point() else t for name, t in state.items()}
    with States(net, shuffled) as at:
        at(trained(2).state_dict())
        with pytest.raises(UserError, match="NaN"):
            at(broken)
    assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())
    assert [m.training for m in net.modules()] == flags and type(net.conv1) is nn.Conv2d
    assert torch.equal(torch.get_rng_state(), chance)
    assert not net.conv2.bias.requires_grad and net.conv1.weight.requires_grad


def test_all_batch_norms_behind_one_layer_are_folded():
    net = copy.deepcopy(NET)
    before = [(t.data_ptr(), t._version) for t in net.state_dict(keep_vars=True).values()]
    pairs = foldable(net, lambda: net(X[:4]))
    assert {(p.layer, p.norm) for p in pairs} == {("conv1", "bn1"), ("conv2", "bn2"), ("down", "bn3")}
    with torch.no_grad():
        plain = net(X)
        folding = Folding(net, pairs, torch.float32)
        with folding.running():
            assert torch.allclose(net(X), plain, atol=1e-5)
            for pair in pairs:  # no norm computes any more
                y = torch.randn(4, net.get_submodule(pair.norm).num_features, 3, 3)
                assert net.get_submodule(pair.norm)(y) is y
        assert torch.equal(net(X), plain)
    assert [(t.data_ptr(), t._version) for t in net.state_dict(keep_vars=True).values()] == before
    assert set(folding.of({"bn2.running_var": net.bn2.running_var, "fc.bias": net.fc.bias})) == {"conv2"}


class Standardised(nn.Conv2d):
    """Does not use its weight as it is."""

    def forward(self, x):
        return self._conv_forward(x, self.weight / self.weight.std(), self.bias)


class Skips(nn.Module):
    """A convolution whose batch norm cannot be folded because of `kind`, and a linear layer whose batch norm can."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.bn = kind, nn.BatchNorm2d(4)
        self.conv = (Standardised if kind == "standardised" else nn.Conv2d)(3, 4, 3)
        if kind == "parametrized":
            torch.nn.utils.parametrizations.weight_norm(self.conv)
        if kind == "two names":
            self.again = self.conv
        if kind == "tied":
            self.other = nn.Conv2d(3, 4, 3)
            self.other.weight = self.conv.weight
        self.relu, self.down, self.norm = nn.ReLU(inplace=True), nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        h = self.conv(x)
        if self.kind == "in place":
            h = self.relu(h)
        out = self.bn(h)
        if self.kind == "round":
            out = out + h
        if self.kind == "twice":
            out = out + self.bn(self.conv(x.flip(2)))
        return self.norm(self.down(out.mean((2, 3))))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("nothing", ["conv", "down"]),
        *((kind, ["down"]) for kind in ("round", "in place", "twice", "parametrized", "two names", "tied")),
        ("standardised", []),  # only the trial tells, and it tells of all pairs at once
    ],
)
def test_what_cannot_be_folded_is_not(kind, wanted):
    net = Skips(kind).eval()
    before = copy.deepcopy(net.state_dict())
    assert [pair.layer for pair in foldable(net, lambda: net(X[:4]))] == wanted
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    with States(net, data()) as at, torch.no_grad():
        found = at(net.state_dict(), batch_norm="as given")["data"].logits
        assert np.abs(found - net(X).numpy()).max() < 1e-5


def test_habits_of_other_networks_do_no_harm():
    net = made(Habits).eval()
    with torch.no_grad():
        plain = net(images(24)).numpy()
    with States(net, list(zip(batched(images(24)), torch.zeros(3, 8, dtype=torch.long), strict=True))) as at:
        assert np.abs(at(net.state_dict(), batch_norm="as given")["data"].logits - plain).max() < 1e-5


def test_a_network_of_timm_with_activations_inside_its_batch_norms():
    import timm

    torch.manual_seed(0)
    net = timm.create_model("test_efficientnet", num_classes=4).eval()
    x, y = pictures(60, size=32)
    with States(net, [(x, y)]) as at, torch.no_grad():
        assert len(at._folding.pairs) > 5
        plain = net(x).numpy()
        found = at(net.state_dict(), batch_norm="as given")["data"].logits
        assert np.abs(found - plain).max() < 1e-5 * max(1, np.abs(plain).max())


def test_tied_weights_and_integer_buffers():
    net, x = made(Tied), torch.randn(30, 4)
    with States(net, [(x, torch.arange(30) % 4)]) as at, torch.no_grad():
        state = {name: t + 1 for name, t in net.state_dict().items()}
        found = at(state)["data"].logits
        assert at._net.one.weight is at._net.two.weight
        net.load_state_dict(state)
        assert np.abs(found - net(x).numpy()).max() < 1e-5
        assert at.measured == 0 and at.running_names == ()


def test_many_labels_two_classes_and_one_output():
    some = (torch.rand(200, 4, generator=torch.Generator().manual_seed(1)) > 0.6).long()
    with States(NET, data(y=some)) as at:
        found = at(NET.state_dict(), batch_norm="as given")["data"]
        assert at.metric == "auc" and found.metric == metrics.mean_auc(found.logits, some.numpy())
        assert found.wrong == pytest.approx(((found.logits > 0) != (some.numpy() == 1)).mean(1))
        assert found.loss == pytest.approx(metrics.binary_cross_entropies(found.logits, some.numpy()))
    two = trained(0, classes=2)
    with States(two, data(y=Y % 2)) as at:
        found = at(two.state_dict())["data"]
        assert found.metric == judged.score(found.logits, (Y % 2).numpy(), "auc")
    one = made(Normed, classes=1).eval()
    with States(one, data(y=Y % 2)) as at:
        found = at(one.state_dict())["data"]
        assert np.array_equal(found.wrong == 1, (found.logits[:, 0] > 0) != (Y % 2 == 1).numpy())
        assert found.metric == metrics.auc(found.logits[:, 0], (Y % 2).numpy())
    with States(two, data(y=Y * 0)) as at:
        assert np.isnan(at(two.state_dict())["data"].metric)


def changed(state, name, tensor):
    return {**state, name: tensor}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            changed(NET.state_dict(), "fc.weight", torch.zeros(5, 12)),
            r"alpha 2: 'fc.weight' is \[4, 12\] in the network and \[5, 12\] in the weights given",
        ),
        (changed(NET.state_dict(), "fc.bias", torch.zeros(1)), r"'fc.bias' is \[4\] in the network and \[1\] in"),
        (
            {n: t for n, t in NET.state_dict().items() if n != "bn1.bias"},
            r"'bn1.bias' is \[8\] in the network and missing in",
        ),
        (changed(NET.state_dict(), "more", torch.zeros(1)), r"'more' is missing in the network and \[1\] in"),
        (changed(NET.state_dict(), "fc.bias", torch.full((4,), torch.nan)), "'fc.bias' holds NaN"),
        (changed(NET.state_dict(), "fc.weight", torch.full((4, 12), 3e38)), "alpha 2: the outputs of .* of 200"),
        (changed(NET.state_dict(), "bn2.running_var", -torch.ones(8)), "batch norm 'bn2' is negative"),
    ],
)
def test_weights_that_cannot_be_scored(state, message):
    with States(NET, data()) as at, pytest.raises(UserError, match=message):
        at(state, batch_norm="as given", place="alpha 2")


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([], {}, "no images"),
        ({}, {}, "no data set"),
        ([X], {}, "no labels"),
        ([(X, Y + 1)], {}, "run from 1 to 4, but the network tells 4"),
        ([(X, torch.zeros(200, 3))], {}, "3 labels a sample"),
        ([(X[:5], Y[:5]), (X[:5, :, :4], Y[:5])], {}, "differ in size"),
        ([(X, Y)], {"statistics": []}, "no images to estimate"),
        ([(X, Y)], {"statistics": [X[:1]]}, "at least 2 images"),
        ([(X, Y)], {"images": 1}, "at least 2 images"),
        ([(X, Y)], {"batch_norm": "none"}, "neither 'refresh'"),
        ([(X, Y)], {"precision": "half"}, "neither 'float32'"),
    ],
)
def test_data_that_cannot_be_used(given, options, message):
    with pytest.raises(UserError, match=message):
        States(NET, given, **options)


class Noted(torch.utils.data.Dataset):
    """Images that are counted when they are read."""

    def __init__(self, x=X, y=Y) -> None:
        self.x, self.y, self.read = x, y, []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row):
        self.read.append(row)
        return self.x[row], self.y[row]


def test_of_a_dataset_each_image_is_read_once_and_when_it_is_needed():
    source = Noted()
    with States(NET, source, statistics=[X[:50]]) as at, States(NET, data(), statistics=[X[:50]]) as held:
        assert len(source.read) <= 4 and at.count("data") == 200
        rows = {"data": np.array([7, 150, 9])}
        some = at(NET.state_dict(), rows=rows)["data"]
        assert set(source.read) == {0, 1, 2, 3, 7, 9, 150}
        assert np.abs(some.logits - held(NET.state_dict(), rows=rows)["data"].logits).max() < 1e-6
        whole = at(NET.state_dict())["data"]
        assert np.abs(whole.logits - held(NET.state_dict())["data"].logits).max() < 1e-6
        assert np.array_equal(at.labels("data"), Y.numpy()) and sorted(source.read) == list(range(200))


def test_a_dataset_that_cannot_be_used():
    with pytest.raises(UserError, match="holds no images"):
        States(NET, Noted(X[:0], Y[:0]))
    bad = Y.clone()
    bad[100] = 9
    with States(NET, Noted(y=bad), statistics=[X[:50]]) as at, pytest.raises(UserError, match="to 9, but"):
        at(NET.state_dict())
    with pytest.raises(UserError, match="no tuple of a tensor"):
        States(NET, torch.utils.data.TensorDataset(X))


def test_statistics_of_large_maps_are_exact():
    """A channel's quarter of a million values, channels last: torch's own sums are off by a hundred times as much."""
    x = (torch.randn(64, 4, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 + 5).float()
    net = nn.Sequential(nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with States(net, [(x, torch.arange(64) % 4)], statistics=[x], images=64) as at:
        found = at.load(net.state_dict())
        inside = at._net(x[:2])
    assert found["0.running_mean"].double() == pytest.approx(x.double().mean((0, 2, 3)).numpy(), rel=1e-6)
    assert found["0.running_var"].double() == pytest.approx(x.double().var((0, 2, 3)).numpy(), rel=3e-6)
    net.eval()[0].load_state_dict({**net[0].state_dict(), **{n[2:]: t for n, t in found.items()}})
    assert torch.allclose(inside, net(x[:2]), atol=1e-6)


def test_the_order_of_the_images_for_statistics_does_not_matter():
    """Two domains one after the other, in more than one portion: no portion may hold only one of them."""
    x = pictures(500, seed=4)[0]
    x[250:] = 2 * x[250:] + 2
    mixed = x[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    found = []
    for given in (x, mixed):
        with States(NET, data(), statistics=[given], images=500) as at:
            assert at.measured == 500
            found.append(at(NET.state_dict())["data"].logits)
    assert np.abs(found[0] - found[1]).max() < 0.01 * found[0].std()


class Restless(nn.Module):
    """Drops half of its features in eval mode too."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 4)

    def forward(self, x):
        return self.fc(nn.functional.dropout(x.flatten(1), 0.5, training=True))


def test_what_is_always_drawn_is_drawn_alike():
    torch.manual_seed(0)
    net = Restless()
    chance = torch.get_rng_state()
    with States(net, data()) as at:
        first, again = (at(net.state_dict())["data"].logits for _ in range(2))
    torch.manual_seed(5)
    with States(net, data()) as at:
        other = at(net.state_dict())["data"].logits
    assert np.array_equal(first, again) and np.array_equal(first, other)
    torch.set_rng_state(chance)
    with torch.no_grad():
        assert np.abs(net(X).numpy() - first).max() > 0.1  # it does draw


@pytest.mark.parametrize("of_net", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("of_images", [torch.float32, torch.float64, torch.float16])
def test_networks_and_images_of_other_precisions_are_scored_right(of_net, of_images):
    net = copy.deepcopy(NET).to(of_net)
    wanted = slow_logits(NET, double(net), X.to(of_images).double(), refresh=X[:100].to(of_images).double())
    with States(net, data(x=X.to(of_images)), statistics=[X[:100].to(of_images)]) as at:
        found = at(net.state_dict())["data"]
    assert np.abs(found.logits - wanted).max() < 1e-4


@pytest.mark.parametrize(
    ("x", "statistics", "words"),
    [
        (X.to(torch.uint8), None, r"batch 1 of 'data' holds uint8 values of shape \(\d+, 3, 8, 8\); divide"),
        (X[:, :1], None, r"cannot run on the images of 'data', float32 \(4, 1, 8, 8\)"),
        (X, X[:, :1], r"cannot run on the images of 'statistics', float32 \(2, 1, 8, 8\)"),
        (X.flatten(1), None, r"cannot run on the images of 'data', float32 \(4, 192\)"),
    ],
)
def test_images_that_a_network_does_not_take_are_one_sentence(x, statistics, words):
    with pytest.raises(UserError, match=words):
        States(NET, data(x=x), statistics=None if statistics is None else [statistics])
