"""Effects held against a margin: against two one-sided t tests, and where ends touch or are missing."""

import math

import numpy as np
import pytest

from transferscope.measures.equivalence import against_margin, equivalence_level
from transferscope.measures.intervals import Interval, mean_interval

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("both", [False, True])
def test_outcomes_are_those_of_one_sided_tests(seed, both):
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.choice([-3, 0, 1, 3]), 0.8, 5)
    p = {(at, way): stats.ttest_1samp(x, at, alternative=way).pvalue for at in (-1, 1) for way in ("less", "greater")}
    expected = "undecided"
    if p[1, "less"] < 0.05 and (not both or p[-1, "greater"] < 0.05):
        expected = "within"
    elif p[1, "greater"] < 0.05 or (both and p[-1, "less"] < 0.05):
        expected = "beyond"
    assert against_margin(mean_interval(x, equivalence_level(0.05)), 1, both=both) == expected


def test_each_outcome_by_hand():
    def outcome(low, high, both):
        return against_margin(Interval((low + high) / 2, low, high, 3), 2.0, both=both)

    assert [outcome(-9, 1, both) for both in (False, True)] == ["within", "undecided"]
    assert [outcome(-1, 1, both) for both in (False, True)] == ["within", "within"]
    assert [outcome(-9, -3, both) for both in (False, True)] == ["within", "beyond"]
    assert [outcome(3, 4, both) for both in (False, True)] == ["beyond", "beyond"]
    assert [outcome(1, 3, both) for both in (False, True)] == ["undecided", "undecided"]
    assert outcome(-1, 2.0, False) == outcome(2.0, 3, False) == "undecided"


def test_no_interval_decides_nothing():
    assert against_margin(Interval(0.0, None, None, 1, "one seed has no interval"), 1.0) == "undecided"


def test_nonsense_is_refused():
    for margin in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError):
            against_margin(Interval(0.0, -1.0, 1.0, 3), margin)
    for error in (0.0, 0.5):
        with pytest.raises(ValueError):
            equivalence_level(error)
