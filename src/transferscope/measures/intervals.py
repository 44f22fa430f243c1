"""Intervals: Student t over seeds, bootstrap and Wilson over test examples, and the words for too few seeds."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.metrics import ranks
from transferscope.measures.student import t_quantile

ENOUGH_SEEDS = 6


@dataclass(frozen=True)
class Interval:
    """An estimate, the ends of its interval (None when it cannot be had; `note` says why) and the count behind it."""

    mean: float
    low: float | None
    high: float | None
    n: int
    note: str = ""

    def excludes(self, value: float = 0.0) -> bool:
        """Whether the interval exists and does not hold `value`."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high

    def text(self, digits: int = 3) -> str:
        """Words for a finding, e.g. "0.731 [0.722, 0.740], n = 5"."""
        if self.low is None or self.high is None:
            why = self.note if self.note and self.n > 1 else "no interval"
            return f"{self.mean:z.{digits}f} ({why}), n = {self.n}"
        return f"{self.mean:z.{digits}f} [{self.low:z.{digits}f}, {self.high:z.{digits}f}], n = {self.n}"


def too_few(n: int) -> str | None:
    """The sentence the report prints below 6 seeds (no significance claim is made there), else None."""
    if n >= ENOUGH_SEEDS:
        return None
    return f"Only {n} seed{'s' if n != 1 else ''}: below {ENOUGH_SEEDS} no claim of significance is made."


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of one value per seed with its two-sided Student t interval; a single seed has no interval."""
    x = _vector(values)
    n, mean = len(x), float(x.mean())
    if n == 1:
        return Interval(mean, None, None, 1, "one seed has no interval")
    half = t_quantile((1 + level) / 2, n - 1) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired_interval(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of `a - b` with its paired t interval; element i of both belongs to seed i."""
    x, y = _pair(a, b)
    return mean_interval(x - y, level)


def ratio_interval(pretrained: ArrayLike, random: ArrayLike, level: float = 0.95) -> Interval:
    """The relative drop 100 (P - R) / P in percent (paper, fig. 3), one per seed, with a t interval over seeds.

    The mean of per-seed ratios, not the ratio of the means: seeds are paired, and both agree when P varies little.
    Raises ValueError where a seed's P is zero or negative.
    """
    p, r = _pair(pretrained, random)
    if bool(np.any(p <= 0)):
        raise ValueError("a relative drop needs a pretrained score above zero for every seed.")
    return mean_interval(100 * (p - r) / p, level)


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Share k/n with the Wilson (1927) score interval: of positive width even at 0 of n and n of n."""
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"a share needs 0 <= k <= n and n >= 1, not k = {k}, n = {n}.")
    z2, p = NormalDist().inv_cdf((1 + level) / 2) ** 2, k / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * p * (1 - p) / n + (z2 / (2 * n)) ** 2) / (1 + z2 / n)
    return Interval(p, 0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half, n)


def bootstrap_interval(values: ArrayLike, rng: np.random.Generator, level: float = 0.95, draws: int = 2000) -> Interval:
    """Mean over test examples with its percentile bootstrap interval (Efron 1979); `values` is (n,).

    Describes the finite test set only: over training runs use `mean_interval`. Width 0 when all values are equal:
    for counts use `wilson`.
    """
    x = _vector(values)
    means = bootstrap_means(x[None], rng, draws)[:, 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(x.mean()), float(low), float(high), len(x))


def bootstrap_means(rows: NDArray[np.float64], rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Means of every row of `rows` (m, n) over `draws` resamples of the n columns, (draws, m).

    All rows share each resample, so differences between them keep their pairing. Memory is O(chunk x n).
    """
    n = rows.shape[1]
    chunk = max(1, 4_000_000 // n)
    out = np.empty((draws, rows.shape[0]))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        picks = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n)
        out[start : start + size] = counts.astype(np.float64) @ rows.T / n
    return out


def spearman(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval | None:
    """Spearman's rank correlation in [-1, 1], ties sharing ranks; None for under 2 pairs or a constant side.

    Interval by Fisher's z with the variance (1 + rho^2 / 2) / (n - 3) of Bonett & Wright (2000); needs 4 pairs.
    """
    x, y = _pair(a, b)
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    rho = float(np.clip(np.corrcoef(ranks(x), ranks(y))[0, 1], -1, 1))
    if n < 4:
        return Interval(rho, None, None, n, "fewer than 4 pairs have no interval")
    if abs(rho) > 1 - 1e-12:
        return Interval(round(rho), None, None, n, "a perfect rank correlation has no interval")
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return Interval(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), n)


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"an interval needs a vector of at least one finite value, not {x.shape} with gaps.")
    return x


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = _vector(a), _vector(b)
    if len(x) != len(y):
        raise ValueError(f"paired values need equal counts, not {len(x)} and {len(y)}.")
    return x, y
