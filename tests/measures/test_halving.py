"""The barrier from few evaluations: within its tolerance of a dense grid, on curves of every shape."""

import numpy as np
import pytest

from transferscope.measures.curve_bend import bend, rises, suprema
from transferscope.measures.halving import search, spread

N = 2000
CURVES = {
    "plateau": lambda a: 0.15 + 0.73 * np.clip(min(a / 0.3, (1 - a) / 0.3), 0, 1),
    "peak": lambda a: 0.2 + 0.6 * 4 * a * (1 - a),
    "sharp": lambda a: 0.2 + 0.6 * np.exp(-(((a - 0.4) / 0.1) ** 2)),
    "early": lambda a: 0.1 + 0.5 * np.exp(-(((a - 0.12) / 0.07) ** 2)),
    "small": lambda a: 0.2 + 0.02 * 4 * a * (1 - a),
    "none": lambda a: 0.27 - 0.1 * a * (1 - a),
    "slope": lambda a: 0.2 + 0.1 * a,
}


def toy(curve, seed, n=N):
    """Errors whose mean follows the curve: each image has a threshold, and that of every fifth drifts with alpha."""
    rng = np.random.default_rng(seed)
    start, drift = rng.random(n), (rng.random(n) - 0.5) * (rng.random(n) < 0.2)

    def values(alpha, start_=0, stop=n):
        return (((start + drift * alpha) % 1)[start_:stop] < curve(alpha)).astype(float)

    return values


def dense(values, points=101):
    alphas = np.linspace(0, 1, points)
    full = np.array([values(a) for a in alphas])
    return (full - np.outer(1 - alphas, full[0]) - np.outer(alphas, full[-1])).mean(1).max()


@pytest.mark.parametrize("name", CURVES)
def test_the_truth_lies_within_the_tolerance(name):
    passes = []
    for seed in range(12):
        values = toy(CURVES[name], seed)
        truth = dense(values)
        found = search(values, N, tolerance=0.01)
        assert abs(found.height - truth) <= 0.01
        assert found.low - 0.002 <= truth <= found.high  # the grid's truth may miss the top by a little
        assert found.high - found.low <= 0.02 + 1e-12
        passes.append(found.seen.sum() / N)
    assert np.mean(passes) < {"none": 2, "slope": 5, "peak": 5.5, "sharp": 7, "early": 7, "small": 7}.get(name, 9)


def test_a_wide_tolerance_costs_less():
    values = toy(CURVES["peak"], 0)
    tight, wide = search(values, N, tolerance=0.01), search(values, N, tolerance=0.05)
    assert wide.seen.sum() < tight.seen.sum() * 0.7 and abs(wide.height - dense(values)) <= 0.05


def test_every_example_is_asked_for_once_and_in_order():
    values, asked = toy(CURVES["sharp"], 3), {}

    def noted(alpha, start, stop):
        assert start == asked.get(alpha, 0) < stop <= N
        asked[alpha] = stop
        return values(alpha, start, stop)

    found = search(noted, N, tolerance=0.01)
    assert [asked[a] for a in found.alphas] == found.seen.tolist()


@pytest.mark.parametrize("n", [1, 2, 60, 130])
def test_few_examples_are_all_seen(n):
    values = toy(CURVES["peak"], 1, n)
    found = search(values, n, tolerance=0.01)
    assert found.seen.max() == n
    assert found.low == pytest.approx(found.height)


def test_equal_values_prove_little():
    """125 images without a flip leave room for 3 in a hundred: nothing is concluded to 0.01 from them."""
    assert spread(np.zeros(125)) > 0.08
    rare = np.zeros(N)
    rare[130:] = np.random.default_rng(0).random(N - 130) < 0.06  # none among the first 130
    found = search(lambda a, i, j: rare[i:j] * 4 * a * (1 - a), N, tolerance=0.01)
    assert found.height == pytest.approx(rare.mean(), abs=0.01)


def test_losses_of_any_scale():
    rng = np.random.default_rng(0)
    weights = rng.gamma(1, 3, N)
    values = lambda a, i=0, j=N: weights[i:j] * a * (1 - a) * 4  # noqa: E731
    found = search(values, N, tolerance=0.05)
    assert found.height == pytest.approx(weights.mean(), abs=0.05) and found.alpha == pytest.approx(0.5, abs=0.1)


def test_a_parabola_rises_as_much_as_is_said():
    alphas = np.array([0, 0.2, 0.5, 1.0])
    curve = 3 * alphas * (1 - alphas)
    assert bend(alphas, curve) == pytest.approx([6, 6]) and bend(alphas, -curve) == pytest.approx([0, 0])
    rise = rises(alphas, bend(alphas, curve)) / 1.5
    assert suprema(curve, rise) == pytest.approx([curve[1], 0.75, 0.75])


def test_suprema_against_many_points():
    rng = np.random.default_rng(1)
    for _ in range(50):
        ends, rise = rng.normal(size=2), rng.random(1)
        t = np.linspace(0, 1, 10001)
        slow = ((1 - t) * ends[0] + t * ends[1] + 4 * rise[0] * t * (1 - t)).max()
        assert suprema(ends, rise)[0] == pytest.approx(slow, abs=1e-6)
