"""The earliest choice within a margin against one-sided paired t tests of SciPy, one by one."""

import numpy as np
import pytest
from scipy import stats

from transferscope.measures.choosing import earliest


def passes(x, place, margin):
    """Whether SciPy's tests find every other choice less than `margin` ahead."""
    others = [other for other in range(len(x)) if other != place]
    return all(stats.ttest_1samp(x[o] - x[place], margin, alternative="less").pvalue < 0.05 for o in others)


def test_the_choice_is_the_end_of_an_unbroken_run_of_tests_from_the_best_backwards():
    rng, named = np.random.default_rng(0), set()
    for seeds in (3, 6) * 100:
        x = np.array([0.0, 1.0, 2.0, 2.5, 2.6])[:, None] + rng.normal(0, 0.4, (5, seeds))
        found = earliest(x, 1.0)
        slow, place = None, int(x.mean(1).argmax())
        while place >= 0 and passes(x, place, 1.0):
            slow, place = place, place - 1
        assert found.place == slow and found.best == x.mean(1).argmax() and found.n == seeds
        for place in range(5):
            assert (found.limits[place] < 1.0) == passes(x, place, 1.0)
        named.add(found.place)
    assert {2, 3, None} <= named


def test_limits_are_upper_ends_of_the_best_others_lead():
    x = np.random.default_rng(1).normal(size=(3, 5))
    lead = [(x[o] - x[0]).mean() + stats.t.ppf(0.95, 4) * stats.sem(x[o] - x[0]) for o in (1, 2)]
    assert earliest(x, 1.0).limits[0] == pytest.approx(max(lead))


def test_few_seeds_gaps_and_single_choices():
    assert earliest([[1.0], [2.0]], 5.0).place is None, "one seed shows nothing"
    assert earliest([[1.0, 1.1], [2.0, 2.1]], 5.0).place is None, "two equal differences show no spread"
    assert earliest(np.ones((2, 6)), 1.0).place == 0
    assert earliest([[1.0, 2.0]], 1.0).place == 0
    with_gap = np.array([[1.0, 2.0, 3.0, np.nan], [1.1, 2.0, 3.2, 9.0]])
    assert earliest(with_gap, 1.0).n == 3 and earliest(with_gap, 1.0).place == 0
    for bad, margin in ((np.full((2, 2), np.nan), 1.0), ([[1.0, 2.0]], 0.0), ([1.0, 2.0], 1.0)):
        with pytest.raises(ValueError, match="earliest choice"):
            earliest(bad, margin)
