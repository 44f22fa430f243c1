"""Rank correlations along depth against SciPy, one a seed."""

import numpy as np
import pytest
from scipy import stats

from transferscope.measures.depth import correlation, leans
from transferscope.measures.ranges import bounded


def test_one_correlation_a_seed_then_an_interval_over_seeds():
    values = np.random.default_rng(0).integers(0, 9, (5, 18)) + np.arange(18) / 3
    slow = [stats.spearmanr(np.arange(18), row).statistic for row in values]
    found = correlation(values)
    assert found == bounded(slow, -1, 1) or found.mean == pytest.approx(np.mean(slow))
    assert found.n == 5 and found.low < found.mean < found.high


def test_gaps_equal_seeds_and_other_axes():
    values = np.array([[1.0, np.nan, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0], [np.nan, np.nan, 1.0, np.nan]])
    found = correlation(values)
    assert found.n == 1 and found.mean == pytest.approx(stats.spearmanr([0, 2, 3], [1, 3, 2]).statistic)
    assert correlation(values[1:]) is None
    assert correlation(values[:1], along=[3, 2, 1, 0]).mean == pytest.approx(-found.mean)


def test_what_is_shown_needs_an_interval_or_six_alike():
    rising = np.arange(8.0)
    assert leans(correlation([rising] * 6)) == 1 and leans(correlation([rising] * 5)) == 0
    assert leans(correlation([-rising] * 6)) == -1
    rng = np.random.default_rng(0)
    assert leans(correlation(rising + rng.normal(size=(4, 8)))) == 1
    assert leans(correlation([rising, -rising, rising])) == 0
