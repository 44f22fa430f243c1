"""Intervals: Student t over seeds, Wilson over test examples, each at any level."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from statistics import NormalDist
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.metrics import ranks
from transferscope.measures.student import t_quantile

ALIKE = 6  # seeds that all agree: on one side of 0 by chance in 1 case of 32, two-sided


@dataclass(frozen=True)
class Interval:
    """An estimate, the ends of its interval (None when it cannot be had; `note` says why) and the count behind it."""

    mean: float
    low: float | None
    high: float | None
    n: int
    note: str = ""
    again: Callable[[float], "Interval"] | None = field(default=None, compare=False, repr=False)

    def at(self, level: float) -> "Interval":
        """The interval at another level; without ends where whoever made this one did not say how."""
        return self.again(level) if self.again else Interval(self.mean, None, None, self.n, "no other level is known")

    def excludes(self, value: float = 0.0) -> bool:
        """Whether the interval exists and does not hold `value`."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high

    def text(self, digits: int = 3) -> str:
        """Words for a finding, e.g. "0.731 [0.722, 0.740], n = 5"."""
        if self.low is None or self.high is None:
            why = self.note if self.note and self.n > 1 else "no interval"
            return f"{self.mean:z.{digits}f} ({why}), n = {self.n}"
        return f"{self.mean:z.{digits}f} [{self.low:z.{digits}f}, {self.high:z.{digits}f}], n = {self.n}"


P = ParamSpec("P")
Found = TypeVar("Found", bound=Interval | None)


def levelled(function: Callable[P, Found]) -> Callable[P, Found]:
    """Decorator of a function with a parameter `level`: what it gives can be asked `at` other levels."""

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Found:
        def again(level: float) -> Interval:
            asked = inspect.signature(function).bind(*args, **kwargs).arguments
            found: Interval = function(**{**asked, "level": level})  # type: ignore[call-arg, assignment]
            return found

        found = function(*args, **kwargs)
        return found if found is None else replace(found, again=again)

    return made


@levelled
def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of one value per seed with its two-sided Student t interval; a single seed has no interval."""
    x = _vector(values)
    n, mean = len(x), float(x.mean())
    if n == 1:
        return Interval(mean, None, None, 1, "one seed has no interval")
    half = t_quantile((1 + level) / 2, n - 1) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


@levelled
def paired_interval(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of `a - b` with its paired t interval; element i of both belongs to seed i."""
    x, y = _pair(a, b)
    return mean_interval(x - y, level)


@levelled
def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Share k/n with the Wilson (1927) score interval: of positive width even at 0 of n and n of n."""
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"a share needs 0 <= k <= n and n >= 1, not k = {k}, n = {n}.")
    z2, p = NormalDist().inv_cdf((1 + level) / 2) ** 2, k / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * p * (1 - p) / n + (z2 / (2 * n)) ** 2) / (1 + z2 / n)
    return Interval(p, 0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half, n)


def stretched(found: Interval, level: float = 0.95) -> Interval:
    """An interval of `level` that can be asked at others: its two halves grow like quantiles of a normal, which holds
    for means of hundreds of values."""

    def at(asked: float) -> Interval:
        if found.low is None or found.high is None:
            return found
        z, by = NormalDist().inv_cdf((1 + asked) / 2), NormalDist().inv_cdf((1 + level) / 2)
        low, high = (found.mean + (end - found.mean) * z / by for end in (found.low, found.high))
        return replace(found, low=low, high=high, again=at)

    return replace(found, again=at)


@levelled
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
