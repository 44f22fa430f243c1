"""Gains over seeds and images against sums written out, and the cases without an interval."""

import math

import numpy as np
import pytest

from transferscope.measures.intervals import mean_interval, wilson
from transferscope.measures.seeds_and_images import gain_interval, mean_squares

stats = pytest.importorskip("scipy.stats")


def drawn(n, images, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) * 0.2 + rng.normal(size=images) + rng.normal(size=(n, images)) + 0.3


def slowly(d):
    """Mean squares of seeds, images and the rest, one sum at a time."""
    n, images = len(d), len(d[0])
    mean = math.fsum(value for row in d for value in row) / (n * images)
    rows = [math.fsum(row) / images for row in d]
    columns = [math.fsum(row[j] for row in d) / n for j in range(images)]
    left = math.fsum((d[i][j] - rows[i] - columns[j] + mean) ** 2 for i in range(n) for j in range(images))
    return (
        mean,
        images * math.fsum((row - mean) ** 2 for row in rows) / (n - 1),
        n * math.fsum((column - mean) ** 2 for column in columns) / (images - 1),
        left / ((n - 1) * (images - 1)),
    )


@pytest.mark.parametrize(("n", "images"), [(2, 9), (3, 40), (7, 25)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.9857])
def test_the_interval_is_the_formula(n, images, level):
    d = drawn(n, images)
    mean, s, i, r = slowly(d.tolist())
    assert mean_squares(d) == pytest.approx((s, i, r), rel=1e-10)
    v = s + max(i - r, 0)
    freedom = v**2 / (s**2 / (n - 1) + i**2 / (images - 1) + r**2 / ((n - 1) * (images - 1)))
    freedom = min(max(freedom, n - 1), 1.5 * (n - 1))
    half = stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(v / (n * images))
    found = gain_interval(d, level)
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((mean, mean - half, mean + half, n), rel=1e-7)


def test_images_that_do_not_differ_leave_t_over_seeds():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(5, 30))
    d = rng.normal(size=(5, 1)) + noise - noise.mean(0)
    found, plain = gain_interval(d), mean_interval(d.mean(1))
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=1e-9)


def test_seeds_that_agree_leave_the_spread_of_images():
    d = np.tile(np.random.default_rng(2).normal(size=200), (4, 1))
    found = gain_interval(d)
    half = stats.t.ppf(0.975, 4.5) * d[0].std(ddof=1) / math.sqrt(200)
    assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half), rel=1e-9)


def test_one_seed_or_one_image_has_no_interval_and_says_so():
    for d, n, note in ((np.ones((1, 9)), 1, "one seed"), (np.array([[1.0], [0.0]]), 2, "one image")):
        found = gain_interval(d)
        assert (found.low, found.high, found.n) == (None, None, n) and note in found.note


def test_equal_values_have_no_interval_of_no_width():
    found = gain_interval(np.zeros((3, 125)))
    assert found.low is None and "equal" in found.note and not found.excludes(0.1)
    bound = wilson(0, 125).high
    assert gain_interval(np.zeros((3, 125)), span=1.0).high == pytest.approx(bound)
    wide = drawn(3, 125)
    assert gain_interval(wide, span=1.0) == gain_interval(wide)


@pytest.mark.parametrize("d", [np.zeros(3), np.zeros((0, 4)), np.array([[1.0, np.nan]])])
def test_gaps_are_refused(d):
    with pytest.raises(ValueError):
        gain_interval(d)
