"""Intervals inside a range against the same sum done on the scale without ends, and where none says more."""

import math

import numpy as np
import pytest
from scipy import stats

from transferscope.measures.intervals import mean_interval
from transferscope.measures.ranges import bounded, clipped, listed, retold


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (2, 7)])
def test_the_interval_is_t_on_the_logit_around_the_arithmetic_mean(low, high):
    rng = np.random.default_rng(0)
    x = low + (high - low) * rng.beta(30, 3, 6)
    found, u = bounded(x, low, high), (x.mean() - low) / (high - low)
    slope = 1 / (u * (1 - u) * (high - low))
    half = stats.t.ppf(0.975, 5) * stats.sem(x) * slope
    ends = [low + (high - low) / (1 + math.exp(-(math.log(u / (1 - u)) + sign * half))) for sign in (-1, 1)]
    assert found.mean == pytest.approx(x.mean()) and found.n == 6
    assert (found.low, found.high) == pytest.approx(tuple(ends))


def test_correlations_are_on_fishers_z():
    x = np.array([0.7, 0.9, 0.8, 0.95])
    half = stats.t.ppf(0.975, 3) * stats.sem(x) / (1 - x.mean() ** 2)
    found = bounded(x, -1, 1)
    assert found.high == pytest.approx(math.tanh(math.atanh(x.mean()) + half))
    assert found.low == pytest.approx(math.tanh(math.atanh(x.mean()) - half))


def test_without_a_highest_value_the_scale_is_the_logarithm():
    x = np.array([0.02, 0.05, 0.03, 0.06, 0.04])
    half = stats.t.ppf(0.975, 4) * stats.sem(x) / x.mean()
    found = bounded(x)
    assert (found.low, found.high) == pytest.approx((x.mean() * math.exp(-half), x.mean() * math.exp(half)))
    assert bounded(x + 3, 3).low == pytest.approx(3 + found.low)


def test_in_the_middle_and_close_together_it_is_t():
    x = 0.5 + 0.001 * np.random.default_rng(0).normal(size=8)
    found, t = bounded(x, 0, 1), mean_interval(x)
    assert (found.low, found.high) == pytest.approx((t.low, t.high), abs=1e-7)


def test_values_at_an_end_do_not_break_it_and_it_stays_inside():
    rng = np.random.default_rng(0)
    for _ in range(300):
        x = np.clip(rng.normal(0.98, 0.03, 5), None, 1)
        found = bounded(x, 0, 1)
        assert found.low is None or 0 <= found.low <= found.mean <= found.high <= 1
        near = bounded(np.clip(rng.normal(0.01, 0.02, 5), 0, None))
        assert near.low is None or 0 <= near.low <= near.mean <= near.high


def test_where_an_interval_says_nothing_the_values_are_told():
    two = bounded([0.31, 0.52], 0, 1)
    assert two.low is None and two.text(2) == "0.42 (values 0.31, 0.52), n = 2"
    wide = bounded([0.05, 0.9, 0.5], 0, 1)
    assert wide.low is None and "values 0.05, 0.9, 0.5" in wide.note
    assert bounded([1e-6, 1.0, 0.01]).low is None
    assert listed(np.arange(9)) == "9 values from 0 to 8"
    assert retold(two.note, 100, 1) == "values 32, 53" and retold("one seed", 100) == "one seed"
    assert "the same in all 3" in bounded([1.0, 1.0, 1.0], 0, 1).note and bounded([0.4], 0, 1).low is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        bounded([0.5, 1.2, 0.3], 0, 1)


def test_clipping_keeps_the_mean_inside():
    x = [-0.01, 0.02, 0.04, -0.02]
    found = clipped(x, 0, 1)
    assert found.low == 0 and found.high == pytest.approx(mean_interval(x).high)
    below = clipped([-0.03, -0.02, -0.01], 0, 1)
    assert below.low == below.mean == pytest.approx(-0.02) and clipped([0.1], 0).low is None
    assert clipped([0.0, 0.6, 1.0], 0, 1).note == "values 0, 0.6, 1" and clipped([0.1, 0.2], 0, 1).low is None
    assert "the same in all 3" in clipped([0.1] * 3, 0, 1).note


def test_widening_multiplies_the_standard_error():
    x = np.random.default_rng(0).uniform(0.4, 0.6, 6)
    wide, plain = bounded(x, 0, 1, widen=2), bounded(x, 0, 1)

    def place(p):
        return math.log(p / (1 - p))

    assert place(wide.high) - place(x.mean()) == pytest.approx(2 * (place(plain.high) - place(x.mean())))
    assert clipped(x, 0, 1, widen=2).low == pytest.approx(x.mean() - 2 * (x.mean() - mean_interval(x).low))
