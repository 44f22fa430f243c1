"""Runs whose pairs have values that share what each run brings: intervals over all pairs and over chained ones."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from calibrated import noise
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.measures.pairs import pairs_difference, pairs_interval

# Deviation of what each run brings and of what belongs to one pair alone.
SETTINGS = {"runs matter": (1.0, 0.3), "both matter": (1.0, 1.5), "pairs matter": (0.0, 1.0)}
Values = dict[tuple[int, int], float]


def one_arm(n: int, setting: str, kind: str, rng: np.random.Generator) -> Values:
    """All pairs of n runs; their mean over new runs is 0."""
    runs, own = SETTINGS[setting]
    x, e = runs * noise(kind, rng, (n,)), own * noise(kind, rng, (n, n))
    return {(i, j): float(x[i] + x[j] + e[i, j]) for i, j in itertools.combinations(range(n), 2)}


def distances(n: int, kind: str, rng: np.random.Generator) -> Values:
    """Squared distances between runs of 20 coordinates in units of 20, less their mean, which is 2."""
    x = noise(kind, rng, (n, 20))
    return {(i, j): float(((x[i] - x[j]) ** 2).mean()) - 2 for i, j in itertools.combinations(range(n), 2)}


def chained(values: Values) -> Interval:
    """The bound on chained pairs (1, 0), (2, 1), ...: neighbours correlate by one half at most (Hoeffding 1948)."""
    n = 1 + max(j for _, j in values)
    plain, m = mean_interval([values[k, k + 1] for k in range(n - 1)]), n - 1
    assert plain.low is not None and plain.high is not None
    half = (plain.high - plain.mean) * math.sqrt((2 * m - 1) / (m - 1))
    return Interval(plain.mean, plain.mean - half, plain.mean + half, n)


def two_kinds(n: int, setting: str, kind: str, rng: np.random.Generator) -> tuple[Values, Values]:
    """Pairs within an arm, and those of the same runs with the runs of another arm, seed by seed; means 0."""
    runs, own = SETTINGS[setting]
    x, z = runs * noise(kind, rng, (n,)), runs * noise(kind, rng, (n,))
    e, f = own * noise(kind, rng, (n, n)), own * noise(kind, rng, (n,))
    inside = {(i, j): float(x[i] + x[j] + e[i, j]) for i, j in itertools.combinations(range(n), 2)}
    return inside, {(i, i): float(x[i] + z[i] + f[i]) for i in range(n)}


def held(draw: Callable[[np.random.Generator], Interval], repetitions: int, seed: int) -> tuple[float, float]:
    """How often the interval holds 0, which is true, and its mean half-width."""
    rng = np.random.default_rng(seed)
    found = [draw(rng) for _ in range(repetitions)]
    return (
        float(np.mean([not one.excludes() for one in found])),
        float(np.mean([(one.high - one.low) / 2 for one in found])),
    )


def all_pairs(n: int, setting: str, kind: str) -> Callable[[np.random.Generator], Interval]:
    if setting == "distances":
        return lambda rng: pairs_interval(distances(n, kind, rng))
    return lambda rng: pairs_interval(one_arm(n, setting, kind, rng))


def chained_pairs(n: int, setting: str, kind: str) -> Callable[[np.random.Generator], Interval]:
    if setting == "distances":
        return lambda rng: chained(distances(n, kind, rng))
    return lambda rng: chained(one_arm(n, setting, kind, rng))


def kinds(n: int, setting: str, kind: str) -> Callable[[np.random.Generator], Interval]:
    return lambda rng: pairs_difference(*two_kinds(n, setting, kind, rng))
