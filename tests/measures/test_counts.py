"""Score intervals of paired 0/1 values against a numerical likelihood, and against published numbers."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from transferscope.measures.counts import paired_shares, paired_values, whole_numbers
from transferscope.measures.intervals import mean_interval, wilson


def score(b, c, n, gap):
    """The score statistic of a difference, with b's own share by maximising the likelihood numerically."""

    def lost(q):
        parts = ((b, q + gap), (c, q), (n - b - c, 1 - 2 * q - gap))
        return -sum(k * math.log(max(p, 1e-300)) for k, p in parts if k)

    low, high = max(0.0, -gap), (1 - gap) / 2
    q = optimize.minimize_scalar(lost, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (b - c - n * gap) / math.sqrt(n * (2 * q + gap - gap**2))


@pytest.mark.parametrize(("b", "c", "n"), [(3, 2, 10), (12, 9, 44), (7, 0, 60), (1, 30, 400)])
def test_the_ends_are_where_a_score_test_begins_to_reject(b, c, n):
    found = paired_shares(b, c, n)
    assert found.mean == (b - c) / n
    assert score(b, c, n, found.high) == pytest.approx(-1.959964, abs=1e-4)
    assert score(b, c, n, found.low) == pytest.approx(1.959964, abs=1e-4)


def test_no_difference_is_wilsons_bound_to_either_side_and_the_sides_mirror():
    none, bound = paired_shares(0, 0, 125), wilson(0, 125).high
    assert (none.low, none.high) == pytest.approx((-bound, bound), abs=1e-9)
    one, other = paired_shares(4, 1, 30), paired_shares(1, 4, 30)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert paired_shares(9, 0, 9).high == 1 and paired_shares(9, 0, 9).low < 1
    for bad in ((-1, 0, 3), (2, 2, 3), (0, 0, 0)):
        with pytest.raises(ValueError, match="paired shares"):
            paired_shares(*bad)


def test_values_of_0_and_1_are_counted_and_others_get_t():
    gaps = np.array([1.0] * 3 + [-1.0] + [0.0] * 20)
    assert paired_values(gaps) == paired_shares(3, 1, 24)
    halves = np.random.default_rng(0).integers(-2, 3, 200) / 2
    slow = mean_interval(halves)
    found = paired_values(halves)
    assert (found.low, found.mean, found.high) == pytest.approx((slow.low, slow.mean, slow.high))
    rare = paired_values([0.5, *[0.0] * 49])
    assert rare.high - rare.mean == pytest.approx(wilson(0, 50).high) and rare.low < 0
    assert paired_values([0.5]).high == 1
    with pytest.raises(ValueError, match="paired differences"):
        paired_values([2.0, 0.0])


def test_equal_whole_numbers_have_no_interval():
    assert whole_numbers([4, 4, 4]).low is None and "the same in all 3" in whole_numbers([4, 4, 4]).text(1)
    found = whole_numbers([4, 5, 7])
    assert found.high == pytest.approx(16 / 3 + stats.t.ppf(0.975, 2) * np.std([4, 5, 7], ddof=1) / math.sqrt(3))
    assert whole_numbers([4]).low is None
