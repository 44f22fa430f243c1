"""The difference of two independent estimates: the formula written out, against Welch, and what it leaves open."""

import math

import numpy as np
import pytest

from transferscope.measures.intervals import Interval, mean_interval, wilson
from transferscope.measures.student import t_quantile
from transferscope.measures.unpaired import unpaired_difference


def test_it_is_the_formula_of_zou_and_donner():
    first, second = wilson(3, 40), wilson(22, 50)
    found = unpaired_difference(first, second)
    assert found.mean == pytest.approx(22 / 50 - 3 / 40)
    low = found.mean - math.sqrt((22 / 50 - second.low) ** 2 + (first.high - 3 / 40) ** 2)
    high = found.mean + math.sqrt((second.high - 22 / 50) ** 2 + (3 / 40 - first.low) ** 2)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.n == 40


def test_it_changes_sign_with_its_sides():
    a, b = mean_interval([1.0, 2.0, 4.0]), wilson(2, 30)
    there, back = unpaired_difference(a, b), unpaired_difference(b, a)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_of_two_means_it_is_never_narrower_than_welch(level: float):
    draw = np.random.default_rng(0)
    for _ in range(50):
        x, y = draw.normal(0, 1, draw.integers(3, 7)), draw.normal(1, 3, draw.integers(3, 7))
        found = unpaired_difference(mean_interval(x), mean_interval(y)).at(level)
        a, b = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
        freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
        half = t_quantile((1 + level) / 2, freedom) * math.sqrt(a + b)
        assert found.low is not None and found.high is not None
        assert found.high - found.mean >= half * (1 - 1e-6)
        assert found.mean - found.low >= half * (1 - 1e-6)


def test_it_holds_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        found = unpaired_difference(mean_interval(draw.normal(0, 1, 3)), mean_interval(draw.normal(2, 1, 3)))
        held += not found.excludes(2.0)
    assert held / 2000 > 0.95 - 2 * math.sqrt(0.05 * 0.95 / 2000)


def test_without_an_interval_on_one_side_there_is_none():
    found = unpaired_difference(mean_interval([1.0]), mean_interval([1.0, 2.0]))
    assert (found.low, found.high, found.note) == (None, None, "one seed has no interval")
    bare = unpaired_difference(Interval(1.0, None, None, 4), mean_interval([1.0, 2.0]))
    assert bare.low is None and bare.note
