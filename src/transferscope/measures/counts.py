"""Intervals of counts and of paired 0/1 values, which hold for rare events: score intervals, never a bootstrap."""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from transferscope.measures.intervals import Interval, mean_interval, wilson


def paired_shares(only_a: int, only_b: int, n: int, level: float = 0.95) -> Interval:
    """The share of n examples that a has minus the share that b has, paired: `only_a` are a's alone, `only_b` b's.

    The score interval of Tango (1998, eq. 6 and 7): all differences that a score test does not reject, the share of b's
    own given the difference being estimated anew at each. Of positive width even where no example differs: there it is
    Wilson's bound on 0 of n to either side. In [-1, 1]. Raises ValueError for impossible counts.
    """
    if min(only_a, only_b) < 0 or n < 1 or only_a + only_b > n:
        raise ValueError(f"paired shares need 0 <= only_a + only_b <= n, n >= 1, not {only_a}, {only_b} of {n}.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    mean = (only_a - only_b) / n
    high = _last(lambda d: _score(only_a, only_b, n, d) >= -z, mean, 1.0)
    low = -_last(lambda d: _score(only_b, only_a, n, d) >= -z, -mean, 1.0)
    return Interval(mean, low, high, n)


def paired_values(gaps: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of the paired differences `gaps` (n,) of two values in [0, 1] of an example, with an interval over examples.

    Differences of 0/1 values get `paired_shares`. Any others (an image of several labels, the mean of several networks)
    a Student t interval, at least as wide as Wilson's bound on 0 of n to either side and within [-1, 1]: t alone has no
    width where no example differs. Raises ValueError outside [-1, 1].
    """
    d = np.asarray(gaps, dtype=np.float64)
    if d.ndim != 1 or not d.size or not bool((np.abs(d) <= 1 + 1e-12).all()):
        raise ValueError(f"paired differences of values in [0, 1] must be a vector in [-1, 1], not {d.shape}.")
    n = len(d)
    if bool(np.isin(d, (-1, 0, 1)).all()):
        return paired_shares(int((d == 1).sum()), int((d == -1).sum()), n, level)
    found, least = mean_interval(d, level), wilson(0, n, level).high or 0.0
    half = max(least, (found.high or found.mean) - found.mean)
    return replace(found, low=max(-1.0, found.mean - half), high=min(1.0, found.mean + half), note="")


def whole_numbers(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of one whole number a seed (blocks, epochs) with its t interval, and none where all seeds have the same one.

    Equal whole numbers say that most seeds have it, not that all would: an interval of no width would say that.
    """
    found = mean_interval(values, level)
    if found.n > 1 and found.low == found.high:
        return replace(found, low=None, high=None, note=f"the same in all {found.n}")
    return found


def _score(b: int, c: int, n: int, gap: float) -> float:
    """Tango's statistic of a difference `gap`: above 0 where b - c is more than it."""
    least = b + c - (2 * n - b + c) * gap
    other = (math.sqrt(max(0.0, least**2 + 8 * n * c * gap * (1 - gap))) + least) / (4 * n)
    spread = n * (2 * other + gap * (1 - gap))
    off = b - c - n * gap
    if spread <= 0:
        return 0.0 if abs(off) < 1e-9 else math.copysign(math.inf, off)
    return off / math.sqrt(spread)


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest value in [low, high] for which `holds`, which does at `low`; by bisection."""
    if holds(high):
        return high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
