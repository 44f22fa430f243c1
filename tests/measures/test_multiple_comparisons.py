"""Holm's step-down against the procedure spelt out, by p values and by intervals; intervals beyond 0 by chance."""

from functools import partial

import numpy as np
import pytest

from transferscope.measures.intervals import Interval, mean_interval
from transferscope.measures.multiple_comparisons import by_chance, by_chance_words, step_down

stats = pytest.importorskip("scipy.stats")


def slowly(p, error):
    """Which effects Holm decides: the smallest p while p <= error / (number left)."""
    left, decided = dict(enumerate(p)), set()
    while left:
        i = min(left, key=left.get)
        if left[i] > error / len(left):
            break
        decided.add(i)
        del left[i]
    return decided


@pytest.mark.parametrize("seed", range(20))
def test_intervals_decide_what_p_values_decide(seed):
    values = np.random.default_rng(seed).normal(np.array([0, 0.5, 1, 2, 4])[:, None], 1, (5, 6))
    p = stats.ttest_1samp(values, 0, axis=1).pvalue
    found = step_down([partial(mean_interval, x) for x in values])
    assert {i for i, one in enumerate(found) if one.excludes()} == slowly(p, 0.05)


def test_intervals_are_those_of_the_step_that_judged_them():
    values = [np.array([9.0, 10, 11]), np.array([-1.0, 0, 2])]
    first, second = step_down([partial(mean_interval, x) for x in values], error=0.1)
    assert first == mean_interval(values[0], 0.95) and second == mean_interval(values[1], 0.9)


def test_an_effect_without_an_interval_counts_and_is_not_decided():
    sure = Interval(1.0, 0.9, 1.1, 3)
    asked = []

    def effect(level):
        asked.append(level)
        return sure

    found = step_down([effect, lambda _: Interval(1.0, None, None, 1)])
    assert asked == [0.975] and [one.excludes() for one in found] == [True, False]
    assert step_down([]) == []


def test_what_chance_alone_would_find():
    assert by_chance(40) == pytest.approx(2.0) and by_chance(0) == 0
    found = [Interval(1.0, 0.5, 1.5, 3)] * 1 + [Interval(0.0, -1.0, 1.0, 3)] * 39 + [Interval(0.0, None, None, 1)]
    assert by_chance_words(found) == (
        "Of 40 intervals at 95%, 2 would exclude 0 by chance on average if there were nothing to find; 1 does."
    )
    assert by_chance_words(found[:1]) == ""


def test_nonsense_is_refused():
    for call in (
        lambda: step_down([], 0),
        lambda: by_chance(-1),
        lambda: by_chance(3, 1.0),
    ):
        with pytest.raises(ValueError):
            call()
