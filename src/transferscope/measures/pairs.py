"""Means over all pairs of runs, which share runs with each other: intervals that leave out one run at a time."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from transferscope.measures.intervals import Interval, levelled
from transferscope.measures.student import t_quantile

Key = tuple[int, int]  # the seeds of a pair's two runs; (k, k) where two arms, or end and start, share seed k


@levelled
def pairs_interval(values: Mapping[Key, float], level: float = 0.95) -> Interval:
    """Mean of `values` over pairs of runs of one arm, with its interval for new runs; `n` counts runs.

    `values` are in any unit, {(i, j): value}, best of all n (n - 1) / 2 pairs, the order of i and j being the same to
    them. A delete-one-run jackknife with t of n - 1 degrees of freedom (Arvesen 1969): variance
    (n - 1) / n sum_k (mean without run k - mean of those)^2. It is too large, if anything (Efron & Stein 1981). Values
    that are not finite are left out; fewer than 3 runs have no interval. Raises ValueError where a run is paired with
    itself or (i, j) and (j, i) differ.
    """
    for (i, j), value in values.items():
        if i == j:
            raise ValueError(f"run {i} is paired with itself.")
        other = values.get((j, i), value)
        if other != value and not (math.isnan(other) and math.isnan(value)):
            raise ValueError(f"runs {i} and {j} have two values, {value} and {other}.")
    return pairs_contrast([{(min(key), max(key)): value for key, value in values.items()}], [1.0], level)


@levelled
def pairs_difference(first: Mapping[Key, float], second: Mapping[Key, float], level: float = 0.95) -> Interval:
    """Mean of one kind of pairs minus that of another, with the interval for new seeds; see `pairs_contrast`."""
    return pairs_contrast([first, second], [1.0, -1.0], level)


@levelled
def pairs_contrast(kinds: Sequence[Mapping[Key, float]], weights: Sequence[float], level: float = 0.95) -> Interval:
    """sum_k weights[k] mean(kinds[k]), with its interval for new seeds; `n` counts the seeds that every kind has.

    A kind is {(seed of one side, seed of the other): value}: pairs within an arm (every two seeds once), between arms
    ((i, j) and (j, i) are two values, (i, i) is allowed) or of an end and its own start ((i, i)). All runs of a seed
    count as one draw: the jackknife of `pairs_interval` leaves out a seed in all kinds together, so that what kinds
    share is in the interval. Pairs with a seed that another kind lacks are left out, so are values that are not finite.
    No interval where a kind is empty without some seed, as with fewer than 3 seeds of pairs within an arm.
    Raises ValueError unless there is one weight a kind.
    """
    if not kinds or len(kinds) != len(weights):
        raise ValueError(f"{len(kinds)} kinds of pairs need as many weights, at least one, not {len(weights)}.")
    finite = [{key: value for key, value in kind.items() if math.isfinite(value)} for kind in kinds]
    common = sorted(set.intersection(*({seed for key in kind for seed in key} for kind in finite)))
    place = {seed: k for k, seed in enumerate(common)}
    n = len(common)
    whole, without = 0.0, np.zeros(n)
    for kind, weight in zip(finite, weights, strict=True):
        kept = [(place[i], place[j], value) for (i, j), value in kind.items() if i in place and j in place]
        if not kept:
            return Interval(math.nan, None, None, 0, "no value")
        mean, means = _deleted(kept, n)
        whole += weight * mean
        without += weight * means
    if not np.isfinite(without).all() or n < 2:
        return Interval(whole, None, None, n, "too few runs for an interval")
    half = t_quantile((1 + level) / 2, n - 1) * math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    return Interval(whole, whole - half, whole + half, n)


def _deleted(kept: Sequence[tuple[int, int, float]], n: int) -> tuple[float, NDArray[np.float64]]:
    """The mean of all values, and without each seed in turn (NaN where nothing is left)."""
    first, second = (np.array([one[side] for one in kept]) for side in (0, 1))
    values = np.array([one[2] for one in kept])
    centre = float(values.mean())
    away = values - centre  # so that equal values give no rounding errors
    taken, counts = np.zeros(n), np.zeros(n)
    for side, at in ((first, np.ones(len(kept), dtype=np.bool_)), (second, first != second)):
        np.add.at(taken, side[at], away[at])
        np.add.at(counts, side[at], 1.0)
    left = len(kept) - counts
    means = np.full(n, math.nan)
    np.divide(away.sum() - taken, left, out=means, where=left > 0)
    return centre, means + centre
