"""Epsilon and delta against closed forms of a quadratic valley, and the test on networks against plain evaluation."""

import copy
import math

import numpy as np
import pytest
import torch
from probing.nets import images
from torch import nn
from toy.nets import tiny

import transferscope as ts
from transferscope.errors import UserError
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes.walks.basin import PLATEAU, basin

N = 100  # weights of the valley
STEEP, FLAT, WAVE = 3.0, 0.01, 0.01  # curvature across and along, height of the waves


class Point(nn.Module):
    def __init__(self, along):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(N, dtype=torch.float64))
        with torch.no_grad():
            self.w[0] = along

    def forward(self, x):
        return x


def valley(state):
    """1 + FLAT w0^2 + STEEP |rest|^2: along the first axis it is nearly flat."""
    w = state["w"]
    return 1 + FLAT * w[0] ** 2 + STEEP * (w[1:] ** 2).sum()


def wavy(state, across=STEEP, rise=0.5):
    """WAVE cos(2 pi w0) + across |rest|^2, rising beyond |w0| = 1: wobbles inside, walls all around."""
    w = state["w"]
    past = (w[0].abs() - 1).clamp(min=0)
    return 1 + WAVE * torch.cos(2 * torch.pi * w[0]) + rise * past**2 + across * (w[1:] ** 2).sum()


def expected(s, across=STEEP, rise=0.5):
    """Epsilon, and the excess over mu = 1 of conditions 2 and 3, of `wavy` on the segment w0 in [-1, 1].

    E cos(2 pi (1 + t z)) = exp(-2 pi^2 t^2) for a standard normal z, and half of z^2 lies above 0.
    """
    delta = s * math.sqrt(N)
    noise = WAVE * math.exp(-2 * (math.pi * s) ** 2) + rise * s**2 / 2 + across * s**2 * (N - 1)
    beyond = WAVE * math.exp(-2 * (math.pi * delta) ** 2) + rise * delta**2
    return WAVE * 2 / math.pi, noise, beyond


def test_epsilon_and_excess_of_a_valley_are_exact():
    a, b = Point(-1.0), Point(1.0)
    grid = (0.002, 0.005, 0.02, 0.1)
    found = basin(a, b, loss=wavy, extend=False, samples=400, draws=60, per_weight=grid, seed=1)
    truth = [expected(s) for s in grid]
    assert found.mean == pytest.approx(1, abs=1e-4)
    assert found.epsilon == pytest.approx(truth[0][0], rel=0.01) and found.epsilon_error < 0.05 * found.epsilon
    # Noise is enough from 0.005 on, going on along the line from 0.02 on.
    assert [noise >= 2 * eps for eps, noise, _ in truth] == [False, True, True, True]
    assert [beyond >= 2 * eps for eps, _, beyond in truth] == [False, False, True, True]
    assert found.delta == pytest.approx(0.02 * math.sqrt(N)) and len(found.per_weight) == 3
    rows = found.table()
    for i in range(3):
        _, noise, beyond = truth[i]
        assert rows["noise"][i] == pytest.approx(noise, abs=4 * rows["noise_error"][i])
        assert rows["noise"][i] == pytest.approx(noise, rel=0.05)
        assert rows["beyond"][i] == pytest.approx(beyond, abs=4 * rows["beyond_error"][i])
        assert rows["beyond"][i] == pytest.approx(beyond, rel=0.05)
    assert found.sure and found.failing == () and found.length == 2 and found.size == N
    assert rows["holds"].to_list() == [False, False, True]


def test_the_boundary_is_found_where_the_loss_leaves_the_slack():
    a, b = Point(-1.0), Point(1.0)
    between = np.mean([1 + FLAT * w**2 for w in (-1, -0.5, 0, 0.5, 1)])
    slack = 0.02
    edge = math.sqrt((between + slack - 1) / FLAT)  # |w0| at the boundary; alpha = (w0 + 1) / 2
    found = basin(a, b, loss=valley, slack=slack, per_weight=[1.0])
    alpha = (edge + 1) / 2
    assert found.reached.all()
    assert alpha - 0.0125 - 1e-9 <= found.ends[1] <= alpha and found.ends[0] == pytest.approx(1 - found.ends[1])
    short = basin(a, b, loss=valley, slack=10, limit=0.25, per_weight=[1.0])
    assert not short.reached.any() and short.ends.tolist() == [-0.25, 1.25]
    tight = basin(a, b, loss=valley, slack=0.0, per_weight=[1.0])  # the ends themselves lie above the mean
    assert tight.reached.all() and tight.ends.tolist() == [0, 1]
    assert len(tight.notes) == 1 and "could not be extended" in tight.notes[0]
    assert found.notes == () and found.at.tolist() == found.own.tolist() == pytest.approx([1 + FLAT, 1 + FLAT])


def test_the_failing_condition_is_named():
    a, b = Point(-1.0), Point(1.0)
    along = basin(a, b, loss=lambda state: wavy(state, rise=0), per_weight=[0.1], extend=False)
    assert along.delta is None and not along.sure and along.failing == ("condition 3 (worse past the ends)",)
    across = basin(a, b, loss=lambda state: wavy(state, across=0), per_weight=[0.02], extend=False, draws=20)
    assert across.failing == ("condition 2 (worse with noise in every weight at the ends)",)


def test_standard_errors_cover_the_truth():
    """Of 95% intervals about 95% hold it; stratified draws make them wider than they need be."""
    a, b = Point(-1.0), Point(1.0)
    eps, noise, beyond = expected(0.02)
    inside = {2: 0, 3: 0}
    for seed in range(40):
        found = basin(a, b, loss=wavy, extend=False, draws=4, per_weight=[0.02], seed=seed)
        for condition, truth in ((2, noise), (3, beyond)):
            margin, error = found.margins(condition)
            inside[condition] += abs(margin[0] - (truth - 2 * eps)) <= 2 * error[0]
    assert min(inside.values()) >= 34


def test_networks_are_scored_as_by_hand_and_left_alone(tmp_path):
    def net(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))

    a, b = net(1), net(2)
    x = images(50, 2)
    y = torch.randint(3, (50,), generator=torch.Generator().manual_seed(3))
    before = [{n: t.clone() for n, t in one.state_dict().items()} for one in (a, b)]
    chance = torch.get_rng_state()
    found = basin(a, b, [(x, y)], loss="cross-entropy", samples=6, draws=2, per_weight=[0.1, 0.2], extend=False)
    for alpha, loss in zip(found.alphas, found.losses, strict=True):
        mixed = copy.deepcopy(a)
        mixed.load_state_dict({n: (1 - alpha) * t + alpha * before[1][n] for n, t in before[0].items()})
        with torch.no_grad():
            assert loss == pytest.approx(float(nn.functional.cross_entropy(mixed(x), y)), abs=1e-5)
    assert found.alphas.min() >= 0 and found.alphas.max() <= 1 and found.images == 50
    assert np.unique(np.floor(found.alphas * 6)).tolist() == list(range(6))
    assert torch.equal(chance, torch.get_rng_state())
    for one, was in zip((a, b), before, strict=True):
        assert all(torch.equal(t, was[n]) for n, t in one.state_dict().items())
    again = basin(a, b, [(x, y)], loss="cross-entropy", samples=6, draws=2, per_weight=[0.1, 0.2], extend=False)
    np.testing.assert_array_equal(again.noisy, found.noisy)
    other = basin(a, b, [(x, y)], loss="cross-entropy", samples=6, draws=2, per_weight=[0.1], extend=False, seed=1)
    assert not np.array_equal(other.noisy[0], found.noisy[0])
    error = basin(a, b, [(x, y)], samples=6, draws=2, per_weight=[0.1])
    np.testing.assert_allclose(error.losses * 50, np.round(error.losses * 50), atol=1e-9)
    assert found.chart().to_dict() and error.chart().to_dict()
    found.save(tmp_path / "b.safetensors")
    loaded = ts.load(tmp_path / "b.safetensors")
    assert loaded.table().equals(found.table()) and loaded.epsilon == found.epsilon and loaded.delta == found.delta


def test_batch_norm_is_refreshed_and_tied_weights_have_one_noise():
    torch.manual_seed(0)
    a, b = tiny(3), tiny(3)
    x = images(40, 8)
    y = torch.randint(3, (40,))
    found = basin(a, b, [(x, y)], samples=3, draws=2, per_weight=[0.01], limit=0.3, slack=1.0)
    assert found.batch_norm == "refresh" and found.ends.tolist() == pytest.approx([-0.3, 1.3])
    for k, one in enumerate((a, b)):
        fresh = copy.deepcopy(one)
        refresh_batch_norm(fresh, [x])
        with torch.no_grad():
            error, own = (float((each.eval()(x).argmax(1) != y).double().mean()) for each in (fresh, one))
        assert (found.at[k], found.own[k]) == pytest.approx((error, own))
    assert any("no statistics= were given" in note for note in found.notes)
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    seen = []

    def loss(state):
        seen.append(torch.equal(state["0.weight"], state["1.weight"]))
        return float(state["0.weight"].square().sum())

    shifted = {n: t + 1 for n, t in net.state_dict().items()}
    assert basin(net, shifted, loss=loss).size == 9 and all(seen)


def test_bad_input_is_one_sentence():
    a, b = Point(-1.0), Point(1.0)
    for options, words in [
        ({}, "batches .* are needed"),
        ({"loss": "mse"}, "loss 'mse' is neither"),
        ({"loss": valley, "samples": 2}, "samples must be at least 3"),
        ({"loss": valley, "per_weight": [0.0]}, "per_weight must be standard deviations above 0"),
        ({"loss": valley, "slack": -1}, "slack must be 0 or more"),
    ]:
        with pytest.raises(UserError, match=words):
            basin(a, b, **options)
    with pytest.raises(UserError, match="no trainable parameters"):
        basin(nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3, affine=False), loss=lambda state: 0.0)
    with pytest.raises(UserError, match="a is the class Point"):
        basin(Point, b, loss=valley)
    with pytest.raises(UserError, match="same weights"):
        basin(a, a, loss=valley)
    x = images(8, 2)
    two = {"one": [(x, torch.arange(8) % 3)], "two": [(x, torch.arange(8) % 3)]}
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(12, 3)) for _ in range(2)]
    with pytest.raises(UserError, match="one data set"):
        basin(*nets, two)


@pytest.mark.parametrize("height", [0.1, 0.135, 0.7])
def test_a_plateau_is_decided_by_the_definition_and_not_by_rounding(height):
    found = basin(Point(-1.0), Point(1.0), loss=lambda state: height, samples=7, draws=3, per_weight=(0.01, 0.1))
    assert len(found.per_weight) == 1 and found.delta == pytest.approx(0.1)  # every margin is 0, as is epsilon
    assert found.notes == (PLATEAU,)
    assert not found.sure and found.failing == () and found.table()["holds"].to_list() == [True]
