"""All pairs of runs against leaving out one run at a time, slowly; contrasts of kinds that share seeds."""

import itertools
import math

import numpy as np
import pytest

from transferscope.measures.intervals import mean_interval, paired_interval
from transferscope.measures.pairs import pairs_contrast, pairs_difference, pairs_interval

stats = pytest.importorskip("scipy.stats")


def mean_of(kind, without=None):
    return math.fsum(v for k, v in kind.items() if without not in k) / sum(without not in k for k in kind)


def slowly(kinds, weights, seeds, level=0.95):
    """The jackknife over seeds, every mean taken anew."""
    n = len(seeds)
    whole = sum(w * mean_of(kind) for kind, w in zip(kinds, weights, strict=True))
    parts = [sum(w * mean_of(kind, k) for kind, w in zip(kinds, weights, strict=True)) for k in seeds]
    centre = math.fsum(parts) / n
    half = stats.t.ppf((1 + level) / 2, n - 1) * math.sqrt((n - 1) / n * math.fsum((p - centre) ** 2 for p in parts))
    return whole, whole - half, whole + half


def within(rng, seeds):
    return {pair: float(rng.normal(3, 2)) for pair in itertools.combinations(seeds, 2)}


@pytest.mark.parametrize("n", [3, 4, 9])
@pytest.mark.parametrize("level", [0.95, 0.9857])
def test_all_pairs_match_the_slow_jackknife(n, level):
    values = within(np.random.default_rng(n), range(5, 5 + n))
    found = pairs_interval(values, level)
    assert (found.mean, found.low, found.high) == pytest.approx(slowly([values], [1], range(5, 5 + n), level), rel=1e-8)
    assert found.n == n


def test_the_order_of_a_pair_says_nothing():
    values = within(np.random.default_rng(0), range(4))
    assert pairs_interval({(j, i): v for (i, j), v in values.items()}) == pairs_interval(values)
    assert pairs_interval({**values, **{(j, i): v for (i, j), v in values.items()}}) == pairs_interval(values)


def test_values_that_add_up_are_judged_as_runs():
    """For values x_i + x_j the jackknife is Student's interval of 2 x."""
    x = np.random.default_rng(1).normal(size=6)
    found = pairs_interval({(i, j): x[i] + x[j] for i, j in itertools.combinations(range(6), 2)})
    plain = mean_interval(2 * x)
    assert (found.mean, found.low, found.high) == pytest.approx((plain.mean, plain.low, plain.high), rel=1e-9)


def test_kinds_that_share_seeds_are_left_out_together():
    rng = np.random.default_rng(2)
    own = within(rng, range(5))
    between = {(i, j): float(rng.normal()) for i in range(5) for j in range(5)}
    found = pairs_difference(own, between)
    assert (found.mean, found.low, found.high) == pytest.approx(slowly([own, between], [1, -1], range(5)), rel=1e-8)


def test_one_pair_a_seed_is_the_paired_interval():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=5), rng.normal(size=5)
    found = pairs_difference({(k, k): a[k] for k in range(5)}, {(k, k): b[k] for k in range(5)})
    plain = paired_interval(a, b)
    assert (found.mean, found.low, found.high) == pytest.approx((plain.mean, plain.low, plain.high), rel=1e-9)


def test_what_kinds_share_drops_out():
    rng = np.random.default_rng(4)
    shared = 10 * rng.normal(size=6)
    first = {(i, j): shared[i] + shared[j] + 1 for i, j in itertools.combinations(range(6), 2)}
    second = {(k, k): 2 * shared[k] + rng.normal(0, 0.01) for k in range(6)}
    found = pairs_difference(first, second)
    assert found.low > 0.9 and found.high < 1.1


def test_seeds_that_one_kind_lacks_and_gaps_are_left_out():
    rng = np.random.default_rng(5)
    long, short = within(rng, range(6)), within(rng, range(1, 5))
    kept = {pair: v for pair, v in long.items() if set(pair) <= set(range(1, 5))}
    found = pairs_contrast([{**long, (1, 9): math.nan}, short], [1, -1])
    assert found.n == 4
    assert (found.mean, found.low, found.high) == pytest.approx(slowly([kept, short], [1, -1], range(1, 5)), rel=1e-8)


@pytest.mark.parametrize(("values", "n"), [({(1, 2): 0.5}, 2), ({}, 0), ({(1, 2): math.nan}, 0)])
def test_one_pair_has_no_interval(values, n):
    found = pairs_interval(values)
    assert (found.low, found.high, found.n) == (None, None, n) and found.note


def test_nonsense_is_refused():
    for values in ({(1, 1): 0.0}, {(1, 2): 0.0, (2, 1): 1.0}):
        with pytest.raises(ValueError):
            pairs_interval(values)
    with pytest.raises(ValueError):
        pairs_contrast([{(1, 2): 0.0}], [1, -1])
    with pytest.raises(ValueError):
        pairs_contrast([], [])
