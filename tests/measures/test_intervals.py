"""Intervals against scipy, and their coverage by simulation."""

import math

import numpy as np
import pytest

from transferscope.measures.intervals import (
    mean_interval,
    paired_interval,
    spearman,
    wilson,
)
from transferscope.measures.student import t_quantile, t_tail

stats = pytest.importorskip("scipy.stats")
SCIPY = 1e-8  # relative error of a t quantile in the oldest scipy that is allowed (1.11); newer ones reach 1e-12


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 29, 120, 1000])
def test_t_matches_scipy(df):
    for p in (0.025, 0.4, 0.5, 0.6, 0.9, 0.975, 0.995, 0.9999):
        assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=SCIPY, abs=1e-9)
    for t in (0.0, 1e-6, 0.3, 2.0, 40.0):
        assert t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-10)


@pytest.mark.parametrize("p", [1e-4, 0.025, 0.4, 0.5, 0.9, 0.995])
def test_t_matches_its_closed_forms(p):
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-11, abs=1e-12)
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-11, abs=1e-12)


def test_mean_interval_is_scipys():
    x = np.random.default_rng(0).normal(size=7)
    low, high = stats.t.interval(0.95, 6, x.mean(), stats.sem(x))
    found = mean_interval(x)
    assert (found.low, found.high) == pytest.approx((low, high), rel=SCIPY)
    assert found.n == 7 and found.excludes(high + 1) and not found.excludes(x.mean())


def test_one_seed_has_a_mean_and_a_word_but_no_interval():
    found = mean_interval([0.5])
    assert (found.mean, found.low, found.high, found.n) == (0.5, None, None, 1)
    assert found.text() == "0.500 (no interval), n = 1" and found.note and not found.excludes(0)


def test_paired_interval_drops_what_seeds_share():
    rng = np.random.default_rng(1)
    shared = 10 * rng.normal(size=6)
    b = shared + rng.normal(0, 0.01, 6)
    found = paired_interval(shared + 1, b)
    assert found.low is not None and found.low > 0.95 and found.high < 1.05
    test = stats.ttest_rel(shared + 1, b).confidence_interval()
    assert (found.low, found.high) == pytest.approx((test.low, test.high), rel=1e-9)


def test_wilson_matches_scipy_and_has_width_at_the_ends():
    for k, n in ((0, 125), (125, 125), (3, 10), (1, 1)):
        low, high = stats.binomtest(k, n).proportion_ci(method="wilson")
        found = wilson(k, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
        assert found.high - found.low > 0.02


def test_spearman_matches_scipy_with_ties_and_covers():
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 9, 30), rng.integers(0, 9, 30)
    assert spearman(x, y).mean == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert spearman([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert spearman([1, 2, 3], [1, 2, 3]).low is None
    hits = [(i := spearman(rng.normal(size=25), rng.normal(size=25))).low < 0 < i.high for _ in range(400)]
    assert 0.91 < np.mean(hits) < 0.985


@pytest.mark.parametrize("values", [[], [np.nan, 1.0], [[1.0]]])
def test_gaps_are_refused(values):
    with pytest.raises(ValueError):
        mean_interval(values)
